"""The whole story of a study: every recipe checked, every run done, all of them judged and compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tunesmith.machine import inspect_machine
from tunesmith.study.findings import StudyFindings, plain_findings
from tunesmith.study.page import render
from tunesmith.study.plan import Cell, Run, Study
from tunesmith.study.rehearsing import Rehearsal, rehearse_cells, seconds_of, speed_of
from tunesmith.study.running import Outcome, Place, Started, alone, end_all, known, see_folders, start
from tunesmith.study.scheduling import Occupancy, Room, schedule
from tunesmith.study.table import as_markdown
from tunesmith.study.testing import look_at_test
from tunesmith.study.trials import Plan, plan_of
from tunesmith.training.tracking import announce
from tunesmith.writing import written


@dataclass(frozen=True)
class Forecast:
    """What a study would do: its cells, its runs, which are done, and what the others are expected to take.

    `seconds` is of all runs that wait, so many at a time; `memory` holds the bytes that each cell is expected to take.
    """

    name: str
    cells: tuple[Cell, ...]
    runs: int
    done: int
    room: Room
    seconds: float
    per_run: dict[str, float]
    memory: dict[str, int]
    warnings: tuple[str, ...]


def place_of(study: Study, folder: str | Path | None) -> Path:
    """The folder of a study."""
    return Path("runs") / study.name if folder is None else Path(folder)


def conduct(
    study: Study, folder: str | Path | None = None, *, overwrite: bool = False, quiet: bool = False
) -> StudyFindings:
    """Do every run that is not done yet, in folder/<cell>/seed-<n>, and compare the cells.

    Given the same study and folder again it goes on where it was stopped, and a run that failed is tried again.

    Raises:
        RecipeError: a cell's recipe is wrong, or a folder is in use; nothing was trained then.
        DataError: the cells could not be compared, since their examples differ.
    """
    at = place_of(study, folder)
    plan = plan_of(study, at)
    see_folders(plan.runs, overwrite=overwrite)
    with alone(at) as lock:
        outcomes = [outcome for run in plan.runs if (outcome := known(run)) is not None]
        rehearsal = Rehearsal((), {}, {})
        if len(outcomes) < plan.total:
            rehearsal = rehearse_cells(study, plan.runs, study.cells())
        if not quiet:
            announce([f"{said_of(study, plan)}, {len(outcomes)} of them done.", *rehearsal.warnings])
        outcomes = carry_out(plan, Place(at, lock, study.split), outcomes, rehearsal, quiet=quiet)
        findings = plan.judged(outcomes)
        if study.test_at_end and study.split != "test" and findings.cells:
            findings = tested(study, findings, [one.run for one in outcomes], at, quiet=quiet)
        write_findings(findings, at)
    return findings


def tested(study: Study, findings: StudyFindings, runs: Sequence[Run], at: Path, *, quiet: bool) -> StudyFindings:
    """The findings with what the test examples say of the chosen cell, if all runs have ended well."""
    if findings.failures:
        note = "No model has answered the test examples, since runs have failed: mend them and give the study again."
        return replace(findings, notes=(*findings.notes, note))
    looks = look_at_test(study, findings, runs, at, lambda line: None if quiet else announce([line]))
    if looks:
        return replace(findings, tested=looks)
    note = "There are no test examples, so nothing judges the chosen cell: its figure on validation flatters."
    return replace(findings, notes=(*findings.notes, note))


def said_of(study: Study, plan: Plan) -> str:
    """How large a study is, in words."""
    if study.search:
        search, _ = study.searching()
        return f"{study.name}: {search.trials} trials and the baseline, {plan.total} runs"
    seeds = f"{len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}"
    return f"{study.name}: {len(study.cells())} cells x {seeds} = {plan.total} runs"


def forecast(study: Study, folder: str | Path | None = None) -> Forecast:
    """What `conduct` would do, and what it would take; nothing is trained or written.

    The time is what earlier runs of a cell took; without any it follows from the number of multiplications and the
    speed of this machine, which knows nothing of objectives that compute several passes.

    Raises:
        TunesmithError: a cell would fail; the error says which.
    """
    plan = plan_of(study, place_of(study, folder))
    outcomes = [outcome for run in plan.runs if (outcome := known(run)) is not None]
    rehearsal = rehearse_cells(study, plan.runs, study.cells())
    room = Room.of(inspect_machine(), study.workers)
    speed = speed_of(room.threads)
    per_run = {cell: seconds_of(work, speed) for cell, work in rehearsal.work.items()}
    for cell in per_run:
        took = [float(one.cost["seconds_total"] or 0) for one in outcomes if one.run.cell == cell]
        per_run[cell] = sum(took) / len(took) if took else per_run[cell]
    waiting = plan.waiting(outcomes)
    mean = sum(per_run.values()) / len(per_run)
    seconds = sum(per_run.get(cell, mean) for cell in waiting) / min(room.workers, max(1, len(waiting)))
    return Forecast(
        study.name,
        study.cells(),
        plan.total,
        len(outcomes),
        room,
        seconds,
        per_run,
        dict(rehearsal.memory),
        rehearsal.warnings,
    )


def carry_out(plan: Plan, place: Place, done: Sequence[Outcome], rehearsal: Rehearsal, *, quiet: bool) -> list[Outcome]:
    """Do the runs that wait, showing which and for how long; on an interruption those that go on are ended first."""
    room = Room.of(inspect_machine(), plan.study.workers)
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    columns = (BarColumn(bar_width=16), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    outcomes = list(done)
    running: list[Started] = []
    occupancy = Occupancy(room.workers)

    def begin(run: Run) -> Started:
        occupancy.now(len(running) + 1, begins=True)
        progress.update(bar, description=f"{run.cell}, seed {run.seed}")
        return start(run, room.threads, place)

    with Progress(*columns, console=console, disable=quiet, transient=True) as progress:
        bar = progress.add_task("", total=plan.total, completed=len(outcomes))
        try:
            for outcome in schedule(plan.source(done), begin, room, rehearsal.memory, running):
                occupancy.now(len(running))
                outcomes.append(outcome)
                progress.advance(bar)
                if not quiet:
                    took = float(outcome.cost.get("seconds_total") or 0)
                    line = f"{outcome.run.cell}, seed {outcome.run.seed}: {outcome.failure or f'{took:.0f} s'}"
                    progress.console.print(f"{len(outcomes)} of {plan.total}: {line}", markup=False, highlight=False)
        finally:
            end_all(running)
    if not quiet and len(outcomes) - len(done) > room.workers > 1:
        announce([f"While runs waited, {occupancy.share():.1%} of the time of {room.workers} places was used."])
    return in_order(outcomes, plan)


def in_order(outcomes: Sequence[Outcome], plan: Plan) -> list[Outcome]:
    """The outcomes in the order of the plan, whichever ended first."""
    places = {(run.cell, run.seed): place for place, run in enumerate(plan.runs)}
    return sorted(outcomes, key=lambda one: places.get((one.run.cell, one.run.seed), len(places)))


def write_findings(findings: StudyFindings, folder: Path) -> None:
    """Write study.json, study.md and study.html."""
    plain = json.dumps(plain_findings(findings), ensure_ascii=False, indent=2)
    texts = {"study.json": plain + "\n", "study.md": as_markdown(findings), "study.html": render(findings)}
    for name, text in texts.items():
        with written(folder / name) as file:
            file.write(text)
