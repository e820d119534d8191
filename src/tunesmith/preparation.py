"""Everything before training: data read and checked, model loaded, texts encoded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tunesmith.augmentation.audit import findings_of
from tunesmith.augmentation.expand import originals
from tunesmith.bodies import load_backbone, window
from tunesmith.components import name_of
from tunesmith.data.checks import check, label_names
from tunesmith.data.encoding_checks import TokenCount, check_encoding, check_histories
from tunesmith.data.records import Example, Finding, Splits
from tunesmith.data.splits import fingerprint
from tunesmith.data.unlabelled import TAUGHT_BY, labelled_by_people
from tunesmith.enlarging import enlarged
from tunesmith.errors import DataError, RecipeError, nearest
from tunesmith.experiment import Experiment
from tunesmith.methods.selective import Nothing
from tunesmith.models.backbone import Backbone
from tunesmith.redacted_data import load_data
from tunesmith.tasks import TASKS, Announcing, Separable, Task
from tunesmith.tasks.encoding import Encoded, TextEncoder


@dataclass(frozen=True)
class Prepared:
    """All that is known before training: examples, the task with its labels, encoded texts, and findings.

    `learning` holds the training examples as the loop learns from them; for some tasks these are pairs of those read,
    and where nothing learns there are none.
    `memory` is what the task settles by: the items, if there are any, and the training examples.
    `seconds` is how long it took: making and judging copies, loading the model, encoding.
    """

    splits: Splits
    findings: tuple[Finding, ...]
    backbone: Backbone
    task: Task
    encoder: TextEncoder
    encoded: dict[str, list[Encoded]]
    learning: Sequence[Example]
    encoded_learning: list[Encoded]
    memory: Sequence[Encoded] = ()
    seconds: float = 0.0

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each split as it was read, and of what models said of texts without labels.

        Examples that were made are left out: they are a function of the others and the recipe.
        """
        read = {
            name: fingerprint(labelled_by_people(originals(examples))) for name, examples in self.splits.named().items()
        }
        if len(self.splits.unlabelled):
            read["unlabelled"] = fingerprint(self.splits.unlabelled)
        said = self.pseudo_labelled
        return {**read, **({"pseudo_labels": fingerprint(said)} if said else {})}

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples each split has, with all that was made, and how many texts there are beside them."""
        beside = {"unlabelled": len(self.splits.unlabelled), "pseudo_labels": len(self.pseudo_labelled)}
        named = {name: len(examples) for name, examples in self.splits.named().items()}
        return {**named, **{name: size for name, size in beside.items() if size}}

    @property
    def pseudo_labelled(self) -> list[Example]:
        """The training examples whose label a model gave, without copies of them."""
        return [example for example in originals(self.splits.train) if TAUGHT_BY in example.attributes]


def prepare(experiment: Experiment) -> Prepared:
    """Read and check the data, load the model, and encode every text.

    Raises:
        DataError: the data cannot be read.
        ModelError: the model cannot be found or read.
    """
    loaded = load_data(experiment.data, experiment.task, experiment.seed)
    return prepare_checked(experiment, loaded.splits, loaded.findings)


def prepare_checked(experiment: Experiment, splits: Splits, findings: Sequence[Finding]) -> Prepared:
    """Check these splits and prepare them; the findings are what was seen while reading them."""
    found = [*findings, *check(splits, label_kind=experiment.task.label_kind)]
    if experiment.data.per_class or experiment.data.shots:  # few of each label is what the recipe asks for
        found = [finding for finding in found if finding.code != "rare_labels"]
    prepared = prepare_enlarged(experiment, splits, found)
    return replace(prepared, findings=tuple(accepted(finding, experiment.data.accept) for finding in prepared.findings))


def prepare_enlarged(experiment: Experiment, splits: Splits, findings: Sequence[Finding] = ()) -> Prepared:
    """Prepare these splits, with changed copies of training examples where the recipe asks for them."""
    began = time.monotonic()
    more, audit = enlarged(experiment, splits)
    prepared = prepare_splits(experiment, more, [*findings, *(findings_of(audit) if audit else [])])
    return replace(prepared, seconds=time.monotonic() - began)


def accepted(finding: Finding, codes: Sequence[str]) -> Finding:
    """The finding, as a warning if the recipe accepts what would be an error."""
    return replace(finding, severity="warning") if finding.severity == "error" and finding.code in codes else finding


def prepare_splits(experiment: Experiment, splits: Splits, findings: Sequence[Finding] = ()) -> Prepared:
    """Load the model, learn the labels and encode every text of these splits, but of test only if it is judged."""
    known = [*splits.items, *splits.train] if splits.items else splits.train
    see_unsure_labels_are_honoured(experiment)
    see_gazetteer_is_fair(experiment)
    backbone = load_backbone(experiment, known)
    task = experiment.task.prepared(known, backbone.tokenizer)
    encoder = TextEncoder.of(backbone.tokenizer, window(task, backbone), backbone.prefix)
    found = [*findings, *announced(backbone, task), *unnamed(task.labels, splits)]
    encoded: dict[str, list[Encoded]] = {}
    judged = {name: part for name, part in splits.named().items() if name != "test" or experiment.evaluation.test}
    for name, examples in judged.items():
        encoded[name] = [encode(task, example, encoder, is_train=name == "train") for example in examples]
        if splits.items:
            found += check_histories(examples, [item.dropped for item in encoded[name]], split=name)
            continue
        counts = [count_of(item, task, encoder) for item in encoded[name]]
        found += check_encoding(examples, counts, max_length=encoder.max_length, split=name)
    items = [task.encode(item, encoder) for item in splits.items]
    if items:
        found += check_items(splits.items, items, encoder)
    if task.body == "causal_lm":
        found += example_shown(encoded, encoder)
    # Where nothing learns there are no steps: pairs of many texts would be made and encoded for nothing.
    learning = () if isinstance(experiment.method, Nothing) else task.arranged(splits.train, experiment.seed)
    is_as_read = learning is splits.train
    encoded_learning = encoded.get("train", []) if is_as_read else [task.encode(one, encoder) for one in learning]
    found += task.announcements(splits.train, learning) if isinstance(task, Announcing) else []
    found += too_long(learning, encoded_learning, experiment.training.max_tokens)
    memory = (*items, *encoded.get("train", ()))
    return Prepared(splits, tuple(found), backbone, task, encoder, encoded, learning, encoded_learning, memory)


def see_unsure_labels_are_honoured(experiment: Experiment) -> None:
    """See that the task's loss knows weights and chances, where the recipe names columns of these.

    Raises:
        RecipeError: it does not, or its labels are no classes or tags, or words are changed whose tags have chances.
    """
    task, data = experiment.task, experiment.data
    named = [name for name in ("weight", "chances") if data.__dict__[name]]
    if named and not isinstance(task, Separable):
        raise RecipeError(
            f"The loss of {name_of(TASKS, task)} is not one of single examples, so data.{named[0]} cannot count in it.",
            where=f"data.{named[0]}",
            to_do="Leave it out, or use sequence_classification or token_classification.",
        )
    if data.chances and task.label_kind not in ("class", "classes", "spans"):
        raise RecipeError(
            "Only classes and tags have chances; these labels are: " + task.label_kind + ".",
            where="data.chances",
            to_do="Leave it out.",
        )
    if data.chances and task.label_kind == "spans" and experiment.augmenters:
        raise RecipeError(
            "The chances of words' tags do not hold when words change.", where="augmenters", to_do="Leave one out."
        )


def see_gazetteer_is_fair(experiment: Experiment) -> None:
    """See that names of the training sentences are not found in copies of these sentences.

    Raises:
        RecipeError: they would be.
    """
    is_learnt = "train" in (vars(experiment.task).get("gazetteer") or ())
    if is_learnt and (experiment.augmenters or experiment.semi_supervision.uses_texts):
        raise RecipeError(
            "A name of the training sentences is not to be found in its own sentence, and copies would show it there.",
            where="task.gazetteer",
            to_do="Name a file in place of 'train', or leave augmenters and semi_supervision out.",
        )


def check_items(items: Sequence[Example], encoded: Sequence[Encoded], encoder: TextEncoder) -> list[Finding]:
    """What the tokenizer and its window do to the texts of items."""
    unknown = [encoder.tokens(item.text).unknown for item in items]
    counts = [TokenCount(one.tokens, lost, trainable=1) for one, lost in zip(encoded, unknown, strict=True)]
    return check_encoding(items, counts, max_length=encoder.max_length, split="items")


def example_shown(encoded: Mapping[str, Sequence[Encoded]], encoder: TextEncoder) -> list[Finding]:
    """The first example as the model reads it, in brackets what is learnt of it (if it stands in it)."""
    pieces = [items[0].pieces[0] for items in encoded.values() if len(items) and len(items[0].pieces[0].unit_positions)]
    if not pieces:
        return []
    ids = pieces[0].input_ids.tolist()
    learnt = {int(place) + 1 for place in pieces[0].unit_positions if place + 1 < len(ids)}
    parts = []
    for is_learnt, run in groupby(range(len(ids)), key=learnt.__contains__):
        text = str(encoder.tokenizer.decode([ids[place] for place in run]))
        shown = text if len(text) <= 600 else f"{text[:300]} ... {text[-300:]}"
        parts.append(f"[{shown}]" if is_learnt else shown)
    brackets = f"; the {len(learnt)} tokens in brackets are learnt" if learnt else ""
    message = f"The first example as the model reads it{brackets}:"
    return [Finding("example_shown", "note", message, 1, ("".join(parts),))]


def encode(task: Task, example: Example, encoder: TextEncoder, *, is_train: bool) -> Encoded:
    """The example as pieces, without a target where it is not for training and has a label that the task lacks.

    Such a label is a finding; where the recipe accepts it, no answer to its example can be right.
    """
    is_foreign = not is_train and task.labels and not set(label_names(example)) <= set(task.labels)
    return task.encode(replace(example, label=None) if is_foreign else example, encoder)


def unnamed(labels: Sequence[str], splits: Splits) -> list[Finding]:
    """Labels of the data that the task does not name, where there is no training split that would have shown them."""
    found = []
    for split, examples in splits.named().items() if labels and not len(splits.train) else ():
        strange = Counter(label for example in examples for label in label_names(example) if label not in labels)
        if strange:
            shown = tuple(f"'{name}' ({count} times){nearest(name, labels)}" for name, count in strange.most_common(3))
            message = f"{len(strange)} labels of {split} are not among the task's."
            found.append(Finding("unseen_labels", "error", message, sum(strange.values()), shown))
    return found


def announced(backbone: Backbone, task: Task) -> list[Finding]:
    """What of the checkpoint is left out, and what it lacks."""
    found = []
    for code, names, message in (
        ("weights_left_out", backbone.unused, "{} weights of the checkpoint have no place in this form of the model."),
        ("new_weights", backbone.missing, "{} weights of the model are not in the checkpoint and start at random."),
    ):
        if names:
            severity = "note" if code == "weights_left_out" else "warning"
            found.append(Finding(code, severity, message.format(len(names)), len(names), tuple(sorted(names)[:3])))
    if backbone.token_kinds is not None and not task.token_types:
        message = "The body learnt with word shapes, and is used without them (task.casing)."
        found.append(Finding("word_shapes_left_out", "warning", message, 1))
    return found


def too_long(examples: Sequence[Example], encoded: Sequence[Encoded], max_tokens: int) -> list[Finding]:
    """A warning about training texts that alone are more than a micro-batch should be."""
    long = [place for place, item in enumerate(encoded) if len(item.pieces) * item.longest > max_tokens]
    if not long:
        return []
    shown = tuple(
        f"{encoded[place].tokens:,} tokens ({examples[place].origin or examples[place].id})" for place in long[:3]
    )
    message = (
        f"{len(long):,} training texts have more than training.max_tokens ({max_tokens:,}) tokens; each is learnt from "
        "whole and alone, which takes as much more memory."
    )
    return [Finding("beyond_max_tokens", "warning", message, len(long), shown)]


def count_of(item: Encoded, task: Task, encoder: TextEncoder) -> TokenCount:
    """What the checks need to know of an encoded example; of several texts that are read apart, the longest counts."""
    trainable = len(item.units) if task.label_kind == "spans" else 1
    parts: Counter[int] = Counter()
    for piece in item.pieces:
        parts[piece.part] += len(piece.input_ids)
    return TokenCount(
        tokens=max(parts.values()) + item.unread,
        unknown=item.unknown,
        trainable=trainable,
        lost_spans=item.lost,
        changed=item.changed,
        repeated=item.repeated,
        dropped=item.dropped,
        cut=item.cut,
        unread=item.unread,
        frame=item.frame or len(encoder.before) + len(encoder.between) + len(encoder.after),
    )


def stop_at_errors(findings: Sequence[Finding]) -> None:
    """Stop if a finding is an error.

    Raises:
        DataError: with the first such finding.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise DataError(
            f"{first.message}{more}",
            where="; ".join(first.examples) or first.code,
            to_do=f"See 'tunesmith check'; correct the data, or set data.accept: [{first.code}].",
        )
