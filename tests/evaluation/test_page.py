import math
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.scoring.makers import LABELS, class_answers, number_answers, span_answers
from tunesmith.data.records import Example, Finding, Prediction, Span
from tunesmith.evaluation import figures, page
from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.report import Cost, HistoryPoint, Mistake, RunReport, SplitReport, evaluate_split
from tunesmith.scoring.tables import Confusion
from tunesmith.tasks import SequenceClassification, TokenClassification

HOSTILE = "\"'></pre></style><script>alert(1)</script><img src=x>&amp;<!--"
CHINESE = "张三在北京"
PER, LOC = Span(0, 2, "PER"), Span(3, 5, "LOC")


class Reader(HTMLParser):
    """A page as a browser takes it: tags with attributes, the text to be read, table rows, scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.rows, self.text, self.script, self.style = [], [], "", "", ""
        self.inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style", "td", "th") else self.inside
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))
        self.inside = "" if tag in ("script", "style", "td", "th") else self.inside

    def handle_data(self, data):
        if self.inside == "script":
            self.script += data
        elif self.inside == "style":
            self.style += data
        else:
            self.text += data
        if self.inside in ("td", "th"):
            self.rows[-1][-1] += data.strip("\n")


def page_of(report):
    """The page without Plotly's own script, which stands in it once."""
    whole, script = page.render(report), figures.script()
    assert whole.count(script) == 1
    return whole.replace(script, "")


def read(report):
    return Reader(page_of(report))


def judged(task, examples, predictions, name="test"):
    return evaluate_split(name, task, examples, predictions, seed=0, resamples=50)


def classes(name="test", size=60, labels=LABELS):
    examples, predictions, _ = class_answers(size, labels)
    return judged(SequenceClassification(labels=labels), examples, predictions, name)


def spans(text=CHINESE, label="PER", name="test"):
    first, second = Span(0, 2, label), Span(3, 5, f"{label}2")
    examples = [Example(f"{n}{label}", text, (first, second), ((0, 2), (2, 3), (3, 5))) for n in range(6)]
    predictions = [Prediction(example.id, (second,), 0.5, span_scores=(0.5,)) for example in examples]
    return judged(TokenClassification(labels=(label, f"{label}2")), examples, predictions, name)


def numbers():
    examples, predictions, _ = number_answers(30)
    return judged(SequenceClassification(problem="regression"), examples, predictions)


def square(size, word="c"):
    counts = np.random.default_rng(0).permutation(size * size).reshape(size, size)
    return Confusion(tuple(f"{word}{n}" for n in range(size)), counts)


def history(size):
    return tuple(HistoryPoint(n, n / size, 1 / (n + 1), 1e-3, 0.5 if n % 7 == 6 else None) for n in range(size))


def run(*splits, metric="accuracy", **changes):
    cost = Cost(95.0, 200.0, 1.5, 12_000_000, 7_000, 3_000_000_000, 41.0)
    known = RunReport("run", "now", "task", metric, splits, (), (), cost, "", {}, 0, "model", {}, {}, "")
    return replace(known, **changes)


def full(word):
    """A run in which `word` stands wherever a user, a file or a model can put text."""
    labels = tuple(f"{word}{n}" for n in range(4))
    examples, predictions, _ = class_answers(40, labels)
    examples = [
        replace(one, text=word, origin=f"{word}{n % 2}:{n}", attributes={word: f"{word}{n % 3}"})
        for n, one in enumerate(examples)
    ]
    first = judged(SequenceClassification(labels=labels), examples, predictions, "test")
    matrix = square(page.MATRIX + 1, word)
    return run(
        replace(first, metrics={**first.metrics, word: Estimate(0.5, 0.4, 0.6)}, units={word: 7}),
        replace(classes(word), confusion=matrix),
        replace(spans(f"{CHINESE}{word}", word), name="validation"),
        metric=word,
        name=word,
        created=word,
        task_name=word,
        history=history(9),
        findings=tuple(Finding("code", kind, word, 2, (word, word)) for kind in ("error", "warning", "note")),
        settings=word,
        versions={word: word},
        model_identity=word,
        fingerprints={word: word},
        sizes={word: 40},
        parity=word,
        notes=(word,),
        learning_rate_test=((1e-4, 1.0), (1e-3, 0.5)),
    )


@cache
def full_page(word):
    return read(full(word))


@pytest.mark.parametrize("word", [HOSTILE, CHINESE])
def test_no_text_of_a_user_changes_what_the_page_is_made_of(word):
    strange, plain = full_page(word), full_page("4 words")
    made_of, expected = ([(tag, sorted(given)) for tag, given in reader.tags] for reader in (strange, plain))
    assert made_of == expected


