"""Every cell tried before any run begins: would it fail, can it be compared, and what will it take."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tunesmith import pipeline
from tunesmith.augmentation.expand import originals
from tunesmith.bodies import load_backbone
from tunesmith.data.checks import check
from tunesmith.data.dataset import NONE
from tunesmith.data.unlabelled import labelled_by_people
from tunesmith.enlarging import without_judges
from tunesmith.errors import DataError, RecipeError
from tunesmith.models.model import Model, count_parameters
from tunesmith.preparation import Prepared, accepted, prepare, stop_at_errors
from tunesmith.redacted_data import load_data
from tunesmith.study.plan import Cell, Run, Study
from tunesmith.study.variants import placed

_IMPORTS = 1 << 30
"""The bytes that a run takes before it has a model."""
_BEGINNING = 20.0
"""Seconds in which a run imports, loads, saves and proves its artifact."""
_REACHED = 0.4
"""The share of a matrix product's speed that training reaches."""


@dataclass(frozen=True)
class Rehearsal:
    """What was seen before any run: warnings, and for each cell the bytes and the multiplications of a run."""

    warnings: tuple[str, ...]
    memory: Mapping[str, int]
    work: Mapping[str, float]


def rehearse_cells(study: Study, runs: Sequence[Run], cells: Sequence[Cell]) -> Rehearsal:
    """Rehearse a run of every cell, and see that those to be compared are judged by one metric on one split.

    Raises:
        TunesmithError: a cell would fail; the error says which.
    """
    blocks = {cell.name: cell for cell in cells}
    firsts = {run.cell: run for run in reversed(runs) if run.cell in blocks}
    judged: dict[str, dict[tuple[str, str], str]] = {}
    warnings: list[str] = []
    memory: dict[str, int] = {}
    work: dict[str, float] = {}
    ours: Prepared | None = None
    key = ""
    # Cells that are prepared alike stand together, so that one preparation is held at a time.
    for run in sorted(firsts.values(), key=lambda one: (blocks[one.cell].data, _prepared_by(one))):
        with placed(f"cell '{run.cell}'"):
            see_splits(study, run)
            if ours is None or key != _prepared_by(run):
                key, ours = _prepared_by(run), prepare(without_judges(run.experiment))
                stop_at_errors(ours.findings)
                see_size(blocks[run.cell], ours)
                warnings += [f"warning: {one.message}" for one in ours.findings if one.severity == "warning"]
            # A rehearsal changes the body, so each has one of its own.
            body = load_backbone(run.experiment, ours.splits.train)
            model = pipeline.rehearse(run.experiment, replace(ours, backbone=body))
            memory[run.cell] = first_memory(model)
            work[run.cell] = work_of(run, model, ours)
            places = judged.setdefault(blocks[run.cell].data, {})
            places.setdefault((ours.task.metric, ours.fingerprints.get(study.split, "")), run.cell)
    for places in judged.values():
        if len(places) > 1:
            first, second, *_ = places.values()
            raise RecipeError(
                f"'{first}' and '{second}' are judged by different metrics or on different examples.",
                where="vary",
                to_do="Compare cells of the same task and data; data.train and data.limit may differ. Several data "
                "sets stand under 'data'.",
            )
    see_draws(runs)
    return Rehearsal(tuple(dict.fromkeys(warnings)), memory, work)


def see_size(cell: Cell, prepared: Prepared) -> None:
    """See that there are as many training examples as the cell asks for: its point of the curve would lie wrong.

    Raises:
        RecipeError: there are fewer.
    """
    count = sum(1 for _ in labelled_by_people(originals(prepared.splits.train)))
    if cell.size > count:
        raise RecipeError(
            f"There are {count:,} training examples, fewer than {cell.size:,}.",
            where="sizes",
            to_do=f"Let the sizes end at {count} or below.",
        )


def see_draws(runs: Sequence[Run]) -> None:
    """See that the examples which each seed draws can be learnt from: a draw may lack a label that others have.

    Raises:
        DataError: those of a seed cannot; the error says which run would fail.
    """
    seen: set[str] = set()
    for run in runs:
        experiment, data = run.experiment, run.experiment.data
        key = json.dumps([experiment.to_mapping()["data"], experiment.to_mapping()["task"], run.seed], sort_keys=True)
        if not (data.limit or data.per_class or data.shots) or key in seen:
            continue
        seen.add(key)
        with placed(f"cell '{run.cell}', seed {run.seed}"):
            loaded = load_data(data, experiment.task, experiment.seed)
            found = [*loaded.findings, *check(loaded.splits, label_kind=experiment.task.label_kind)]
            stop_at_errors([accepted(finding, data.accept) for finding in found])


def see_splits(study: Study, run: Run) -> None:
    """See that all seeds are judged on the same examples, and that there are some to choose by.

    Raises:
        DataError: a split is held out by the runs' seeds, or there is none.
    """
    data = run.experiment.data
    splits = (study.split, "test") if study.test_at_end and study.split != "test" else (study.split,)
    for split in splits:
        if split in data.located():
            continue
        share = {"test": data.test_share, "validation": data.validation_share}[split]
        is_left_out = {"test": data.test, "validation": data.validation}[split] == NONE
        if is_left_out or not share or "train" not in data.located():
            # Without test examples nothing is judged at the end, which the findings say.
            if split == study.split:
                raise DataError(f"There are no {split} examples.", where="data", to_do=f"Give data.{split}.")
        elif len(study.seeds) > 1 and data.split_seed is None:
            raise DataError(
                f"Each seed would hold out other {split} examples, so runs could not be compared.",
                where=f"data.{split}",
                to_do=f"Give data.{split} a file of its own, or set data.split_seed, or use one seed.",
            )


def first_memory(model: Model) -> int:
    """The bytes that a run is taken to need until one was measured: weights, gradients, averages, and as much again."""
    every, learning = count_parameters(model)
    return _IMPORTS + 2 * 4 * (every + 3 * learning)


def work_of(run: Run, model: Model, prepared: Prepared) -> float:
    """The multiplications of a run: 6 per weight and token learnt from, 2 per one answered (Kaplan et al. 2020)."""
    every, _ = count_parameters(model)
    embedding = model.body.get_input_embeddings()
    weights = every - sum(one.numel() for one in embedding.parameters())
    learnt = sum(one.tokens for one in prepared.encoded_learning) * run.experiment.training.epochs
    answered = sum(one.tokens for one in prepared.encoded.get("validation", ())) * (run.experiment.training.epochs + 3)
    return float(weights) * (6 * learnt + 2 * answered)


def seconds_of(work: float, speed: float) -> float:
    """The seconds that a run of so many multiplications takes at so many per second."""
    return _BEGINNING + work / (_REACHED * speed)


def speed_of(threads: int) -> float:
    """Multiplications and additions per second of a matrix product with so many threads (0: as many as usual).

    The time is the process's own, so that what else the machine does has no part in it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        one = torch.ones(768, 768)
        one @ one
        began, rounds = time.process_time(), 0
        while time.process_time() - began < 0.2 * (threads or before):
            one @ one
            rounds += 1
        return 2 * 768**3 * rounds * (threads or before) / (time.process_time() - began)
    finally:
        torch.set_num_threads(before)


def _prepared_by(run: Run) -> str:
    """What decides how data and model are prepared, as a key."""
    recipe = run.experiment.to_mapping()
    keys = ("task", "data", "model", "method", "augmenters", "augmentation", "semi_supervision")
    return json.dumps([recipe[key] for key in keys], sort_keys=True)
