"""What a study found: per cell the result over all seeds, the difference from the baseline, and what it cost."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.data.records import Example
from tunesmith.data.splits import fingerprint
from tunesmith.errors import DataError
from tunesmith.evaluation.intervals import Comparison, Estimate
from tunesmith.evaluation.seeds import Repeated, compare_over_seeds, mean_over_seeds
from tunesmith.judging import Candidate, load_splits
from tunesmith.scoring import Measure
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.study.plan import Changes, Run, Study
from tunesmith.study.running import Outcome
from tunesmith.writing import written

_COLUMNS = (
    *("cell", "mean", "95 % interval", "difference", "95 % interval", "verdict"),
    *("learns", "share", "training", "peak memory"),
)
"""The columns of the table."""
_WORDS = ("cell", "verdict")

_READING = (
    "Intervals are over examples and seeds together; those of differences are paired by both.",
    "Training time is a run's mean, peak memory the most of any run.",
)


@dataclass(frozen=True)
class CellFindings:
    """What was found of a cell.

    `difference` is from the baseline (None for the baseline itself, and where no run of either ended well);
    `seconds` is the mean training time of a run and `peak_memory` the most bytes that one of them held.
    """

    name: str
    changes: Changes
    values: Mapping[int, float]
    mean: Estimate
    difference: Comparison | None
    learning: int
    parameters: int
    seconds: float
    peak_memory: int

    @property
    def verdict(self) -> str:
        """The cell beside the baseline, in words."""
        return "" if self.difference is None else self.difference.verdict


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
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def judge_study(study: Study, outcomes: Sequence[Outcome]) -> StudyFindings:
    """Let every artifact answer the study's examples, and compare the cells.

    Raises:
        DataError: the runs were judged on different examples.
    """
    done = [outcome for outcome in outcomes if not outcome.failure]
    measured = measure_runs(study.split, [outcome.run for outcome in done])
    seed = study.seeds[0]
    repeated: dict[str, Repeated] = {}
    for name in dict.fromkeys(outcome.run.cell for outcome in done):
        own = {run.seed: measure for run, measure in measured if run.cell == name}
        repeated[name] = Repeated.of(own, seed=seed)
    base = repeated.get(study.compared_with())
    cells = []
    for cell in study.cells():
        if cell.name not in repeated:
            continue
        ours = repeated[cell.name]
        costs = [outcome.cost for outcome in done if outcome.run.cell == cell.name]
        is_compared = base is not None and ours is not base and bool(ours.values.keys() & base.values.keys())
        cells.append(
            CellFindings(
                cell.name,
                cell.changes,
                ours.values,
                mean_over_seeds(ours, seed=seed),
                compare_over_seeds(ours, base, seed=seed) if is_compared and base is not None else None,
                int(costs[0]["parameters_trained"] or 0),
                int(costs[0]["parameters_total"] or 0),
                sum(cost["seconds_training"] or 0.0 for cost in costs) / len(costs),
                max(int(cost["peak_memory_bytes"] or 0) for cost in costs),
            )
        )
    first = next(iter(repeated.values()), None)
    return StudyFindings(
        study.name,
        first.name if first else "",
        study.split,
        measured[0][1].size if measured else 0,
        study.compared_with(),
        study.seeds,
        tuple(cells),
        notes_on(study),
        tuple(f"{one.run.cell}, seed {one.run.seed}: {one.failure}" for one in outcomes if one.failure),
    )


def measure_runs(split: str, runs: Sequence[Run]) -> list[tuple[Run, Measure]]:
    """The main metric of each run, of what its artifact on disk answers.

    Raises:
        DataError: a split has changed since, or has no examples.
    """
    examples: Sequence[Example] = ()
    read = ""
    found = []
    for run in runs:
        candidate = Candidate.load(run.folder / "artifact")
        if not read:
            examples = load_splits(candidate).named()[split]
            read = fingerprint(examples)
        if candidate.fingerprints.get(split) != read:
            raise DataError(
                f"The {split} examples are not those that the run was judged on.",
                where=str(run.folder),
                to_do="Put the files back as they were, or give the study another --out.",
            )
        task = candidate.predictor.task
        given = task.measures(examples, candidate.predictor.predict(examples))
        measures = {one.name: one for one in with_worst_subgroup(given, task.metric, examples)}
        found.append((run, measures[task.metric]))
    return found


def notes_on(study: Study) -> tuple[str, ...]:
    """What a reader should know beside the figures."""
    said = []
    if study.split == "validation":
        said.append(
            "Validation also chose the checkpoints, so these figures flatter: use them to choose settings only."
        )
    if len(study.seeds) == 1:
        said.append("With one seed the intervals say nothing of how much another seed would change.")
    if len(study.cells()) > 2:
        said.append(
            "Each interval is one of 95 % for itself: of twenty cells that are no different, one will seem to be."
        )
    return tuple(said)


def as_markdown(findings: StudyFindings) -> str:
    """The findings as a table for people."""
    lines = [
        f"# {findings.name}",
        "",
        f"{said_of(findings)}; differences are from {findings.baseline}.",
        "",
        *table_of([_COLUMNS, *rows_of(findings)]),
    ]
    lines += ["", *_READING]
    lines += [f"\n{note}" for note in findings.notes]
    lines += [f"\nFailed: {failure}" for failure in findings.failures]
    return "\n".join(lines) + "\n"


def table_of(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as the lines of a Markdown table whose columns also stand below each other as plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_word = [name in _WORDS for name in rows[0]]
    rules = ["-" * width if word else "-" * (width - 1) + ":" for width, word in zip(widths, is_word, strict=True)]
    lines = []
    for row in (rows[0], rules, *rows[1:]):
        fields = zip(row, widths, is_word, strict=True)
        lines.append(f"| {' | '.join(f.ljust(w) if word else f.rjust(w) for f, w, word in fields)} |")
    return lines


def said_of(findings: StudyFindings) -> str:
    """What the figures are, in a few words."""
    return f"{findings.metric} on {findings.examples:,} {findings.split} examples, {len(findings.seeds)} seeds"


def rows_of(findings: StudyFindings) -> list[list[str]]:
    """The table's fields, a row per cell."""
    return [
        [
            cell.name,
            f"{cell.mean.value:.4f}",
            _interval(cell.mean, ".4f"),
            "–" if cell.difference is None else f"{cell.difference.difference.value:+.4f}",
            "–" if cell.difference is None else _interval(cell.difference.difference, "+.4f"),
            cell.verdict or ("baseline" if cell.name == findings.baseline else "–"),
            f"{cell.learning:,}",
            f"{100 * cell.learning / max(1, cell.parameters):.2f} %",
            f"{cell.seconds:.0f} s",
            f"{cell.peak_memory / 1e9:.2f} GB",
        ]
        for cell in findings.cells
    ]


def _interval(one: Estimate, form: str) -> str:
    return "–" if math.isnan(one.low) else f"{one.low:{form}} to {one.high:{form}}"


def write_findings(findings: StudyFindings, folder: Path) -> None:
    """Write study.json and study.md."""
    plain = json.dumps(plain_findings(findings), ensure_ascii=False, indent=2)
    for name, text in (("study.json", plain + "\n"), ("study.md", as_markdown(findings))):
        with written(folder / name) as file:
            file.write(text)


def plain_findings(findings: StudyFindings) -> dict[str, object]:
    """The findings as plain values; a number that is none is null."""
    return {name: _defined(value) for name, value in asdict(findings).items()}


def _defined(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _defined(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_defined(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