@pytest.mark.parametrize("word", [HOSTILE, CHINESE])
def test_every_text_is_shown_as_it_was_given(word):
    strange, plain = full_page(word), full_page("4 words")
    assert strange.text.count(word) > 40
    assert strange.text.replace(word, "4 words") == plain.text


def test_hostile_text_cannot_leave_the_scripts_of_the_figures():
    hostile = full_page(HOSTILE)
    assert "alert(1)" in hostile.script
    assert "<" not in hostile.script
    assert "alert" not in hostile.style


def test_the_page_loads_nothing():
    hostile = full_page(HOSTILE)
    loading = {"src", "srcset", "href", "xlink:href", "action", "formaction", "data", "poster", "background", "ping"}
    names = {tag for tag, _ in hostile.tags}
    assert not names & {"link", "base", "iframe", "object", "embed", "img", "image", "a", "form", "video", "audio"}
    assert not loading & {attribute for _, attributes in hostile.tags for attribute in attributes}
    assert all(attributes.get("http-equiv") is None for _, attributes in hostile.tags)
    styles = hostile.style + "".join(attributes.get("style", "") for _, attributes in hostile.tags)
    assert not re.search(r"@import|url\(|@font-face", styles)
    assert "://" not in page_of(run(classes(), history=history(9), learning_rate_test=((1e-4, 1.0), (1e-3, 0.5))))


def test_every_metric_is_shown_with_its_interval():
    report = run(classes(), replace(spans(), name="validation"))
    rows = read(report).rows
    for split in report.splits:
        for name, one in split.metrics.items():
            interval = "–" if math.isnan(one.low) else f"{page.number(one.low)} to {page.number(one.high)}"
            assert [page.metric_name(name), page.number(one.value), interval, ""] in rows


def test_the_result_on_top_is_the_main_metric_of_the_test_split():
    validation, test, other = classes("validation", 30), classes("test", 60), classes("more", 20)
    report = run(other, validation, test)
    reader, result = read(report), test.metrics["accuracy"]
    top = reader.text.partition("Results on")[0]
    assert "Accuracy on test" in top
    assert page.sentence(test, "accuracy") in top
    assert f"95 % interval {page.number(result.low)} to {page.number(result.high)}" in top
    assert re.findall(r"Results on (\w+)", reader.text) == ["test", "validation", "more"]
    assert "Accuracy on more" in read(run(other)).text


def test_tables_slices_and_mistakes_are_shown():
    split = classes()
    reader = read(run(split))
    for row in split.tables[0].rows:
        cells = [row.label, *map(page.number, (row.precision, row.recall, row.f1)), str(row.support)]
        assert cells in reader.rows
    assert [one.kind for one in split.slices] == ["label"] * 4
    for one in split.slices:
        interval = f"{page.number(one.result.low)} to {page.number(one.result.high)}"
        assert [one.value, str(one.size), page.number(one.result.value), interval, ""] in reader.rows
    assert f"({len(split.mistakes)} of {split.wrong})" in reader.text
    shown = re.findall(r"gold (\w), answered (\w) · confidence ([\d.]+) · (\d+)", reader.text)
    assert shown == [(one.gold, one.answer, page.number(one.confidence), one.id) for one in split.mistakes]


def test_mistakes_in_spans_are_marked_in_the_text():
    mistake = Mistake("7", "张三在北京见Rome", (PER, LOC), (LOC, Span(6, 10, "LOC")), 0.5, 1.5)
    clash = Mistake("8", CHINESE, (PER,), (replace(PER, label="ORG"),), 0.5, 1.5)
    html = page_of(run(replace(spans(), mistakes=(mistake, clash), wrong=2), metric="f1"))
    marked = (
        '<mark class="gold">张三<small>PER</small></mark>在<mark>北京<small>LOC</small></mark>见'
        '<mark class="wrong">Rome<small>→ LOC</small></mark>'
    )
    assert marked in html
    assert '<mark class="clash">张三<small>PER → ORG</small></mark>在北京' in html


def test_few_classes_are_drawn_as_a_matrix_and_many_listed_by_their_confusions():
    few = read(run(replace(classes(), confusion=square(page.MATRIX))))
    many = read(run(replace(classes(), confusion=square(page.MATRIX + 1))))
    assert "Which class was taken for which" in few.text
    assert '"heatmap"' in few.script
    assert "most frequent confusions" not in few.text
    assert "Which class was taken for which" not in many.text
    assert '"heatmap"' not in many.script
    for gold, answer, count in page.most_confused(square(page.MATRIX + 1)):
        assert [gold, answer, str(count)] in many.rows


