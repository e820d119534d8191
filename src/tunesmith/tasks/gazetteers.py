"""Lists of names with their types: the longest ones are found in a text, and say so to a tagger beside its states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tunesmith.data.records import Example, Finding
from tunesmith.errors import DataError, LabelError
from tunesmith.tasks.gold import spans_of

TRAIN = "train"
"""In place of a file: the names that are labelled in the training examples."""

Entries = dict[str, dict[str, str]]
"""Name -> type -> the one sentence that it is known from, as a digest; empty for several, and for those of a file."""


def read_entries(sources: Sequence[str], examples: Iterable[Example]) -> Entries:
    """The names of files, and of the training examples where the sources name these.

    Raises:
        DataError: a file cannot be read.
        LabelError: a line is not a type, a tab and a name.
    """
    found: Entries = {}
    for source in sources:
        if source != TRAIN:
            _read_file(Path(source), found)
            continue
        for example in examples:
            own = digest(example.text)
            for span in spans_of(example):
                types = found.setdefault(_plain(example.text[span.start : span.end]), {})
                types[span.label] = own if types.get(span.label, own) == own else ""
    return found


def _read_file(path: Path, found: Entries) -> None:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The gazetteer cannot be read: {error}.",
            where=str(path),
            to_do="Give a file in UTF-8 with a type, a tab and a name in each line, or 'train'.",
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, name = line.partition("\t")
        if not kind.strip() or not name.strip():
            raise LabelError(
                f"The line {line[:60]!r} is not a type, a tab and a name.",
                where=f"{path}:{number}",
                to_do="Write such as PER<tab>Ada Lovelace; a line that begins with # is a comment.",
            )
        found.setdefault(_plain(name), {})[kind.strip()] = ""


def digest(text: str) -> str:
    """A short name of a sentence."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def types_of(entries: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """The types of all names, sorted."""
    return tuple(sorted({kind for types in entries.values() for kind in types}))


def marks_count(entries: Mapping[str, Mapping[str, str]]) -> int:
    """How many marks there are: none; first and further words of each type, and of names with several types."""
    return 1 + 2 * (len(types_of(entries)) + 1) if entries else 0


class Matcher:
    """Finds the names of a gazetteer in texts."""

    def __init__(self, entries: Mapping[str, Mapping[str, str]]) -> None:
        self._entries = entries
        self._types = types_of(entries)
        self._longest = max((len(name) for name in entries), default=0)

    def marks(self, text: str, units: Sequence[tuple[int, int]]) -> list[int]:
        """The mark of each unit: from left to right the longest name that begins and ends with units.

        A name that is known from a single sentence is not found in that sentence: else all names would be found in
        training, and a tagger would learn to trust the list as it never can afterwards.
        """
        own = digest(text)
        found = [0] * len(units)
        place = 0
        while place < len(units):
            end, kind = self._longest_from(text, units, place, own)
            for inside in range(place, end):
                found[inside] = 1 + 2 * kind + (inside > place)
            place = max(end, place + 1)
        return found

    def _longest_from(self, text: str, units: Sequence[tuple[int, int]], first: int, own: str) -> tuple[int, int]:
        """One behind the last unit of the longest name from a unit on, and the number of its type; no unit for none."""
        best = (first, 0)
        for last in range(first, len(units)):
            name = _plain(text[units[first][0] : units[last][1]])
            if len(name) > self._longest:
                break
            kinds = [kind for kind, source in self._entries.get(name, {}).items() if source != own]
            if kinds:
                best = (last + 1, self._types.index(kinds[0]) if len(kinds) == 1 else len(self._types))
        return best


def gazetteer_findings(
    entries: Entries, marks: Iterable[tuple[Example, Sequence[tuple[int, int]], list[int]]]
) -> list[Finding]:
    """How many names there are, and how many of the training spans they find, each with its units and their marks."""
    types = types_of(entries)
    names, gold, right = 0, 0, 0
    for example, units, found in marks:
        spans = {(span.start, span.end): span.label for span in spans_of(example)}
        gold += len(spans)
        for place, mark in enumerate(found):
            if mark % 2 == 0:
                continue
            names += 1
            end = place + 1
            while end < len(found) and found[end] == mark + 1:
                end += 1
            label = spans.get((units[place][0], units[end - 1][1]))
            right += label is not None and (mark // 2 == len(types) or types[mark // 2] == label)
    message = (
        f"The gazetteer has {len(entries):,} names of {len(types)} types. In train, each sentence's own names left "
        f"aside, it finds {right:,} of {gold:,} labelled spans, and {names - right:,} places that are not labelled so."
    )
    return [Finding("gazetteer", "note" if entries else "warning", message, len(entries))]


def _plain(name: str) -> str:
    return " ".join(name.split())
