"""What a study found: per cell the result over all seeds, the effect against the baseline, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.seeds import Repeated, mean_over_seeds
from tunesmith.study.curves import Curve, curve_of
from tunesmith.study.effects import Effect, Spread, effects_of, pooled, spread_of
from tunesmith.study.judged import SEED, Judged, repeated_of, see_same_examples
from tunesmith.study.plan import Cell, Study
from tunesmith.study.running import Outcome
from tunesmith.study.search import Trial
from tunesmith.study.variants import Changes
from tunesmith.writing import defined


@dataclass(frozen=True)
class CellFindings:
    """What was found of a cell.

    `difference` is from the baseline of the same data set and size (None for the baseline itself, and where no run of
    either ended well); `seconds` is the mean time that a run took to prepare (copies made and judged) and to train,
    `inference` that of an answer, `peak_memory` the most bytes that a run held. `relative` has the three as multiples
    of the baseline's.
    """

    name: str
    way: str
    data: str
    size: int
    changes: Changes
    metric: str
    values: Mapping[int, float]
    mean: Estimate
    difference: Effect | None
    learning: int
    parameters: int
    seconds: float
    peak_memory: int
    inference: float
    relative: tuple[float, float, float] | None

    @property
    def verdict(self) -> str:
        """The cell beside the baseline, in words."""
        return "" if self.difference is None else self.difference.verdict


@dataclass(frozen=True)
class Pooled:
    """A way's mean effect over several data sets."""

    way: str
    size: int
    sets: int
    effect: Effect


@dataclass(frozen=True)
class TestFindings:
    """What the test examples of a data set said of the cell that validation had chosen; `looks` counts such choices."""

    data: str
    chosen: str
    baseline: str
    metric: str
    examples: int
    chosen_mean: Estimate
    baseline_mean: Estimate
    effect: Effect | None
    looks: int


