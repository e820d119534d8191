"""Words replaced by others that a masked language model expects in their place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.augmentation.edits import Edit, Range, edited
from tunesmith.augmentation.filler import Filler, Gap, Masked, first_covered
from tunesmith.augmentation.word_edits import check_share, chosen_words, is_han, like, wanted
from tunesmith.augmentation.words import is_negation, with_label_words
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError

LONGEST_HAN = 3
"""Chinese words of more characters stay: too few combinations of likely characters are words."""


@dataclass(frozen=True)
class MaskedFill:
    """Hide words from a masked language model and put others in that it finds likely (Kobayashi 2018, sec. 3.2).

    The words are hidden together; each new one is drawn from the likeliest by their probabilities. It is a word of the
    same script, another one than before, and no negation. A Chinese word becomes one with as many characters that
    jieba's dictionary has. The model knows nothing of labels: let a judge refuse copies that lost theirs.

    Needs: a masked language model whose checkpoint has its output layer; all-MiniLM and E5 have none.

    Attributes:
        share: of the words that may be changed; at least one is.
        model: a folder, a short name of the catalogue, or a hub id.
        candidates: from how many of the likeliest words each is drawn.
        protected: words that stay as they are, beside negations and the words of the labels' names.
    """

    share: float = 0.15
    model: str = "bert-base-uncased"
    candidates: int = 10
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)
        if self.candidates < 1:
            raise RecipeError("candidates must be at least 1.", where="augmenters.candidates", to_do="10 is usual.")

    def fitted(self, examples: Sequence[Example]) -> KnownFill:
        """The same with its model loaded, and with the words of these examples' labels protected.

        Raises:
            ModelError: the model cannot be found or read, or fills in no words.
        """
        kept = replace(self, protected=with_label_words(self.protected, examples))
        return KnownFill(kept, Filler.load(self.model))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words filled in anew; None if the text is too short or no word fits."""
        return self.fitted([example]).augment(example, rng)


@dataclass(frozen=True)
class KnownFill:
    """Fills words in by a model that is loaded; see `MaskedFill`."""

    settings: MaskedFill
    filler: Filler

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words filled in anew; None if the text is too short or no word fits."""
        return self.augment_all([example], [rng])[0]

    def augment_all(self, examples: Sequence[Example], chances: Sequence[random.Random]) -> list[Example | None]:
        """For each example what `augment` gives; the model reads many texts at once."""
        hidden = [self._hidden(example, rng) for example, rng in zip(examples, chances, strict=True)]
        places = [place for place, masked in enumerate(hidden) if masked.gaps]
        found = self.filler.likely([hidden[place] for place in places], self.settings.candidates + 5)
        copies: list[Example | None] = [None] * len(examples)
        for place, options in zip(places, found, strict=True):
            copies[place] = self._filled(examples[place], hidden[place].gaps, options, chances[place])
        return copies

    def _hidden(self, example: Example, rng: random.Random) -> Masked:
        """The text's tokens with some words hidden; of a text longer than the window, a part of it."""
        words = chosen_words(example, self.settings.protected)
        if not words:
            return Masked((), ())
        tokens = self.filler.encoder.tokens(example.text)
        room = self.filler.encoder.room
        first = rng.randrange(max(1, len(tokens.ids) - room + 1))
        shown = range(first, min(first + room, len(tokens.ids)))
        number = wanted(self.settings.share, len(words))
        gaps: dict[int, tuple[Range, int]] = {}
        for start, end in rng.sample(words, len(words)):
            if len(gaps) == number:
                break
            covered = first_covered(tokens.offsets, example.text, start, end)
            if covered is None or not (covered.start in shown and covered.stop - 1 in shown):
                continue
            masks = self.filler.masks_for(example.text[start:end], len(covered))
            if masks and masks <= LONGEST_HAN:
                gaps[covered.start] = ((start, end), len(covered))
        return self.filler.masked(example.text, tokens.ids, shown, gaps)

    def _filled(
        self, example: Example, gaps: Sequence[Gap], options: Sequence[Sequence[tuple[str, float]]], rng: random.Random
    ) -> Example | None:
        kept = {word.casefold() for word in self.settings.protected}
        edits = []
        for gap, likely in zip(gaps, options, strict=True):
            word = example.text[gap.start : gap.end]
            other = [
                (new, weight)
                for new, weight in likely
                if new.casefold() != word.casefold()
                and new.casefold() not in kept
                and not is_negation(new)
                and is_han(new[0]) == is_han(word[0])
            ][: self.settings.candidates]
            if other:
                (new,) = rng.choices([new for new, _ in other], [weight for _, weight in other])
                edits.append(Edit(gap.start, gap.end, like(word, new)))
        return edited(example, edits) if edits else None
