"""The records that flow through Tunesmith: what is read, what is predicted, and how examples are divided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled piece of a text: characters `start` to `end`, the end not included."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a dialogue; `role` is "system", "user", "assistant" or "tool"."""

    role: str
    text: str


Label = str | float | tuple[str, ...] | tuple[Span, ...]
"""One class or a written answer; a number; several classes (sorted, maybe none); or spans (sorted, maybe none)."""

LABEL_KINDS = ("class", "number", "classes", "spans", "text", "answers", "item", "")
"""The forms of a label. "text" is a written answer, "answers" are the places in the text where the answer to a question
stands (any of them is right, none means that there is no answer), "item" is the id of what a user takes next; an empty
kind is for texts without labels."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text with an id and maybe a label.

    Attributes:
        id: unique in its split.
        text: what is read; of a dialogue the last message before the answer.
        label: the right answer, in the form that the task's `label_kind` says; None without one.
        words: the character range of each given word, for data that comes in words; None for running text.
        group: keeps examples together when splitting.
        origin: where the example was read, as "file:row".
        attributes: further columns of the row, by which results can be sliced.
        second: the other text of a pair: a hypothesis, a second sentence, the question about `text`.
        marks: spans of `text` that are given and not asked for, such as the two entities of a relation; sorted by role,
            which is the span's label.
        turns: the messages of a dialogue before the answer, the last one (`text`) included.
        history: ids of the items that a user had, the oldest first.
        rejected: an answer that was found worse than the label.
        media: the file of each further modality, such as {"image": "photos/1.png"}; a modality may be missing.
        digests: by modality what tells the file's content from others, whatever its name; the name stands in for it.
        subgroup: the name of the part of the data that it belongs to, by which the worst is judged; empty for none.
        weight: how much it counts in the loss.
        chances: the probability of each label where these are uncertain: one mapping for a text's class, one per word
            for tags; empty where `label` is taken to be right.
    """

    id: str
    text: str
    label: Label | None = None
    words: tuple[tuple[int, int], ...] | None = None
    group: str = ""
    origin: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    second: str = ""
    marks: tuple[Span, ...] = ()
    turns: tuple[Turn, ...] = ()
    history: tuple[str, ...] = ()
    rejected: str = ""
    media: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    subgroup: str = ""
    weight: float = 1.0
    chances: tuple[Mapping[str, float], ...] = ()

    @property
    def content(self) -> str:
        """All that tells this example from others, as one text: what copies are looked for by."""
        before = [turn.text for turn in self.turns[:-1]]
        marks = [f"{mark.label} {mark.start} {mark.end}" for mark in self.marks]
        files = [self.digests.get(name, path) for name, path in self.media.items()]
        parts = [*before, self.text, self.second, *marks, *self.history, *files]
        return "\n".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one example, and how sure the model is.

    `label` has the form of the example's label. `confidence` is the probability of the answer in [0, 1]
    (for spans the lowest over the spans, or over all words when there is none); nan where there is no probability
    (regression). `scores` gives the probability of each class for single-label, binary and multi-label tasks, of the
    best answers (question answering, as texts) and of the best items (recommendation); empty otherwise. `span_scores`
    gives the probability of each span, in the order of `label`. `vector` is the text's embedding, if it has one.
    `ranks` tells for the label that was given its place among all that could be answered (recommendation), 1 the best,
    by the "model" and by simpler rankers; 0 for none. `without` gives by modality what the answer would be if the
    example lacked it. `log_likelihood` is that of the given label (of a raw text, whose label is empty, its own),
    summed over its `label_tokens`, of which `right_tokens` were the likeliest at their place, and
    `rejected_log_likelihood` that of the answer found worse; nan and 0 where there is none. `texts` are those of the
    items of the history, of `scores` and of the given label, by id (recommendation). `word_confidence` has the "least"
    and the "mean" probability of the tags of all words, where words are tagged, and the least of the "given" tags,
    where there is a label; `unlikely` is the word that has it, as a span with this tag. `uncertainty` says how far
    several models, or several passes of one, are apart: see `tasks/mixing.py`; nan for a single pass.
    """

    id: str
    label: Label
    confidence: float
    scores: Mapping[str, float] = field(default_factory=dict)
    span_scores: tuple[float, ...] = ()
    vector: tuple[float, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    log_likelihood: float = math.nan
    label_tokens: int = 0
    right_tokens: int = 0
    rejected_log_likelihood: float = math.nan
    without: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    word_confidence: Mapping[str, float] = field(default_factory=dict)
    uncertainty: float = math.nan
    unlikely: Span | None = None


@dataclass(frozen=True, slots=True)
class Splits:
    """The examples to learn from, to choose by, and to judge by; `test` and `validation` may be empty.

    `items` are what is recommended, for data of histories: examples with an item's id, its text, and no label.
    `unlabelled` are texts to learn from without labels.
    """

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]
    items: Sequence[Example] = ()
    unlabelled: Sequence[Example] = ()

    def named(self) -> dict[str, Sequence[Example]]:
        """The splits that hold examples, by name."""
        everything = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: examples for name, examples in everything.items() if len(examples)}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check saw: how often, how bad, and up to three examples of it.

    `code` is a stable name such as "exact_duplicates"; `severity` is "error" (stops the run), "warning"
    (counted in the report) or "note" (an announcement, such as which columns were taken).
    """

    code: str
    severity: str
    message: str
    count: int = 0
    examples: tuple[str, ...] = ()
