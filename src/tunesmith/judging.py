"""Judging an artifact on labelled data, alone or paired against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tunesmith.data.checks import label_names
from tunesmith.data.data_sets import DATA_SETS
from tunesmith.data.dataset import Data
from tunesmith.data.duplicates import text_key
from tunesmith.data.files import suffix_of
from tunesmith.data.parallel import MARK
from tunesmith.data.records import Example, Prediction, Splits
from tunesmith.data.sources import names_format, read, usable
from tunesmith.data.splits import fingerprint
from tunesmith.errors import ArtifactError, DataError, RecipeError
from tunesmith.evaluation.intervals import Comparison, compare
from tunesmith.evaluation.report import SplitReport, evaluate_split
from tunesmith.experiment import LABELLED, Experiment, reading
from tunesmith.inference.predictor import Predictor
from tunesmith.learnt_from import USED, Source, learnt_by, sources_of
from tunesmith.redacted_data import redactor_of, without_personal_data
from tunesmith.scoring.subgroups import with_worst_subgroup
from tunesmith.tasks import Task


@dataclass(frozen=True)
class Judgement:
    """The result on a split, the paired comparison with another artifact (empty without one), and what to know of both.

    `compared` is the number of examples of the comparison: those that neither model learnt from.
    """

    split: SplitReport
    comparisons: tuple[Comparison, ...] = ()
    compared: int = 0
    notes: tuple[str, ...] = ()

    def plain(self) -> dict[str, object]:
        """The judgement as plain values."""
        return {
            "split": self.split.name,
            "examples": self.split.size,
            "metrics": {name: asdict(estimate) for name, estimate in self.split.metrics.items()},
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "compared": self.compared,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Candidate:
    """An artifact with the recipe and the fingerprints of the data that it was made from.

    Of an ensemble these are its first member's; `sources` has those of all members.
    """

    folder: Path
    predictor: Predictor
    experiment: Experiment
    fingerprints: Mapping[str, str]
    sources: tuple[Source, ...] = ()

    @classmethod
    def load(cls, folder: Path, backend: str = "") -> Candidate:
        """Load an artifact, in the form that `backend` names or in its own.

        Raises:
            ArtifactError: it cannot be loaded.
        """
        predictor = Predictor.load(folder, backend=backend)
        sources = sources_of(folder)
        return cls(folder, predictor, sources[0].experiment, sources[0].fingerprints, sources)

    def learnt(self, parts: Sequence[str] = USED) -> frozenset[int] | None:
        """The keys of the texts that it was trained on or chosen by, or of some parts of these; None if not known."""
        return learnt_by(self.sources, self.predictor.task, parts)


def judge_artifact(
    folder: Path,
    data: str,
    against: Path | None,
    changes: Sequence[str] = (),
    *,
    passes: int = 0,
    backend: str = "",
) -> Judgement:
    """Measure an artifact on `data`, and against another artifact.

    `data` is a file or a data set of the catalogue; if empty, the recipe's test split is judged.

    Changes such as "data.text=review" say in what the file is written otherwise than the recipe's own. The comparison
    leaves out the examples that one of the two learnt from; it says how many. With `passes` the artifact answers by the
    mean of so many passes with dropout. `backend` names the form of the first that answers; its own if empty.

    Raises:
        ArtifactError: an artifact cannot be loaded, or the two have different labels.
        DataError: there is no labelled example to judge by, or the recipe's test split is not what it was.
        RecipeError: a change says nothing of a file, or there is no file.
    """
    if changes and not data:
        raise RecipeError(
            "--set says how the file of --data is written, and there is none.",
            where="--set",
            to_do="Give --data FILE, or leave --set out.",
        )
    ours = Candidate.load(folder, backend)
    if passes:
        ours = replace(ours, predictor=ours.predictor.with_dropout(passes))
    theirs = None if against is None else Candidate.load(against)
    if theirs is not None:
        see_same_labels(ours, theirs)
    name, examples = examples_to_judge(ours, data, changes)
    notes = unknown_labels(ours.predictor.task.labels, examples)
    predictions = ours.predictor.predict(examples)
    split = evaluate_split(
        name,
        ours.predictor.task,
        examples,
        predictions,
        seed=ours.experiment.seed,
        resamples=ours.experiment.evaluation.resamples,
    )
    if theirs is None:
        # The recipe's own test split was compared with its training split before the run, but not with other members'.
        found = overlaps([ours], examples)[1] if data or len(ours.sources) > 1 else []
        return Judgement(split, notes=(*notes, *found))
    fresh, found = overlaps([ours, theirs], examples)
    if not fresh:
        raise DataError(
            "Every example was learnt from by one of the two models, so there is nothing fair to compare them on.",
            where=name,
            to_do="Give --data FILE with new examples, or train both with one seed: it decides what is held out.",
        )
    judged = [examples[place] for place in fresh]
    comparisons = _compared(ours, theirs, judged, [predictions[place] for place in fresh])
    return Judgement(split, comparisons, len(fresh), (*notes, *found))


def _compared(
    ours: Candidate, theirs: Candidate, examples: Sequence[Example], predictions: Sequence[Prediction]
) -> tuple[Comparison, ...]:
    """The measures that both have, ours on these predictions, paired by example."""
    task = ours.predictor.task
    one, two = (
        with_worst_subgroup(task.measures(examples, answers), task.metric, examples)
        for answers in (predictions, theirs.predictor.predict(examples))
    )
    other = {measure.name: measure for measure in two}
    return tuple(
        compare(measure, other[measure.name], seed=ours.experiment.seed) for measure in one if measure.name in other
    )


def load_splits(candidate: Candidate) -> Splits:
    """The splits of an artifact's recipe, read again."""
    return Source(candidate.experiment, candidate.fingerprints).splits(candidate.predictor.task)


