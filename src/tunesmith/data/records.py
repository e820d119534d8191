"""The records that flow through Tunesmith: what is read, what is predicted, and how examples are divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled piece of a text: characters `start` to `end`, the end not included."""

    start: int
    end: int
    label: str


Label = str | float | tuple[str, ...] | tuple[Span, ...]
"""One class; a number; several classes (sorted, maybe none); or entity spans (sorted, maybe none)."""


@dataclass(frozen=True, slots=True)
class Example:
    """One text with an id and maybe a label.

    `words` holds the character range of each given word, for data that comes in words; None for running text.
    `origin` says where the example was read, as "file:row"; `group` keeps examples together when splitting;
    `attributes` are further columns of the row (by which results can be sliced).
    """

    id: str
    text: str
    label: Label | None = None
    words: tuple[tuple[int, int], ...] | None = None
    group: str = ""
    origin: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one example, and how sure the model is.

    `label` has the form of the example's label. `confidence` is the probability of the answer in [0, 1]
    (for spans the lowest over the spans, or over all words when there is none); nan where there is no probability
    (regression). `scores` gives the probability of each class for single-label, binary and multi-label tasks;
    empty otherwise. `span_scores` gives the probability of each span, in the order of `label`.
    """

    id: str
    label: Label
    confidence: float
    scores: Mapping[str, float] = field(default_factory=dict)
    span_scores: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Splits:
    """The examples to learn from, to choose by, and to judge by; `test` and `validation` may be empty."""

    train: Sequence[Example]
    validation: Sequence[Example]
    test: Sequence[Example]

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
