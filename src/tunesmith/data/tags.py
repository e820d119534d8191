"""Tags of words and the spans that they mean, in any of the usual schemes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tunesmith.errors import LabelError

Tag = tuple[str, str]
"""Prefix (B, I, E, S or O) and type; M of BMES is read as I."""

WordSpan = tuple[int, int, str]
"""First word, the word after the last, type."""

OUTSIDE: Tag = ("O", "")
ALL_PREFIXES = "BIESM"


def parse_tag(tag: str, allowed: Collection[str] = ALL_PREFIXES) -> Tag:
    """Part a tag such as "B-PER" into prefix and type.

    Raises:
        LabelError: it is neither O nor an allowed prefix with a type.
    """
    if tag == "O":
        return OUTSIDE
    prefix, dash, kind = tag.partition("-")
    if prefix not in allowed or len(prefix) != 1 or (dash and not kind):
        raise LabelError(
            f"'{tag}' is not a tag; a tag is O, or one of {', '.join(sorted(allowed))} with a type, such as 'B-PER'.",
            to_do="Correct the tag, or name the scheme in which the tags are written.",
        )
    return ("I" if prefix == "M" else prefix, kind)


def lenient_spans(tags: Sequence[Tag]) -> list[WordSpan]:
    """The spans of any mixture of schemes, as the script of the CoNLL shared tasks reads them.

    A tag goes on with a span if it is I or E of the same type right after B or I; otherwise it begins one.
    """
    spans: list[WordSpan] = []
    before = OUTSIDE
    for word, tag in enumerate(tags):
        if tag[0] in ("I", "E") and before[0] in ("B", "I") and tag[1] == before[1]:
            spans[-1] = (spans[-1][0], word + 1, tag[1])
        elif tag != OUTSIDE:
            spans.append((word, word + 1, tag[1]))
        before = tag
    return spans


class SchemeWatch:
    """Recognises the scheme of a file from its tags, and counts what no scheme allows."""

    def __init__(self) -> None:
        self._prefixes: set[str] = set()
        self._begun_by_i = 0
        self._needless_b = 0

    def see(self, raw: Sequence[str], tags: Sequence[Tag]) -> None:
        """Take note of a sentence: its tags as written, and parsed."""
        before = OUTSIDE
        for written, tag in zip(raw, tags, strict=True):
            self._prefixes.add(written[:1])
            goes_on = before[0] in ("B", "I") and before[1] == tag[1]
            if tag[0] in ("I", "E") and not goes_on:
                self._begun_by_i += 1
            if tag[0] == "B" and not goes_on:
                self._needless_b += 1
            before = tag

    @property
    def scheme(self) -> str:
        """IOB1, IOB2, BIOES or BMES; IOB2 where all fit."""
        if "M" in self._prefixes:
            return "BMES"
        if self._prefixes & {"S", "E"}:
            return "BIOES"
        return "IOB1" if self._begun_by_i > self._needless_b else "IOB2"

    @property
    def odd(self) -> int:
        """Spans that begin with a tag with which the scheme does not begin them."""
        return self._needless_b if self.scheme == "IOB1" else self._begun_by_i
