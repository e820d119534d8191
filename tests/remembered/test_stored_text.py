"""Texts as they are stored: spans stay on what they mark, whatever masking does to the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.remembered.stored_text import Keeper, moved, replaced, storable

TEXT = "Call Zhang San at 13800138000 or 张三 today"


def mask(text):
    found = [(text.find(name), name, new) for name, new in (("13800138000", "[TEL]"), ("张三", "[某某某]"))]
    return [(start, start + len(name), new) for start, name, new in sorted(found) if start >= 0]


def test_masked_spans_mark_the_same_words():
    keeper = Keeper("masked", mask)
    text, edits = keeper.kept(TEXT)
    assert text == "Call Zhang San at [TEL] or [某某某] today"
    spans = [(5, 14), (18, 29), (33, 35), (36, 41), (20, 22), (0, len(TEXT))]
    shown = [text[slice(*moved(start, end, edits))] for start, end in spans]
    assert shown == ["Zhang San", "[TEL]", "[某某某]", "today", "[TEL]", text]
    answer = {"spans": [{"start": 33, "end": 35, "label": "PER", "text": "张三"}], "scores": [0.5]}
    kept = keeper.kept_answer(answer, text, edits)
    assert kept == {"spans": [{"start": 27, "end": 32, "label": "PER", "text": "[某某某]"}], "scores": [0.5]}


def test_written_answers_are_kept_like_texts():
    answer = {"answer": "at 13800138000", "scores": {"at 13800138000": 0.9}, "confidence": 0.9}
    assert Keeper("masked", mask).kept_answer(answer, "", ()) == {"answer": "at [TEL]", "confidence": 0.9}
    assert Keeper("none", None).kept_answer(answer, None, ()) == {"answer": None, "confidence": 0.9}
    assert Keeper("raw", None).kept_answer(answer, "", ())["answer"] == "at 13800138000"
    found = {"answers": [{"text": "13800138000", "answer_start": 18}]}
    text, edits = Keeper("masked", mask).kept(TEXT)
    kept = Keeper("masked", mask).kept_answer(found, text, edits)
    assert kept == {"answers": [{"text": "[TEL]", "answer_start": 18}]}
    assert Keeper("none", None).kept_answer(found, None, ()) == {"answers": [{"text": None, "answer_start": 18}]}


def test_labels_are_kept_whatever_the_policy():
    answer = {"label": "good", "scores": {"good": 0.7, "bad": 0.3}}
    for policy in ("none", "raw"):
        assert Keeper(policy, None).kept_answer(answer, None, ()) == answer


@pytest.mark.parametrize("wrong", [[(3, 1, "")], [(0, 5, ""), (4, 6, "")], [(0, 99, "")], [(-1, 2, "")]])
def test_replacements_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="replacements"):
        replaced("a text", wrong)


@given(st.text(max_size=40), st.data())
def test_any_replacements_keep_what_lies_outside_of_them(text, data):
    text = storable(text)
    borders = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pairs = list(zip(borders[::2], borders[1::2], strict=False))
    pairs = [pair for number, pair in enumerate(pairs) if pair[0] < pair[1]]
    kept, edits = replaced(text, [(start, end, data.draw(st.text(max_size=5))) for start, end in pairs])
    inside = {place for start, end in pairs for place in range(start, end)}
    for place in set(range(len(text))) - inside:
        start, end = moved(place, place + 1, edits)
        assert kept[start:end] == text[place]
    for (start, end), (_, _, new_start, new_end) in zip(pairs, edits, strict=True):
        assert moved(start, end, edits) == (new_start, new_end)


@given(st.text(alphabet=st.characters(), max_size=30))
def test_what_is_stored_can_be_encoded_and_keeps_its_length(text):
    kept = storable(text + "\0\ud800")
    assert len(kept) == len(text) + 2
    assert b"\0" not in kept.encode("utf-8")
