"""Whole texts written anew: translated there and back, or said in other words."""

from __future__ import annotations

import logging
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rich.console import Console
from rich.progress import Progress

from tunesmith.augmentation.rewriters import PARAPHRASERS, TRANSLATORS, Opened, Rewriter
from tunesmith.augmentation.rewriters.kept import Kept
from tunesmith.augmentation.word_edits import is_han
from tunesmith.augmentation.words import NEGATIONS, is_negation
from tunesmith.components import build
from tunesmith.data.duplicates import normalised
from tunesmith.data.records import Example, Finding, Span
from tunesmith.errors import RecipeError
from tunesmith.models.catalogue import rewritten_folder

SHORTEST, LONGEST = 0.5, 2.0
"""The characters of a new text over those of its source; another share speaks of words lost or added."""

_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
_WORDS = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BackTranslation:
    """Translate texts into another language and back (Sennrich et al. 2016, sec. 3; Xie et al. 2020, sec. 2.2).

    What comes back is left out where it is the same text, lost a number, a negation or a protected word, or is much
    shorter or longer. Translations are kept on disk (in $TUNESMITH_CACHE, or the user's cache) and never made twice.

    Needs: labels of whole texts; places in a text, such as spans, have no place in another one.

    Attributes:
        by: what translates: apertium, translation_models, ctranslate2 or endpoint, or its name with its settings.
        protected: words that must stand in the new text too if they stand in the old one.
    """

    by: str | dict[str, Any] = "apertium"
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.rewriter  # built now, so that a mistake in it is found when the recipe is read

    @cached_property
    def rewriter(self) -> Rewriter:
        """What translates."""
        return build(TRANSLATORS, self.by, "augmenters.by")

    def fitted(self, examples: Sequence[Example]) -> KnownRewriting:
        """The same, ready to work.

        Raises:
            RecipeError: labels or marks of these examples are places in their texts.
            TunesmithError: a program, a model or a key is missing.
        """
        return KnownRewriting.of(self.rewriter, ("{text}",), self.protected, examples)

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with the text that comes back; None if it is of no use."""
        return self.fitted([example]).augment(example, rng)


@dataclass(frozen=True)
class Paraphrase:
    """Have texts said in other words by a language model, on this machine or behind an endpoint.

    What it says is left out where it is the same text, lost a number, a negation or a protected word, or is much
    shorter or longer. Answers are kept on disk (in $TUNESMITH_CACHE, or the user's cache) and never asked for twice.

    Needs: labels of whole texts; places in a text, such as spans, have no place in another one.

    Attributes:
        by: what is asked: chat_model or endpoint, or its name with its settings.
        prompts: how it is asked, one of these by chance for each text; {text} is the text.
        protected: words that must stand in the new text too if they stand in the old one.
    """

    by: str | dict[str, Any] = "chat_model"
    prompts: tuple[str, ...] = (
        "Say this in other words, with the same meaning. Answer with the new text alone.\n\n{text}",
        "Rewrite this text so that it means the same. Answer with the rewritten text alone.\n\n{text}",
    )
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _ = self.rewriter
        if not self.prompts or any("{text}" not in prompt for prompt in self.prompts):
            raise RecipeError("Each prompt must say {text}.", where="augmenters.prompts", to_do="Add {text} to it.")

    @cached_property
    def rewriter(self) -> Rewriter:
        """What is asked."""
        return build(PARAPHRASERS, self.by, "augmenters.by")

    def fitted(self, examples: Sequence[Example]) -> KnownRewriting:
        """The same, ready to work.

        Raises:
            RecipeError: labels or marks of these examples are places in their texts.
            TunesmithError: a model or a key is missing.
        """
        return KnownRewriting.of(self.rewriter, self.prompts, self.protected, examples)

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy in other words; None if they are of no use."""
        return self.fitted([example]).augment(example, rng)


class KnownRewriting:
    """Writes texts anew by a rewriter that is ready, keeps what was written, and counts what was of no use."""

    def __init__(self, opened: Opened, prompts: Sequence[str], protected: Sequence[str]) -> None:
        self._opened = opened
        self._prompts = prompts
        self._protected = frozenset(word.casefold() for word in protected)
        self._kept = Kept(rewritten_folder(), opened.identity)
        self._asked = 0
        self._faults: Counter[str] = Counter()

    @classmethod
    def of(
        cls, rewriter: Rewriter, prompts: Sequence[str], protected: Sequence[str], examples: Sequence[Example]
    ) -> KnownRewriting:
        """A rewriter made ready for these examples.

        Raises:
            RecipeError: their labels or marks are places in their texts.
        """
        for example in examples:
            spans = isinstance(example.label, tuple) and any(isinstance(item, Span) for item in example.label)
            if spans or example.marks:
                raise RecipeError(
                    "The labels are places in the text, which a text that is written anew does not have.",
                    where="augmenters",
                    to_do="Use augmenters that change single words: fill_words, replace_mentions, replace_synonyms.",
                )
        return cls(rewriter.opened(), prompts, protected)

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with a new text; None if it is of no use."""
        return self.augment_all([example], [rng])[0]

    def augment_all(self, examples: Sequence[Example], chances: Sequence[random.Random]) -> list[Example | None]:
        """For each example what `augment` gives; many texts are written at once."""
        asked = []
        for example, rng in zip(examples, chances, strict=True):
            asked.append(rng.choice(self._prompts).replace("{text}", example.text) if example.text.strip() else "")
        self._write([text for text in dict.fromkeys(asked) if text and text not in self._kept])
        copies: list[Example | None] = []
        for example, text in zip(examples, asked, strict=True):
            new = _bare(example.text, self._kept[text]) if text else ""
            fault = fault_of(example.text, new, self._protected)
            if fault:
                self._faults[fault] += 1
            copies.append(None if fault else replace(example, text=new, words=None))
        return copies

    def _write(self, texts: Sequence[str]) -> None:
        if texts and self._opened.destination:
            _log.warning("%s training texts are sent to %s.", f"{len(texts):,}", self._opened.destination)
        size = self._opened.at_once
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
            written = bar.add_task("Texts written anew", total=len(texts))
            for start in range(0, len(texts), size):
                part = texts[start : start + size]
                self._kept.add(zip(part, self._opened.rewritten(part), strict=True))
                self._asked += len(part)
                bar.advance(written, len(part))

    def findings(self) -> list[Finding]:
        """How many texts were sent away, and how many answers were of no use, and why."""
        found = []
        if self._asked and self._opened.destination:
            said = f"{self._asked:,} training texts were sent to {self._opened.destination}."
            found.append(Finding("texts_sent", "warning", said, self._asked))
        if self._faults:
            listed = ", ".join(f"{fault} {count:,}" for fault, count in self._faults.most_common())
            total = self._faults.total()
            message = f"{total:,} texts that were written anew are of no use ({listed})."
            found.append(Finding("rewritten_amiss", "note", message, total))
        return found


def fault_of(source: str, new: str, protected: frozenset[str] = frozenset()) -> str:
    """Why a new text cannot stand for its source, in a few words; empty if it can."""
    if not new.strip():
        return "no whole text"
    if normalised(new) == normalised(source):
        return "the same text"
    if not SHORTEST <= len(new) / len(source) <= LONGEST:
        return "much shorter or longer"
    if Counter(_NUMBERS.findall(source)) != Counter(_NUMBERS.findall(new)):
        return "other numbers"
    if any(map(is_han, source)) != any(map(is_han, new)):
        return "another script"
    before, after = _words(source), _words(new)
    if _denials(source, before) != _denials(new, after):
        return "a negation lost or added"
    if any(word in before and word not in after for word in protected):
        return "a protected word lost"
    return ""


def _words(text: str) -> set[str]:
    return {word.casefold().replace("’", "'") for word in _WORDS.findall(text)}


_DENIALS = tuple(sorted(word for word in NEGATIONS - {"但", "但是"} if is_han(word[0])))


def _denials(text: str, words: set[str]) -> bool:
    """Whether something is denied; how often and by which word may change."""
    return any(map(is_negation, words)) or any(word in text for word in _DENIALS)


def _bare(source: str, answer: str) -> str:
    """An answer without quotation marks around it, which models like to put there."""
    text = answer.strip()
    for opening, closing in ('""', "''", "“”", "「」"):
        if len(text) > 2 and text[0] == opening and text[-1] == closing and not source.strip().startswith(opening):
            text = text[1:-1].strip()
    return text