def see_same_labels(ours: Candidate, theirs: Candidate) -> None:
    """See that the answers of two artifacts mean the same.

    Raises:
        ArtifactError: they do not.
    """
    one, other = ours.predictor.task, theirs.predictor.task
    if set(one.labels) != set(other.labels) or one.label_kind != other.label_kind:
        raise ArtifactError(
            "The two artifacts have different labels, so their answers cannot be compared.",
            where=f"{ours.folder} and {theirs.folder}",
            to_do="Compare models of the same task.",
        )


def examples_to_judge(candidate: Candidate, data: str, changes: Sequence[str]) -> tuple[str, Sequence[Example]]:
    """The examples of a file, of a known data set's test split, or of the recipe's test (or else validation) split.

    The file is read as the recipe reads its own, as far as its format knows what the recipe says, and as the changes
    say; a data set that has a name as the catalogue says.
    """
    if data:
        return Path(data).name, examples_of_file(candidate.experiment.data, candidate.predictor.task, data, changes)
    splits = load_splits(candidate)
    for name, examples in (("test", splits.test), ("validation", splits.validation)):
        if len(examples):
            if fingerprint(examples) != candidate.fingerprints.get(name):
                raise DataError(
                    f"The {name} examples are not those that the artifact was judged on: a file has changed since.",
                    where=f"data.{name}",
                    to_do="Put the file back as it was, or judge on the new one with --data FILE.",
                )
            return name, examples
    raise DataError("The recipe has no test or validation split.", where="data", to_do="Give --data FILE.")


def examples_of_file(own: Data, task: Task, data: str, changes: Sequence[str] = ()) -> Sequence[Example]:
    """The labelled examples of a file, or of a known data set, for a task whose recipe has this `data` section.

    Raises:
        DataError: it cannot be read, or holds none.
    """
    settings, path = _how_read(own, data)
    if changes:  # the format that --set says decides what the file has a use for
        settings = replace(settings, format=reading(changes, LABELLED, settings).format)
    source = usable(settings.source(path, task.label_kind, task.inputs))
    if changes:
        # What the recipe says and the file's format has no use for was left out; what --set says must be of use.
        kept = {name: value for name, value in asdict(source).items() if name in LABELLED}
        known = replace(settings, name="", **kept)
        source = reading(changes, LABELLED, known).source(path, task.label_kind, task.inputs)
    examples = read(source).examples
    if own.redact:  # as the texts that the model learnt from
        examples, _ = without_personal_data(examples, redactor_of(own), task.label_kind)
    return examples


