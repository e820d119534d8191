"""Everything before training: data read and checked, model loaded, texts encoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from tunesmith.augmentation import AUGMENTERS
from tunesmith.augmentation.expand import KINDS, Audit, Judge, expand, findings_of, originals
from tunesmith.components import name_of
from tunesmith.data.checks import check, label_names
from tunesmith.data.encoding_checks import TokenCount, check_encoding, check_histories
from tunesmith.data.records import Example, Finding, Splits
from tunesmith.data.splits import fingerprint
from tunesmith.errors import DataError, RecipeError, nearest
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.methods.selective import Nothing
from tunesmith.models.backbone import Backbone, load
from tunesmith.models.catalogue import locate
from tunesmith.models.scratch import make_backbone
from tunesmith.tasks import Announcing, Task
from tunesmith.tasks.encoding import Encoded, TextEncoder

SHORTEST = 16
"""The least tokens per window, special tokens included."""


@dataclass(frozen=True)
class Prepared:
    """All that is known before training: examples, the task with its labels, encoded texts, and findings.

    `learning` holds the training examples as the loop learns from them; for some tasks these are pairs of those read,
    and where nothing learns there are none.
    `memory` is what the task settles by: the items, if there are any, and the training examples.
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

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each split as it was read, without the examples that were made."""
        return {name: fingerprint(originals(examples)) for name, examples in self.splits.named().items()}


def prepare(experiment: Experiment) -> Prepared:
    """Read and check the data, load the model, and encode every text.

    Raises:
        DataError: the data cannot be read.
        ModelError: the model cannot be found or read.
    """
    loaded = experiment.data.load(experiment.task.label_kind, experiment.seed, experiment.task.inputs)
    found = [*loaded.findings, *check(loaded.splits, label_kind=experiment.task.label_kind)]
    if experiment.data.per_class or experiment.data.shots:  # few of each label is what the recipe asks for
        found = [finding for finding in found if finding.code != "rare_labels"]
    prepared = prepare_enlarged(experiment, loaded.splits, found)
    return replace(prepared, findings=tuple(accepted(finding, experiment.data.accept) for finding in prepared.findings))


def prepare_enlarged(experiment: Experiment, splits: Splits, findings: Sequence[Finding] = ()) -> Prepared:
    """Prepare these splits, with changed copies of training examples where the recipe asks for them."""
    more, audit = enlarged(experiment, splits)
    return prepare_splits(experiment, more, [*findings, *(findings_of(audit) if audit else [])])


def enlarged(experiment: Experiment, splits: Splits) -> tuple[Splits, Audit | None]:
    """The splits with changed copies of training examples, where the recipe asks for them, and what came of these.

    Raises:
        RecipeError: the labels would not hold when words of a text change.
        ArtifactError: the judge cannot be loaded.
    """
    if not experiment.augmenters:
        return splits, None
    task, settings = experiment.task, experiment.augmentation
    if task.label_kind not in KINDS or {"turns", "history"} & set(task.inputs):
        raise RecipeError(
            "The labels of this task need not hold when single words of a text change.",
            where="augmenters",
            to_do="Leave augmenters out.",
        )
    names = {name_of(AUGMENTERS, one): one for one in experiment.augmenters}
    judge = judged_by(Predictor.load(settings.judge)) if settings.judge else None
    train, audit = expand(
        splits.train,
        names,
        settings,
        seed=experiment.seed,
        held_out=[*splits.validation, *splits.test],
        judge=judge,
    )
    return replace(splits, train=train), audit


def examples_made(experiment: Experiment) -> tuple[Splits, Audit]:
    """The splits with the copies of training examples, and what came of these, without a model to learn.

    Raises:
        RecipeError: the recipe names no augmenter.
    """
    loaded = experiment.data.load(experiment.task.label_kind, experiment.seed, experiment.task.inputs)
    splits, audit = enlarged(experiment, loaded.splits)
    if audit is None:
        raise RecipeError(
            "The recipe names no augmenters.",
            where="augmenters",
            to_do=f"Add augmenters: [swap_words], or any of {', '.join(AUGMENTERS)}.",
        )
    return splits, audit


def judged_by(predictor: Predictor) -> Judge:
    """Whether a trained model gives examples their labels."""

    def is_right(examples: Sequence[Example]) -> list[bool]:
        pairs = zip(examples, predictor.predict(examples), strict=True)
        return [predictor.task.is_correct(example, prediction) for example, prediction in pairs]

    return is_right


def accepted(finding: Finding, codes: Sequence[str]) -> Finding:
    """The finding, as a warning if the recipe accepts what would be an error."""
    return replace(finding, severity="warning") if finding.severity == "error" and finding.code in codes else finding


def prepare_splits(experiment: Experiment, splits: Splits, findings: Sequence[Finding] = ()) -> Prepared:
    """Load the model, learn the labels and encode every text of these splits, but of test only if it is judged."""
    known = [*splits.items, *splits.train] if splits.items else splits.train
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
    message = f"The first example as the model reads it{brackets}: {''.join(parts)}"
    return [Finding("example_shown", "note", message, 1)]


def load_backbone(experiment: Experiment, examples: Sequence[Example]) -> Backbone:
    """The pre-trained body, or one from scratch whose tokenizer is learnt from these training examples."""
    model, kind = experiment.model, experiment.task.body
    if not model.is_scratch:
        return load(locate(model.name), dropout=model.dropout, kind=kind)
    texts = (text for example in examples for text in (example.content, written_label(example, experiment.task)))
    return make_backbone(model.sizes, kind, texts, seed=experiment.seed, dropout=model.dropout)


def written_label(example: Example, task: Task) -> str:
    """The label, where it is a text that the model reads too."""
    return str(example.label) if task.label_kind == "text" and example.label is not None else ""


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


def window(task: Task, backbone: Backbone) -> int:
    """The tokens per window: what the recipe asks for, or what the model reads.

    Raises:
        RecipeError: the model reads less, or so few tokens make no sense.
    """
    if task.max_length > backbone.max_length:
        raise RecipeError(
            f"max_length is {task.max_length}, but the model reads at most {backbone.max_length} tokens.",
            where="task.max_length",
            to_do=f"Use at most {backbone.max_length}; longer texts are read in windows.",
        )
    if 0 < task.max_length < SHORTEST:
        raise RecipeError(
            f"max_length {task.max_length} leaves no room for text.",
            where="task.max_length",
            to_do=f"Use at least {SHORTEST}.",
        )
    return task.max_length or backbone.max_length


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