@dataclass(frozen=True)
class StudyFindings:
    """What a study found; `failures` says in a line each which runs did not end well."""

    name: str
    metric: str
    split: str
    examples: int
    baseline: str
    seeds: tuple[int, ...]
    cells: tuple[CellFindings, ...]
    pooled: tuple[Pooled, ...]
    curves: tuple[Curve, ...]
    trials: tuple[Trial, ...]
    tested: tuple[TestFindings, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def judge_study(study: Study, cells: Sequence[Cell], outcomes: Sequence[Outcome]) -> StudyFindings:
    """Compare the cells by what their runs answered; the test examples have no part in it.

    Raises:
        DataError: runs to be compared were judged on different examples.
    """
    done = [outcome for outcome in outcomes if outcome.judged is not None]
    repeated = repeated_by_cell(cells, done)
    raw = [_costed(cell, repeated[cell.name], done) for cell in cells if cell.name in repeated]
    found = ranked(with_effects(study, raw, repeated))
    judged = [outcome.judged for outcome in done if outcome.judged is not None]
    return StudyFindings(
        study.name,
        judged[0].metric if judged else "",
        study.split,
        judged[0].size if judged else 0,
        study.compared_with(),
        study.seeds,
        found,
        pooled_effects(study, found, repeated),
        curves_of(found, repeated),
        (),
        (),
        notes_on(study),
        tuple(f"{one.run.cell}, seed {one.run.seed}: {one.failure}" for one in outcomes if one.failure),
    )


def repeated_by_cell(cells: Sequence[Cell], done: Sequence[Outcome]) -> dict[str, Repeated]:
    """The runs of each cell as one, by its name.

    Raises:
        DataError: cells of one data set were judged on different examples.
    """
    by_cell: dict[str, dict[int, Judged]] = {}
    by_data: dict[str, list[Judged]] = {}
    data = {cell.name: cell.data for cell in cells}
    for outcome in done:
        if outcome.judged is not None and outcome.run.cell in data:
            by_cell.setdefault(outcome.run.cell, {})[outcome.run.seed] = outcome.judged
            by_data.setdefault(data[outcome.run.cell], []).append(outcome.judged)
    for name, judged in by_data.items():
        see_same_examples(judged, name or "the study's runs")
    return {name: repeated_of(dict(sorted(judged.items()))) for name, judged in by_cell.items()}


def _costed(cell: Cell, ours: Repeated, done: Sequence[Outcome]) -> CellFindings:
    """A cell's results and costs, not yet compared."""
    own = [outcome for outcome in done if outcome.run.cell == cell.name]
    costs = [outcome.cost for outcome in own]
    answers = [outcome.judged.seconds for outcome in own if outcome.judged is not None]
    return CellFindings(
        cell.name,
        cell.way,
        cell.data,
        cell.size,
        cell.changes,
        ours.name,
        ours.values,
        mean_over_seeds(ours, seed=SEED),
        None,
        int(costs[0]["parameters_trained"] or 0),
        int(costs[0]["parameters_total"] or 0),
        sum((cost["seconds_training"] or 0.0) + (cost.get("seconds_preparing") or 0.0) for cost in costs) / len(costs),
        max(int(cost["peak_memory_bytes"] or 0) for cost in costs),
        sum(answers) / len(answers),
        None,
    )


def with_effects(study: Study, cells: Sequence[CellFindings], repeated: Mapping[str, Repeated]) -> list[CellFindings]:
    """The cells compared with the baseline of their data set and size; p-values are corrected over all comparisons."""
    bases = {(cell.data, cell.size): cell for cell in cells if cell.way == study.compared_with()}
    pairs = [(cell, base) for cell in cells if (base := bases.get((cell.data, cell.size))) and base is not cell]
    pairs = [(cell, base) for cell, base in pairs if cell.values.keys() & base.values.keys()]
    spreads = [spread_of(repeated[cell.name], repeated[base.name]) for cell, base in pairs]
    compared = {}
    for (cell, base), effect in zip(pairs, effects_of(spreads), strict=True):
        relative = (
            _ratio(cell.seconds, base.seconds),
            _ratio(cell.peak_memory, base.peak_memory),
            _ratio(cell.inference, base.inference),
        )
        compared[cell.name] = replace(cell, difference=effect, relative=relative)
    return [compared.get(cell.name, cell) for cell in cells]


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else math.nan


def ranked(cells: Sequence[CellFindings]) -> tuple[CellFindings, ...]:
    """The cells by data set and size as they come, in each the largest gain first; the baseline stands at its own 0."""
    blocks = list(dict.fromkeys((cell.data, cell.size) for cell in cells))

    def rank(cell: CellFindings) -> tuple[int, float]:
        effect = 0.0 if cell.difference is None else cell.difference.gain
        return blocks.index((cell.data, cell.size)), -effect

    return tuple(sorted(cells, key=rank))


def pooled_effects(study: Study, cells: Sequence[CellFindings], repeated: Mapping[str, Repeated]) -> tuple[Pooled, ...]:
    """Each way's mean effect over the data sets, where there are several that are judged by one metric."""
    if len(study.data) < 2 or len({cell.metric for cell in cells}) != 1:
        return ()
    bases = {(cell.data, cell.size): cell.name for cell in cells if cell.way == study.compared_with()}
    groups: dict[tuple[str, int], list[Spread]] = {}
    for cell in cells:
        if cell.difference is not None:
            base = repeated[bases[cell.data, cell.size]]
            groups.setdefault((cell.way, cell.size), []).append(spread_of(repeated[cell.name], base))
    whole = {key: spreads for key, spreads in groups.items() if len(spreads) > 1}
    effects = effects_of([pooled(spreads) for spreads in whole.values()])
    found = [Pooled(way, size, len(whole[way, size]), one) for (way, size), one in zip(whole, effects, strict=True)]
    return tuple(sorted(found, key=lambda one: -one.effect.gain))


def curves_of(cells: Sequence[CellFindings], repeated: Mapping[str, Repeated]) -> tuple[Curve, ...]:
    """The learning curve of each way on each data set, where the number of training examples is varied."""
    groups: dict[tuple[str, str], list[CellFindings]] = {}
    for cell in cells:
        if cell.size:
            groups.setdefault((cell.data, cell.way), []).append(cell)
    return tuple(
        curve_of(
            *place,
            {cell.size: repeated[cell.name] for cell in own},
            {cell.size: cell.mean for cell in sorted(own, key=lambda one: one.size)},
            seed=SEED,
        )
        for place, own in groups.items()
        if len(own) > 1
    )


def notes_on(study: Study) -> tuple[str, ...]:
    """What a reader should know beside the figures."""
    said = []
    if study.split == "validation":
        said.append(
            "Validation also chose the checkpoints, so its figures flatter, and the best of many cells is flattered "
            "most: only the test examples judge it."
        )
        if not study.test_at_end:
            said.append("No model has answered the test examples (test_at_end: false).")
    else:
        said.append("Every run was judged on the test examples (split: test), so no choice may rest on these figures.")
    if len(study.seeds) == 1:
        said.append("With one seed the intervals say nothing of how much another seed would change.")
    limited = [name for name in ("limit", "per_class", "shots") if study.recipe.get("data", {}).get(name)]
    if study.sizes or limited:
        said.append("Each seed draws training examples of its own, the same for all cells of a size.")
    return tuple(said)


def plain_findings(findings: StudyFindings) -> dict[str, object]:
    """The findings as plain values; a number that is none is null."""
    return {name: defined(value) for name, value in asdict(findings).items()}
