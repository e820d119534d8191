"""How wrong answers are shown: spans marked in their text."""

from dataclasses import replace

import pytest

from tests.evaluation.pages import CHINESE, page_of, run, spans
from tests.scoring.makers import span_answers
from tunesmith.data.records import Span
from tunesmith.evaluation import page
from tunesmith.evaluation.report import Mistake

PER, LOC = Span(0, 2, "PER"), Span(3, 5, "LOC")


def test_mistakes_in_spans_are_marked_in_the_text():
    mistake = Mistake("7", "张三在北京见Rome", (PER, LOC), (LOC, Span(6, 10, "LOC")), 0.5, 1.5)
    clash = Mistake("8", CHINESE, (PER,), (replace(PER, label="ORG"),), 0.5, 1.5)
    html = page_of(run(replace(spans(), mistakes=(mistake, clash), wrong=2), metric="f1"))
    marked = (
        '<mark class="gold">张三<small>PER →</small></mark>在<mark>北京<small>LOC</small></mark>见'
        '<mark class="wrong">Rome<small>→ LOC</small></mark>'
    )
    assert marked in html
    assert '<mark class="clash">张三<small>PER → ORG</small></mark>在北京' in html


def test_a_text_is_cut_where_a_span_begins_or_ends():
    mistake = Mistake("1", "abcdefgh", (Span(1, 4, "X"), Span(6, 8, "Y")), (Span(2, 4, "Z"),), 0.5, 1.0)
    found = [(one.text, one.gold, one.answer) for one in page.segments(mistake)]
    assert found == [("a", "", ""), ("b", "X", ""), ("cd", "X", "Z"), ("ef", "", ""), ("gh", "Y", "")]


def test_segments_join_to_the_text_and_carry_the_types_of_each_character():
    def types(label, size):
        return [next((span.label for span in label if span.start <= n < span.end), "") for n in range(size)]

    examples, predictions, _ = span_answers(50)
    for example, prediction in zip(examples, predictions, strict=True):
        text, gold, answer = example.text, example.label, prediction.label
        found = page.segments(Mistake("1", text, gold, answer, 0.5, 1.0))
        whole = bool(gold or answer)
        assert "".join(one.text for one in found) == text * whole
        assert [one.gold for one in found for _ in one.text] == types(gold, len(text)) * whole
        assert [one.answer for one in found for _ in one.text] == types(answer, len(text)) * whole
        borders = {0, len(text)} | {place for span in (*gold, *answer) for place in (span.start, span.end)}
        assert len(found) == (len(borders) - 1) * whole


@pytest.mark.parametrize("label", ["a", ("a", "b"), (), 2.5])
def test_labels_that_are_no_spans_have_no_segments(label):
    assert page.segments(Mistake("1", "text", label, label, 0.5, 1.0)) == []


def test_neighbours_that_were_answered_as_one_are_not_shown_as_right():
    gold = (Span(0, 2, "X"), Span(2, 4, "X"), Span(5, 6, "X"))
    answer = (Span(0, 4, "X"), Span(5, 6, "X"))
    found = page.segments(Mistake("1", "aabb c", gold, answer, 0.5, 1.0))
    assert [(one.text, one.is_right, one.note) for one in found if one.gold] == [
        ("aa", False, "X →"),
        ("bb", False, "X, other borders"),
        ("c", True, "X"),
    ]