def test_the_most_frequent_confusions_are_those_off_the_diagonal():
    matrix = square(8)
    pairs = [(matrix.labels[i], matrix.labels[j], int(matrix.counts[i, j])) for i in range(8) for j in range(8)]
    wrong = sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: -pair[2])
    assert page.most_confused(matrix, 10) == tuple(wrong[:10])
    assert len(page.most_confused(matrix)) == 30
    assert matrix.counts.trace() == square(8).counts.trace() > 0
    assert page.most_confused(Confusion(("a", "b"), np.array([[5, 0], [2, 5]]))) == (("b", "a", 2),)


def test_each_colour_has_a_light_and_a_dark_form():
    hostile = full_page(HOSTILE)
    style = hostile.style
    light, dark = (dict(re.findall(r"--(\w+): (#\w+)", part)) for part in re.findall(r":root \{(.*?)\}", style, re.S))
    assert style.index("prefers-color-scheme: dark") > style.index(":root")
    assert set(light) == set(dark) >= set(re.findall(r"var\(--(\w+)\)", style))
    assert all(light[name] != dark[name] for name in light)
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in hostile.tags
    plots = hostile.script.count("newPlot")
    assert plots > 0
    assert hostile.script.count('"paper_bgcolor":"rgba(0,0,0,0)","plot_bgcolor":"rgba(0,0,0,0)"') == plots


BARE = SplitReport("test", 0, {}, {}, (), None, None, (), 0, ())


@pytest.mark.parametrize(
    ("make", "said", "plots"),
    [
        (lambda: run(classes()), "No step was recorded.", 2),
        (lambda: run(classes(), history=history(9)), "Learning rate", 4),
        (lambda: run(classes(), history=history(1)), "Learning rate", 4),
        (lambda: run(replace(classes(), confusion=None)), "Can its confidence be believed?", 1),
        (lambda: run(replace(classes(), calibration=None)), "Which class was taken for which", 1),
        (lambda: run(numbers(), metric="spearman"), "confidence –", 0),
        (lambda: run(spans(), metric="f1"), "examples (18 words, 12 entities)", 1),
        (lambda: run(classes(size=1)), "too few examples for an interval", 2),
        (lambda: run(replace(classes(), wrong=0, mistakes=())), "No answer was wrong.", 2),
        (lambda: run(BARE), "No answer was wrong.", 0),
        (lambda: run(), "Nothing.", 0),
        (lambda: run(cost=Cost(0.0, 0.0, None, 0, 0, 0, 0.0)), "this machine does not tell", 0),
        (lambda: run(learning_rate_test=((1e-4, 1.0), (1e-3, math.inf))), "No step was recorded.", 0),
        (lambda: run(learning_rate_test=((1e-4, 1.0), (1e-3, 0.5), (1e-2, math.nan))), "range test", 1),
    ],
)
def test_what_a_run_does_not_have_is_left_out(make, said, plots):
    reader = read(make())
    assert said in reader.text
    assert reader.script.count("newPlot") == plots
    assert not re.search(r"\b(nan|None|inf|Undefined)\b", reader.text)


def test_the_result_is_told_in_a_sentence():
    split = replace(BARE, size=1234, units={"words": 46435}, metrics={"f1": Estimate(0.91234, 0.9, 0.92)})
    assert page.sentence(split, "f1") == (
        "On 1,234 test examples (46,435 words) the F1 is 0.9123. "
        "Its 95 % interval, from drawing these examples again and again, is 0.9000 to 0.9200."
    )
    alone = replace(split, units={}, metrics={"my_score": Estimate(0.5, math.nan, math.nan)})
    assert page.sentence(alone, "my_score") == "On 1,234 test examples the My score is 0.5000."
    assert page.sentence(split, "accuracy") == ""


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (page.number, math.nan, "–"),
        (page.number, 0.91236, "0.9124"),
        (page.number, -12345.6, "-12,346"),
        (page.percent, math.nan, "0%"),
        (page.percent, 0.12345, "12.35%"),
        (page.percent, 7.0, "100.00%"),
        (page.percent, -7.0, "0.00%"),
        (page.seconds, 99, "99 s"),
        (page.seconds, 150, "2.5 min"),
        (page.seconds, 9000, "2.5 h"),
        (page.show_label, "good", "good"),
        (page.show_label, ("a", "b"), "a, b"),
        (page.show_label, (), "none"),
        (page.show_label, 2.0, "2"),
    ],
)
def test_values_are_written_for_people(show, value, expected):
    assert show(value) == expected


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
        ("aa", False, "X"),
        ("bb", False, "X, other borders"),
        ("c", True, "X"),
    ]
