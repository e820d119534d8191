"""What is common to models that are made of finished runs: which runs, where to write, and the report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from tunesmith.data.records import Example
from tunesmith.data.splits import fingerprint
from tunesmith.errors import ArtifactError, DataError, RecipeError
from tunesmith.evaluation.intervals import Comparison, compare
from tunesmith.evaluation.page import render
from tunesmith.evaluation.report import Cost, RunReport, SplitReport, metrics_json, without_texts
from tunesmith.inference.artifact import add_file, read_description
from tunesmith.learnt_from import Source
from tunesmith.machine import peak_memory_bytes
from tunesmith.tasks import Task


@dataclass(frozen=True)
class Combined:
    """A model made of finished runs, and what it is worth.

    Attributes:
        folder: the artifact that was written.
        best: the run to which it is compared.
        splits: its results.
        comparisons: the paired differences to the best run on the last split, by metric.
        facts: what else is known, for the file beside the weights and for the command line.
        notes: what to know of the figures.
    """

    folder: Path
    best: Path
    splits: tuple[SplitReport, ...]
    comparisons: tuple[Comparison, ...]
    facts: Mapping[str, object]
    notes: tuple[str, ...]


def artifacts_of(runs: Sequence[Path]) -> list[Path]:
    """The artifacts of runs, each given as its folder or as the artifact itself.

    Raises:
        ArtifactError: there are fewer than two, or a folder holds none.
    """
    if len(runs) < 2:
        raise ArtifactError("One run is nothing to combine.", to_do="Name two or more finished runs.")
    found = []
    for run in runs:
        place = run / "artifact" if (run / "artifact").is_dir() else run
        if not (place / "manifest.json").is_file():
            raise ArtifactError(
                "There is no finished run.", where=str(run), to_do="Give the folders that 'tunesmith run' wrote."
            )
        found.append(place)
    return found


def vet_out(out: Path) -> None:
    """See that a folder can be written.

    Raises:
        RecipeError: something is there already, or a file lies in the way.
    """
    above = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if above == out.absolute() or not above.is_dir():
        raise RecipeError("The output folder's name is taken.", where=str(above), to_do="Choose another --out.")


def held_out(artifact: Path, task: Task, name: str) -> Sequence[Example]:
    """A split of an artifact's recipe, read again.

    Raises:
        DataError: it is not what it was.
    """
    source = Source.of(artifact)
    examples = source.splits(task).named().get(name, ())
    if len(examples) and fingerprint(examples) != source.fingerprints.get(name):
        raise DataError(
            f"The {name} examples are not those of the run: a file has changed since.",
            where=f"data.{name} of {artifact}",
            to_do="Put the file back as it was.",
        )
    return examples


def paired(
    task: Task, examples: Sequence[Example], ours: Sequence[object], theirs: Sequence[object], seed: int
) -> tuple[Comparison, ...]:
    """The paired differences between two sets of answers to the same examples, by metric."""
    one, other = (task.measures(examples, answers) for answers in (ours, theirs))  # type: ignore[arg-type]
    named = {measure.name: measure for measure in other}
    return tuple(compare(measure, named[measure.name], seed=seed) for measure in one if measure.name in named)


def write_combined(combined: Combined, task: Task, what: str, parameters: int, began: float) -> None:
    """Put the report and the facts into the artifact, as a run does."""
    description = read_description(combined.folder)
    recipe = (combined.folder / "recipe.yaml").read_text(encoding="utf-8")
    report = RunReport(
        name=combined.folder.name,
        created=time.strftime("%Y-%m-%d %H:%M:%S"),
        task_name=str(cast("Mapping[str, object]", description["task"])["name"]),
        main_metric=task.metric,
        splits=combined.splits,
        history=(),
        findings=(),
        cost=Cost(0.0, time.monotonic() - began, None, parameters, 0, peak_memory_bytes(), 0.0),
        settings=recipe,
        versions=cast("Mapping[str, str]", description["versions"]),
        seed=cast(int, description["seed"]),
        model_identity=f"{what} of {description['base_model']}",
        fingerprints={},
        sizes={},
        parity="",
        notes=combined.notes,
    )
    add_file(combined.folder, f"{what}.json", json.dumps(combined.facts, ensure_ascii=False, indent=2) + "\n")
    add_file(combined.folder, "metrics.json", json.dumps(metrics_json(report), ensure_ascii=False, indent=2))
    add_file(combined.folder, "report.html", render(without_texts(report)))
