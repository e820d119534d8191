"""Synonyms by word: WordNet's files, Cilin's, or a file of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tunesmith.data.catalogue import LEXICONS, find_lexicon
from tunesmith.data.files import Place, read_lines
from tunesmith.errors import DataError

_PARTS = ("noun", "verb", "adj", "adv")
_SATELLITE = "5"
"""How a meaning's key names an adjective near another one; the others have their place among the parts, from 1."""


@dataclass(frozen=True)
class Lexicon:
    """Lexicons that are asked one after another."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, name: str) -> Lexicon:
        """The lexicon of a setting: "auto", a name, or a file.

        Raises:
            DataError: it is not there.
        """
        lexicon = cls(("wordnet", "cilin") if name == "auto" else (name,))
        if name != "auto":
            _synonyms(name)
        return lexicon

    def synonyms(self, word: str) -> tuple[str, ...]:
        """The other words of its meaning; none where it is not known.

        Of WordNet and Cilin the shortest words (of one or two letters, of one character) are left alone: they are
        articles and particles, which stand there as names of letters and units.

        Raises:
            DataError: the lexicon of its script is not there.
        """
        is_chinese = "㐀" <= word[:1] <= "鿿"
        if self.names[0] in LEXICONS and len(word) < (2 if is_chinese else 3):
            return ()
        names = self.names if len(self.names) == 1 else self.names[1:] if is_chinese else self.names[:1]
        key = word.casefold()
        return tuple(other for other in _synonyms(names[0]).get(key, ()) if other.casefold() != key)


@cache
def _synonyms(name: str) -> Mapping[str, tuple[str, ...]]:
    if name == "wordnet":
        return wordnet(find_lexicon("wordnet"))
    if name == "cilin":
        return cilin(find_lexicon("cilin"))
    return _file(Place.of(name))


def _file(place: Place) -> dict[str, tuple[str, ...]]:
    """A word and its synonyms on each line."""
    found: dict[str, tuple[str, ...]] = {}
    for line in read_lines(place, "utf-8"):
        word, *others = line.split()[:200] or [""]
        if word and others:
            found[word.casefold()] = (*found.get(word.casefold(), ()), *others)
    if not found:
        raise DataError(
            "The lexicon has no line with a word and its synonyms.",
            where=str(place),
            to_do="Write a word and its synonyms on each line, parted by tabs or blanks.",
        )
    return found


def cilin(path: Path) -> dict[str, tuple[str, ...]]:
    """The lines of Tongyici Cilin whose code ends in "=": words of one meaning."""
    found: dict[str, tuple[str, ...]] = {}
    for line in read_lines(Place.of(str(path)), "gb18030"):
        code, *words = line.split()
        if code.endswith("="):
            for word in words:
                # Of a word with several meanings the first stands for the most usual one.
                found.setdefault(word, tuple(words))
    return found


def wordnet(folder: Path) -> dict[str, tuple[str, ...]]:
    """The single words of the most frequent meaning of each word.

    How often a meaning stands in WordNet's own corpus is in cntlist.rev (cntlist(5WN)); one that never does is seldom
    meant. Where its synonyms are is in the index and data files (wndb(5WN)).

    Raises:
        DataError: a file is missing.
    """
    missing = [name for name in ("cntlist.rev", *(f"index.{part}" for part in _PARTS)) if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"WordNet lacks {missing[0]}.", where=str(folder), to_do="Install all of WordNet's database files."
        )
    places = _places(folder)
    best: dict[str, tuple[int, str, int]] = {}
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, number, count = line.split()
        word, _, rest = key.partition("%")
        part = "adj" if rest[0] == _SATELLITE else _PARTS[int(rest[0]) - 1]
        known = places.get((word, part), ())
        # A few counts are of meanings that are no longer there.
        if int(number) <= len(known) and (word not in best or int(count) > best[word][0]):
            best[word] = (int(count), part, known[int(number) - 1])
    data = {part: (folder / f"data.{part}").read_bytes() for part in _PARTS}
    found = {}
    for word, (_, part, place) in best.items():
        told = data[part][place : data[part].index(b"\n", place)].decode().split()
        names = [name.split("(")[0] for name in told[4 : 4 + 2 * int(told[3], 16) : 2]]
        if others := tuple(name for name in names if "_" not in name and name.casefold() != word):
            found[word] = others
    return found


def _places(folder: Path) -> dict[tuple[str, str], tuple[int, ...]]:
    """Where the meanings of each single word stand, by part of speech and in the order of their numbers."""
    found = {}
    for part in _PARTS:
        for line in (folder / f"index.{part}").read_text(encoding="utf-8").splitlines():
            word, *fields = line.split()
            if not line.startswith(" ") and "_" not in word:
                # Part, meanings, pointers, so many symbols, meanings, counted meanings, and the places.
                found[word, part] = tuple(int(place) for place in fields[5 + int(fields[2]) :])
    return found
