"""Easy data augmentation (Wei and Zou 2019, sec. 2): single words replaced, put in, swapped or left out."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tunesmith.augmentation.edits import Edit, Range, edited
from tunesmith.augmentation.lexicons import Lexicon
from tunesmith.augmentation.words import free_words, with_label_words
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError

SHORTEST = 4
"""Words that a text must have: of fewer, each is too much of its meaning."""


@dataclass(frozen=True)
class SynonymReplacement:
    """Replace words by synonyms of a lexicon: WordNet for English, Cilin for Chinese, or a file.

    Of a word with several meanings the most frequent one of WordNet counts.

    Attributes:
        share: of the words that may be changed; at least one is.
        lexicon: "auto" for WordNet and Cilin by the word's script, "wordnet", "cilin", or a file with a word and its
            synonyms on each line, parted by tabs or blanks.
        protected: words that stay as they are, beside negations and the words of the labels' names.
    """

    share: float = 0.15
    lexicon: str = "auto"
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> SynonymReplacement:
        """The same with the words of these examples' labels protected."""
        return replace(self, protected=with_label_words(self.protected, examples))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words replaced; None if the text is too short or no word has a synonym."""
        lexicon, words = Lexicon.of(self.lexicon), chosen_words(example, self.protected)
        rng.shuffle(words)
        edits: list[Edit] = []
        for start, end in words:
            if len(edits) >= wanted(self.share, len(words)):
                break
            known = lexicon.synonyms(example.text[start:end])
            if known:
                edits.append(Edit(start, end, like(example.text[start:end], rng.choice(known))))
        return edited(example, edits) if edits else None


@dataclass(frozen=True)
class RandomInsertion:
    """Put a synonym of a random word in at a random place between words, outside of spans.

    Attributes:
        share: of the words that may be changed, how many are put in; at least one is.
        lexicon: as for `replace_synonyms`.
        protected: words of which no synonym is put in, beside negations and the words of the labels' names.
    """

    share: float = 0.1
    lexicon: str = "auto"
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> RandomInsertion:
        """The same with the words of these examples' labels protected."""
        return replace(self, protected=with_label_words(self.protected, examples))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words more; None if the text is too short or no word has a synonym."""
        lexicon, words = Lexicon.of(self.lexicon), chosen_words(example, self.protected)
        order = rng.sample(words, len(words))
        number = wanted(self.share, len(words))
        new: list[str] = []
        for word in order:
            if len(new) >= number:
                break
            if known := lexicon.synonyms(example.text[slice(*word)]):
                new.append(rng.choice(known))
        if not new:
            return None
        places = rng.sample([start for start, _ in words], len(new))
        return edited(
            example,
            [Edit(place, place, word + blank(example.text, place)) for place, word in zip(places, new, strict=True)],
        )


@dataclass(frozen=True)
class RandomSwap:
    """Swap pairs of words that lie outside of spans.

    Attributes:
        share: of the words that may be changed, how many pairs; at least one.
        protected: words that stay where they are, beside negations and the words of the labels' names.
    """

    share: float = 0.1
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> RandomSwap:
        """The same with the words of these examples' labels protected."""
        return replace(self, protected=with_label_words(self.protected, examples))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy with some words swapped; None if the text is too short, or all of them are one word."""
        words = chosen_words(example, self.protected)
        number = min(wanted(self.share, len(words)), len(words) // 2)
        drawn = rng.sample(words, 2 * number)
        edits = []
        for one, other in zip(drawn[::2], drawn[1::2], strict=True):
            first, second = example.text[slice(*one)], example.text[slice(*other)]
            edits += [Edit(*one, second), Edit(*other, first)] if first != second else []
        return edited(example, edits) if edits else None


@dataclass(frozen=True)
class RandomDeletion:
    """Leave words out that lie outside of spans; at least half of them stay.

    Attributes:
        share: of the words that may be changed; at least one is left out.
        protected: words that stay, beside negations and the words of the labels' names.
    """

    share: float = 0.1
    protected: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_share(self.share)

    def fitted(self, examples: Sequence[Example]) -> RandomDeletion:
        """The same with the words of these examples' labels protected."""
        return replace(self, protected=with_label_words(self.protected, examples))

    def augment(self, example: Example, rng: random.Random) -> Example | None:
        """A copy without some words; None if the text is too short."""
        words = chosen_words(example, self.protected)
        number = min(wanted(self.share, len(words)), len(words) // 2)
        edits = [without(example.text, word) for word in rng.sample(words, number)]
        return edited(example, merged(edits)) if edits else None


def chosen_words(example: Example, protected: Sequence[str]) -> list[Range]:
    """The words that may be changed; none if they are too few."""
    words = free_words(example, protected)
    return words if len(words) >= SHORTEST else []


def wanted(share: float, words: int) -> int:
    """How many words are changed: the share, and one at least (Wei and Zou 2019, sec. 2)."""
    return max(1, round(share * words)) if words else 0


def without(text: str, word: Range) -> Edit:
    """The edit that takes a word out, and the blank behind it (or before it, at the end)."""
    start, end = word
    if text[end : end + 1] == " ":
        end += 1
    elif text[start - 1 : start] == " " and end == len(text):
        start -= 1
    return Edit(start, end, "")


def merged(edits: Sequence[Edit]) -> list[Edit]:
    """Removals of neighbours that reach into each other as one."""
    joined: list[Edit] = []
    for edit in sorted(edits):
        if joined and edit.start < joined[-1].end:
            joined[-1] = Edit(joined[-1].start, max(joined[-1].end, edit.end), "")
        else:
            joined.append(edit)
    return joined


def like(word: str, other: str) -> str:
    """The other word with capitals as the first has them."""
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def blank(text: str, place: int) -> str:
    """What parts a word that is put in before `place` from the next one: nothing in running Chinese."""
    is_running = is_han(text[place]) and (text[place - 1] != " " if place else " " not in text)
    return "" if is_running else " "


def is_han(character: str) -> bool:
    """Whether a character is Chinese."""
    return "㐀" <= character <= "鿿"


def check_share(share: float) -> None:
    """See that a share lies above 0 and at most 1.

    Raises:
        RecipeError: it does not.
    """
    if not 0 < share <= 1:
        raise RecipeError("share must lie above 0 and at most 1.", where="augmenters.share", to_do="0.1 is usual.")