def _how_read(own: Data, data: str) -> tuple[Data, str]:
    """How the examples to judge are written, and their path: a file's as the recipe's own, a known data set's as known.

    Raises:
        DataError: the data set is not here, or has nothing to judge by.
    """
    if data in DATA_SETS and not Path(data).exists():
        named = Data(name=data)
        paths = named.located()
        if path := paths.get("test") or paths.get("validation"):
            return named.resolved(), path
        raise DataError(
            f"The data set '{data}' has neither a test nor a validation split.", where="--data", to_do="Give a file."
        )
    return written_like(own, data), data


_OF_LABELS = ("level_separator", "leave_out")
"""What is said of a known data set's labels goes for files of another form too; its columns and its encoding do not."""


def written_like(own: Data, path: str) -> Data:
    """How another file is written: as the recipe's own files; or as its suffix says, where that names another format.

    The data set that the recipe names need not be here. A suffix that names no format, or is one of the recipe's own
    files', leaves it at theirs.
    """
    entry, usual = DATA_SETS.get(own.name), Data().__dict__
    theirs = [own.train, own.validation, own.test]
    form: Mapping[str, Any] = {}
    if entry is not None:
        theirs += [entry.train, entry.validation, entry.test]
        form = {name: value for name, value in entry.reading.items() if own.__dict__[name] == usual[name]}
    suffix = _suffix(path)
    if names_format(suffix) and suffix not in map(_suffix, filter(None, theirs)):
        form = {name: value for name, value in form.items() if name in _OF_LABELS} | {"format": "auto"}
    items = own.located_items() if entry is not None and entry.items else own.items
    return replace(own, name="", items=items, **form)


def _suffix(path: str) -> str:
    """The suffix of a file, of the first of two beside each other, or of a member of an archive."""
    name, _, inside = path.partition(MARK)[0].partition("!")
    return suffix_of(Path(name)) or suffix_of(Path(inside))


def unknown_labels(known: Sequence[str], examples: Sequence[Example]) -> list[str]:
    """A sentence on examples with labels that the model cannot answer; nothing where there are none.

    Raises:
        DataError: no example has only labels that the model knows.
    """
    strange = [example for example in examples if known and set(label_names(example)) - set(known)]
    if not strange:
        return []
    labels = sorted({label for example in strange for label in label_names(example)} - set(known))
    shown = ", ".join(f"'{label}'" for label in labels[:3]) + (" ..." if len(labels) > 3 else "")
    if len(strange) == len(examples):
        raise DataError(
            f"The model knows none of these labels: {shown}.",
            where=strange[0].origin or strange[0].id,
            to_do=f"Its labels are {', '.join(known[:8])}. Map the file's labels to these.",
        )
    return [f"{len(strange)} examples have labels that the model does not know ({shown}): no answer can be right."]


def overlaps(candidates: Sequence[Candidate], examples: Sequence[Example]) -> tuple[list[int], list[str]]:
    """The places of the examples that are new to all candidates, and a sentence on each candidate that knows some."""
    keys = [text_key(example.content) for example in examples]
    old: set[int] = set()
    said = []
    for candidate in candidates:
        learnt = candidate.learnt()
        if learnt is None:
            said.append(f"Whether {candidate.folder} learnt from these examples is not known: its data cannot be read.")
            continue
        places = {place for place, key in enumerate(keys) if key in learnt}
        if places:
            said.append(f"{candidate.folder} was trained on or chosen by {len(places)} of the {len(examples)} texts.")
        old |= places
    return [place for place in range(len(examples)) if place not in old], said
