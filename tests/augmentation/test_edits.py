"""Edits: what is said of places in a text stays true when the text changes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.augmentation.edits import Edit, edited
from tunesmith.data.records import Example, Span

TEXT = "Angela Merkel met 王伟 in Berlin on Monday ."
SPANS = (Span(0, 13, "person"), Span(18, 20, "person"), Span(24, 30, "place"))
EXAMPLE = Example("1", TEXT, SPANS)
NAMES = ["Angela Merkel", "王伟", "Berlin"]


def pieces(example: Example) -> list[tuple[str, str]]:
    assert isinstance(example.label, tuple)
    return [(example.text[span.start : span.end], span.label) for span in example.label if isinstance(span, Span)]


def in_words(text: str, label: tuple[Span, ...] = ()) -> Example:
    words, at = [], 0
    for word in text.split(" "):
        words.append((at, at + len(word)))
        at += len(word) + 1
    return Example("1", text, label, tuple(words))


def words(example: Example) -> list[str]:
    assert example.words is not None
    return [example.text[start:end] for start, end in example.words]


@pytest.mark.parametrize(
    ("edits", "text", "mentions"),
    [
        ([Edit(14, 17, "has met")], "Angela Merkel has met 王伟 in Berlin on Monday .", NAMES),
        ([Edit(18, 20, "李娜")], "Angela Merkel met 李娜 in Berlin on Monday .", [NAMES[0], "李娜", NAMES[2]]),
        ([Edit(0, 6, "A.")], "A. Merkel met 王伟 in Berlin on Monday .", ["A. Merkel", *NAMES[1:]]),
        ([Edit(0, 0, "Dr. ")], "Dr. Angela Merkel met 王伟 in Berlin on Monday .", NAMES),
        ([Edit(13, 13, " ,")], "Angela Merkel , met 王伟 in Berlin on Monday .", NAMES),
        ([Edit(6, 6, " D.")], "Angela D. Merkel met 王伟 in Berlin on Monday .", ["Angela D. Merkel", *NAMES[1:]]),
        ([Edit(13, 21, " and "), Edit(31, 33, "")], None, None),
    ],
)  # fmt: skip
def test_spans_move_grow_and_shrink_with_what_is_in_them(
    edits: list[Edit], text: str | None, mentions: list[str] | None
) -> None:
    if text is None:
        with pytest.raises(ValueError, match=r"crosses|Nothing is left"):
            edited(EXAMPLE, edits)
        return
    changed = edited(EXAMPLE, edits)
    assert changed.text == text
    assert [piece for piece, _ in pieces(changed)] == mentions
    assert [label for _, label in pieces(changed)] == ["person", "person", "place"]


def test_marks_move_too_and_nothing_else_is_touched() -> None:
    example = Example("7", "the flu causes fever", "cause", marks=(Span(4, 7, "e1"), Span(15, 20, "e2")), group="g")
    changed = edited(example, [Edit(8, 14, "brings about")])
    assert [changed.text[mark.start : mark.end] for mark in changed.marks] == ["flu", "fever"]
    assert (changed.id, changed.label, changed.group) == ("7", "cause", "g")


def test_given_words_are_parted_anew_where_they_change() -> None:
    example = in_words("He gave up smoking yesterday .", (Span(11, 18, "habit"),))
    changed = edited(example, [Edit(3, 7, "has given"), Edit(8, 11, ""), Edit(19, 19, "only "), Edit(28, 30, "!")])
    assert words(changed) == ["He", "has", "given", "smoking", "only", "yesterday", "!"]
    assert words(edited(example, [Edit(3, 10, "stopped")])) == ["He", "stopped", "smoking", "yesterday", "."]
    assert words(edited(example, [Edit(11, 18, "all of it")])) == [
        "He",
        "gave",
        "up",
        *["all", "of", "it", "yesterday", "."],
    ]


def test_edits_that_overlap_or_cross_a_border_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        edited(EXAMPLE, [Edit(14, 17, "a"), Edit(15, 16, "b")])
    with pytest.raises(ValueError, match="crosses"):
        edited(EXAMPLE, [Edit(10, 16, "a")])
    with pytest.raises(ValueError, match="Nothing is left"):
        edited(EXAMPLE, [Edit(24, 30, "")])


@given(st.integers(0, 10_000))
def test_whatever_is_edited_outside_of_spans_their_texts_stay(seed: int) -> None:
    rng = random.Random(seed)
    tokens = [rng.choice(["in", "on", "好", "Berlin", "Rome", "a"]) for _ in range(rng.randint(1, 12))]
    example = in_words(" ".join(tokens))
    assert example.words is not None
    spans = tuple(
        Span(start, end, "place")
        for (start, end), token in zip(example.words, tokens, strict=True)
        if token in ("Berlin", "Rome")
    )
    example = in_words(" ".join(tokens), spans)
    free = [word for word, token in zip(example.words or (), tokens, strict=True) if token not in ("Berlin", "Rome")]
    edits = [Edit(start, end, rng.choice(["", "x", "two words", "很好"])) for start, end in free if rng.random() < 0.5]
    edits += [
        Edit(start, start, "new ")
        for start, end in free
        if rng.random() < 0.2 and (start, end) not in [(e.start, e.end) for e in edits]
    ]
    changed = edited(example, edits)
    assert pieces(changed) == pieces(example)
    assert words(changed) == changed.text.split()
