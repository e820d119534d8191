"""A guard against languages that the model has not learnt: scripts, and profiles of character n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated

from pydantic import Field

from tunesmith.data.records import Example, Prediction
from tunesmith.data.scripts import script_of
from tunesmith.errors import RecipeError
from tunesmith.guarding.fitting import Material, not_fitted
from tunesmith.guarding.thresholds import alarm_limit
from tunesmith.guarding.verdicts import After, Before, Evidence, Need, Verdict

_UNSPACED = frozenset({"Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan"})
"""Scripts without blanks between words, of which single characters are counted."""
_TOGETHER = frozenset({"Han", "Hiragana", "Katakana"})
_READ = 2000
"""So many characters tell a text's language."""


@dataclass(frozen=True)
class Language:
    """Refuse texts in a script or a language that the training texts do not have.

    The script is that of most letters. Within a script a text is judged by how surprising its character n-grams are to
    the training texts' profile: trigrams of words where blanks part them, else single characters (after Cavnar and
    Trenkle 1994, with a likelihood in the place of ranks). It tells languages that the model has learnt from others; it
    does not name them. Texts with few letters pass, and so do names and numbers.

    Attributes:
        alarm_rate: the share of texts in the model's own language that may be refused; it sets the limits.
        least_letters: texts with fewer letters pass. A character without blanks around counts as three.
        least_share: a script with less than this share of the training texts' letters counts as not learnt.
        kept: so many n-grams per script are kept.
        profiles: by script the share of each n-gram in the training texts; fitted.
        limits: by script the surprise, in bits per n-gram, above which a text is refused; fitted.
    """

    alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    least_letters: Annotated[int, Field(ge=1)] = 24
    least_share: Annotated[float, Field(gt=0, lt=1)] = 0.02
    kept: Annotated[int, Field(ge=100)] = 4000
    profiles: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but the text."""
        return frozenset()

    @property
    def is_fitted(self) -> bool:
        """Whether it has profiles."""
        return bool(self.profiles)

    def before(self, example: Example, evidence: Evidence) -> Before:
        """Refuse an unknown script or an unknown language."""
        if not self.profiles:
            raise not_fitted("language")
        script, letters, grams = _read(example)
        if letters < self.least_letters:
            return example
        if script not in self.profiles:
            return Verdict("refuse", "unknown_script")
        limit = self.limits.get(script)
        if limit is not None and (value := self.surprise(script, grams)) > limit:
            return Verdict("refuse", "unknown_language", {"limit": limit, "value": value})
        return example

    def after(self, example: Example, prediction: Prediction, evidence: Evidence) -> After:
        """Pass."""
        return prediction

    def surprise(self, script: str, grams: list[str]) -> float:
        """The mean of -log2 of the n-grams' shares; one that is not in the profile counts as half the rarest."""
        profile, rarest = self.profiles[script], self._rarest[script]
        return -sum(math.log2(profile.get(gram, rarest)) for gram in grams) / len(grams) if grams else 0.0

    @cached_property
    def _rarest(self) -> Mapping[str, float]:
        return {script: min(profile.values()) / 2 for script, profile in self.profiles.items()}

    def fitted(self, material: Material) -> Language:
        """A copy with the profiles of the learnt texts and the limits of the held-out ones.

        A script with too few held-out texts for the rate has no limit: its texts pass.

        Raises:
            RecipeError: there are no letters in the training texts.
        """
        counts: dict[str, Counter[str]] = {}
        letters: Counter[str] = Counter()
        for example in material.learnt.examples:
            script, found, grams = _read(example)
            letters[script] += found
            counts.setdefault(script, Counter()).update(grams)
        total = sum(letters.values())
        if not total:
            raise RecipeError("The training texts have no letters.", where="language", to_do="Leave the guard out.")
        scripts = [name for name, count in letters.most_common() if name and count >= self.least_share * total]
        profiles = {name: _profile(counts[name], self.kept) for name in scripts}
        known = replace(self, profiles=profiles, limits={})
        seen: dict[str, list[float]] = {}
        for example in material.held_out.examples:
            script, found, grams = _read(example)
            if script in profiles and found >= self.least_letters:
                seen.setdefault(script, []).append(known.surprise(script, grams))
        limits = {
            name: alarm_limit(values, self.alarm_rate)
            for name, values in seen.items()
            if len(values) + 1 >= 1 / self.alarm_rate
        }
        return replace(known, limits=limits)

    def figures(self, material: Material) -> Mapping[str, float]:
        """The scripts and their limits."""
        return {"scripts": len(self.profiles), **{f"limit {name}": limit for name, limit in self.limits.items()}}


def _profile(counts: Counter[str], kept: int) -> dict[str, float]:
    """The commonest n-grams with their shares, the commonest first."""
    total = sum(counts.values())
    return {gram: count / total for gram, count in counts.most_common(kept)}


def _read(example: Example) -> tuple[str, int, list[str]]:
    """The script of most letters, how many there are (of unspaced scripts each thrice), and the n-grams in it."""
    text = f"{example.text} {example.second}"[:_READ].lower()
    scripts: Counter[str] = Counter()
    for character in text:
        name = script_of(character)
        scripts["Han" if name in _TOGETHER else name] += 3 if name in _UNSPACED else 1
    del scripts[""]
    if not scripts:
        return "", 0, []
    script, letters = scripts.most_common(1)[0]
    return script, letters, list(_grams(text, script))


def _grams(text: str, script: str) -> Iterator[str]:
    """Single characters of an unspaced script, else trigrams of words with a blank on each side."""
    if script in _UNSPACED:
        yield from (c for c in text if script_of(c) in _UNSPACED)
        return
    for word in text.split():
        inner = f" {''.join(c for c in word if script_of(c) == script)} "
        yield from (inner[place : place + 3] for place in range(len(inner) - 2))
