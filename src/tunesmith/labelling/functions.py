"""Labelling functions: words and patterns of a file, or functions in Python, and the table of their votes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example
from tunesmith.data.scripts import MARKS, UNSPACED
from tunesmith.errors import RecipeError, nearest
from tunesmith.labelling.label_models import ABSTAINED
from tunesmith.recipes import read_recipe

Function = Callable[[Example], str | None]
"""Gives an example a label, or says nothing (None)."""

_LETTER = rf"[^\W_{UNSPACED}\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]"
"""A letter or digit of a script that puts blanks between words: not of Chinese, nor of Thai to Khmer."""

_FIRST, _LAST = re.compile(_LETTER), re.compile(f"{_LETTER}[{MARKS}]*$")

_KEYS = ("label", "words", "pattern", "absent", "field")


@dataclass(frozen=True)
class Rule:
    """Give a label where a text has one of some words, or matches a pattern.

    Capitals do not matter, and for words neither width nor how accents are written. A word that begins or ends with a
    letter or digit must not go on there with another, but for scripts that put no blank between words.

    Attributes:
        label: the label.
        words: any of these.
        pattern: a regular expression; instead of words.
        absent: give the label where nothing of this is found, instead.
        field: "text", or "second" for the other text of a pair.
    """

    label: str
    words: tuple[str, ...] = ()
    pattern: str = ""
    absent: bool = False
    field: str = "text"

    def __call__(self, example: Example) -> str | None:
        """The label, or None."""
        text = example.second if self.field == "second" else example.text
        is_there = self.compiled.search(_plain(text) if self.words else text) is not None
        return self.label if is_there != self.absent else None

    @property
    def compiled(self) -> re.Pattern[str]:
        """The pattern; Python keeps it compiled."""
        return re.compile(self.pattern or "|".join(_alone(_plain(word)) for word in self.words), re.IGNORECASE)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _alone(word: str) -> str:
    """A pattern of the word with its borders: letters that go on, and marks above them, make another word of it."""
    before = f"(?<!{_LETTER})(?<![{MARKS}])" if _FIRST.match(word) else ""
    after = f"(?!{_LETTER})" if _LAST.search(word) else ""
    return f"{before}{re.escape(word)}{after}(?![{MARKS}])"


def read_functions(path: str | Path) -> dict[str, Rule]:
    """The rules of a YAML file: under `functions`, a name with its label and its words or pattern.

    Raises:
        RecipeError: the file cannot be read, or a rule is not as it should be.
    """
    given = read_recipe(Path(path), "file of labelling functions").get("functions")
    if not isinstance(given, Mapping) or not given:
        raise RecipeError(
            "The file names no labelling functions.",
            where=str(path),
            to_do="Write functions:, and below it a name with label: and words: or pattern:.",
        )
    return {str(name): _rule(settings, f"{path}, {name}") for name, settings in given.items()}


def _rule(settings: object, where: str) -> Rule:
    if not isinstance(settings, Mapping):
        raise RecipeError("A function needs label: and words: or pattern:.", where=where)
    for key in settings:
        if key not in _KEYS:
            raise RecipeError(
                f"Unknown key '{key}'.{nearest(str(key), _KEYS)}", where=where, to_do=f"Known keys: {', '.join(_KEYS)}."
            )
    words = settings.get("words", [])
    words = [words] if isinstance(words, str) else words
    pattern, field = str(settings.get("pattern", "")), str(settings.get("field", "text"))
    if not isinstance(words, list) or bool(words) == bool(pattern) or settings.get("label") is None:
        raise RecipeError(
            "A function needs a label, and either words or a pattern.",
            where=where,
            to_do="Write label: good, and words: [great, 很好] or pattern: 'refund|退款'.",
        )
    odd = [
        one for one in (settings["label"], *words) if isinstance(one, bool) or not isinstance(one, str | int | float)
    ]
    if odd:  # YAML reads yes, no, on and off as true and false
        raise RecipeError(
            f"YAML reads a word or label as {odd[0]!r}.", where=where, to_do='Put it into quotation marks: "yes".'
        )
    if field not in ("text", "second"):
        raise RecipeError(f"The field '{field}' is not known.", where=where, to_do="Use text or second.")
    rule = Rule(str(settings["label"]), tuple(map(str, words)), pattern, bool(settings.get("absent", False)), field)
    try:
        rule.compiled  # noqa: B018 - a pattern that is none is said now
    except re.error as error:
        raise RecipeError(f"The pattern is no regular expression: {error}.", where=where) from error
    return rule


@dataclass(frozen=True)
class Votes:
    """What functions said: `table` [N, M] has class numbers in the order of `labels`, or `ABSTAINED`."""

    table: NDArray[np.int64]
    names: tuple[str, ...]
    labels: tuple[str, ...]

    @classmethod
    def of(cls, examples: Sequence[Example], functions: Mapping[str, Function]) -> Votes:
        """Ask every function about every example."""
        said = [[function(example) for function in functions.values()] for example in examples]
        labels = sorted({label for row in said for label in row if label is not None})
        number = {label: place for place, label in enumerate(labels)}
        table = [[ABSTAINED if label is None else number[label] for label in row] for row in said]
        return cls(np.array(table, dtype=np.int64).reshape(len(said), len(functions)), tuple(functions), tuple(labels))

    @property
    def spoke(self) -> NDArray[np.bool_]:
        """Where a function gave a label [N, M]."""
        return np.asarray(self.table != ABSTAINED)

    @property
    def covered(self) -> NDArray[np.bool_]:
        """The examples on which any function spoke [N]."""
        return np.asarray(self.spoke.any(axis=1))


@dataclass(frozen=True, slots=True)
class Row:
    """A function's line of the table.

    `coverage`: the share of texts on which it speaks; `overlaps`: of these, where another speaks too; `conflicts`:
    where another says something else; `accuracy`: how often it is right, by the label model or by labels that are
    given.
    """

    name: str
    says: tuple[str, ...]
    coverage: float
    overlaps: float
    conflicts: float
    accuracy: float


def table_of(votes: Votes, accuracies: Sequence[float]) -> list[Row]:
    """How often each function speaks, beside others and against them."""
    rows = []
    for place, name in enumerate(votes.names):
        mine, spoke = votes.table[:, place], votes.spoke[:, place]
        others = np.delete(votes.table, place, axis=1)
        beside = (others != ABSTAINED).any(axis=1) & spoke
        against = ((others != ABSTAINED) & (others != mine[:, None])).any(axis=1) & spoke
        size = max(1, len(mine))
        says = tuple(votes.labels[label] for label in np.unique(mine[spoke]))
        coverage, overlaps, conflicts = (float(mask.sum() / size) for mask in (spoke, beside, against))
        rows.append(Row(name, says, coverage, overlaps, conflicts, float(accuracies[place])))
    return rows


def judged_accuracies(votes: Votes, gold: Sequence[str]) -> list[float]:
    """How often each function that speaks gives the label that is given; nan where it never speaks."""
    number = {label: place for place, label in enumerate(votes.labels)}
    right = votes.table == np.array([number.get(label, -2) for label in gold])[:, None]
    counts = votes.spoke.sum(axis=0)
    return [
        float(hits / count) if count else float("nan") for hits, count in zip(right.sum(axis=0), counts, strict=True)
    ]
