"""The whole story of a study: every recipe checked, every run done, all of them judged and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tunesmith import pipeline
from tunesmith.bodies import load_backbone
from tunesmith.data.dataset import NONE
from tunesmith.errors import DataError, RecipeError
from tunesmith.preparation import Prepared, prepare, stop_at_errors
from tunesmith.study.findings import StudyFindings, judge_study, write_findings
from tunesmith.study.plan import Run, Study, placed
from tunesmith.study.running import Outcome, alone, carry_out, finished, is_as_planned, see_folders
from tunesmith.training.tracking import announce


def conduct(
    study: Study, folder: str | Path | None = None, *, overwrite: bool = False, quiet: bool = False
) -> StudyFindings:
    """Do every run that is not done yet, in folder/<cell>/seed-<n>, and compare the cells.

    Given the same study and folder again it goes on where it was stopped, and a run that failed is tried again.

    Raises:
        RecipeError: a cell's recipe is wrong, or a folder is in use; nothing was trained then.
        DataError: the cells could not be compared, since their examples differ.
    """
    place = Path("runs") / study.name if folder is None else Path(folder)
    runs = study.runs(place)
    see_folders(runs, overwrite=overwrite)
    with alone(place) as lock:
        waiting = [run for run in runs if not (is_as_planned(run) and finished(run))]
        warnings = check_cells(study, runs) if waiting else []
        if not quiet:
            sizes = f"{len(study.cells())} cells x {len(study.seeds)} seeds = {len(runs)} runs"
            announce([f"{study.name}: {sizes}, {len(runs) - len(waiting)} of them done.", *warnings])
        outcomes = list(carry_out_all(runs, lock, quiet=quiet))
        findings = judge_study(study, outcomes)
        write_findings(findings, place)
    return findings


def check_cells(study: Study, runs: Sequence[Run]) -> list[str]:
    """Rehearse a run of every cell before any is trained, and see that all are judged by one metric on one split.

    Returns:
        the warnings about the data, each once.

    Raises:
        TunesmithError: a cell would fail; the error says which.
    """
    prepared: dict[str, Prepared] = {}
    judged: dict[tuple[str, str], str] = {}
    for run in runs[: len(study.cells())]:
        with placed(f"cell '{run.cell}'"):
            see_split(study, run)
            known = _without_method(run)
            if known not in prepared:
                prepared[known] = prepare(run.experiment)
                stop_at_errors(prepared[known].findings)
            ours = prepared[known]
            # A rehearsal changes the body, so each has one of its own.
            body = load_backbone(run.experiment, ours.splits.train)
            pipeline.rehearse(run.experiment, replace(ours, backbone=body))
            judged.setdefault((ours.task.metric, ours.fingerprints[study.split]), run.cell)
    if len(judged) > 1:
        first, second, *_ = judged.values()
        raise RecipeError(
            f"'{first}' and '{second}' are judged by different metrics or on different examples.",
            where="vary",
            to_do="Compare cells of the same task and data; data.train and data.limit may differ.",
        )
    findings = [finding for one in prepared.values() for finding in one.findings if finding.severity == "warning"]
    return list(dict.fromkeys(f"warning: {finding.message}" for finding in findings))


def see_split(study: Study, run: Run) -> None:
    """See that all seeds are judged on the same examples.

    Raises:
        DataError: the split is held out by the seed, or there is none.
    """
    if study.split in run.experiment.data.located():
        return
    data = run.experiment.data
    share = {"test": data.test_share, "validation": data.validation_share}[study.split]
    is_left_out = {"test": data.test, "validation": data.validation}[study.split] == NONE
    if is_left_out or not share or "train" not in data.located():
        raise DataError(f"There are no {study.split} examples.", where="data", to_do=f"Give data.{study.split}.")
    if len(study.seeds) > 1:
        raise DataError(
            f"Each seed would hold out other {study.split} examples, so runs could not be compared.",
            where=f"data.{study.split}",
            to_do=f"Give data.{study.split} a file of its own, or use one seed.",
        )


def _without_method(run: Run) -> str:
    """What decides how data and model are prepared, as a key."""
    recipe = run.experiment.to_mapping()
    return json.dumps([recipe[key] for key in ("task", "data", "model")], sort_keys=True)


def carry_out_all(runs: Sequence[Run], lock: int, *, quiet: bool) -> Iterator[Outcome]:
    """Do one run after the other, showing which and for how long."""
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        bar = progress.add_task("", total=len(runs))
        for number, run in enumerate(runs, 1):
            began = time.monotonic()
            progress.update(bar, description=f"{run.cell}, seed {run.seed}")
            outcome = carry_out(run, lock)
            progress.advance(bar)
            if not quiet:
                ended = outcome.failure or f"{time.monotonic() - began:.0f} s"
                progress.console.print(
                    f"{number} of {len(runs)}: {run.cell}, seed {run.seed}: {ended}", markup=False, highlight=False
                )
            yield outcome
