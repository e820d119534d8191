"""Tag sequences and the spans of words that they mean, read leniently (conlleval) or strictly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tunesmith.data.tags import OUTSIDE, Tag, WordSpan, lenient_spans, parse_tag
from tunesmith.errors import DataError
from tunesmith.scoring.answers import all_labels
from tunesmith.scoring.averages import average_measures, count_items

Mode = Literal["conlleval", "strict"]
"""conlleval: any tag outside a span begins one; strict: only what the scheme allows is a span."""

Scheme = Literal["IOB1", "IOB2", "BIOES", "BMES"]
"""How tags mark borders; BMES writes M where BIOES writes I."""

_PREFIXES = {"IOB1": "BI", "IOB2": "BI", "BIOES": "BIES", "BMES": "BMES"}


def tags_to_spans(tags: Sequence[str], mode: Mode = "conlleval", scheme: Scheme = "IOB2") -> list[WordSpan]:
    """The spans of a tag sequence, as (first word, word after the last, type).

    conlleval reads any mixture of schemes as the script of the CoNLL shared tasks does; strict keeps to `scheme` and
    drops what it does not allow, as seqeval does.

    Raises:
        LabelError: a tag is neither O nor a prefix of the scheme with a type.
    """
    allowed = _PREFIXES[scheme] if mode == "strict" else {*"BIES", *_PREFIXES[scheme]}
    parsed = [parse_tag(tag, allowed) for tag in tags]
    if mode == "conlleval":
        return lenient_spans(parsed)
    if scheme == "IOB1":
        return _strict_iob1(parsed)
    return _strict_iob2(parsed) if scheme == "IOB2" else _strict_bioes(parsed)


def measure_tags(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], mode: Mode = "conlleval", scheme: Scheme = "IOB2"
) -> dict[str, float]:
    """Precision, recall and F1 of the spans of tag sequences; "macro_f1" and its like are means over types.

    Raises:
        DataError: a sequence has more or fewer tags than its gold.
        LabelError: a tag is malformed.
    """
    if [len(tags) for tags in gold] != [len(tags) for tags in predicted]:
        raise DataError(
            "Gold and predicted tag sequences differ in length.", to_do="Give one predicted tag for each gold tag."
        )
    there = [set(tags_to_spans(tags, mode, scheme)) for tags in gold]
    found = [set(tags_to_spans(tags, mode, scheme)) for tags in predicted]
    labels = all_labels((), *({span[2] for span in spans} for spans in (*there, *found)))
    number = {label: index for index, label in enumerate(labels)}
    right = [one & other for one, other in zip(there, found, strict=True)]
    counted = [[[number[span[2]] for span in spans] for spans in side] for side in (right, found, there)]
    statistics = count_items(counted[0], counted[1], counted[2], len(labels))
    measures = average_measures(statistics, "micro") + average_measures(statistics, "macro", "macro_")
    return {measure.name: measure.value() for measure in measures}


def _strict_iob2(tags: Sequence[Tag]) -> list[WordSpan]:
    """B, then any number of I of its type."""
    return [(word, _end_of_inside(tags, word), kind) for word, (prefix, kind) in enumerate(tags) if prefix == "B"]


def _strict_bioes(tags: Sequence[Tag]) -> list[WordSpan]:
    """S alone, or B, any number of I, and E, all of one type."""
    spans = []
    for word, (prefix, kind) in enumerate(tags):
        if prefix == "S":
            spans.append((word, word + 1, kind))
        if prefix == "B":
            end = _end_of_inside(tags, word)
            if end < len(tags) and tags[end] == ("E", kind):
                spans.append((word, end + 1, kind))
    return spans


def _strict_iob1(tags: Sequence[Tag]) -> list[WordSpan]:
    """I where nothing or something else came before; B only to part a span from one of its own type just before it."""
    spans = []
    word, before = 0, OUTSIDE
    while word < len(tags):
        prefix, kind = tags[word]
        end = word + 1
        if (prefix == "I" and before != tags[word]) or (prefix == "B" and before in (("I", kind), ("B", kind))):
            end = _end_of_inside(tags, word)
            after = tags[end] if end < len(tags) else OUTSIDE
            # Between two single words marked B, the second B is only allowed for the same type.
            if not (prefix == "B" and end == word + 1 and after[0] == "B" and after[1] != kind):
                spans.append((word, end, kind))
        word, before = end, tags[end - 1]
    return spans


def _end_of_inside(tags: Sequence[Tag], start: int) -> int:
    """The position after the last I that goes on with the type at `start`."""
    end = start + 1
    while end < len(tags) and tags[end] == ("I", tags[start][1]):
        end += 1
    return end
