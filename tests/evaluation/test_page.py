import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from tests.evaluation.pages import CHINESE, classes, history, judged, numbers, page_of, read, run, spans, square
from tests.scoring.makers import class_answers
from tunesmith.data.records import Finding
from tunesmith.evaluation import figures, page
from tunesmith.evaluation.intervals import Estimate
from tunesmith.evaluation.report import Cost, SplitReport
from tunesmith.evaluation.slices import MOST, Slice
from tunesmith.scoring.tables import Confusion
from tunesmith.tasks import SequenceClassification

HOSTILE = "\"'></pre></style><script>alert(1)</script><img src=x>&amp;<!--"


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
    assert top.index(page.number(result.value)) < top.index(f"{page.number(result.low)} to {page.number(result.high)}")
    assert "95\u00a0% interval" in top
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


def test_a_long_table_begins_with_its_averages_and_its_weakest_classes():
    split = classes(size=400, labels=tuple(f"c{n:02}" for n in range(page.MATRIX + 1)))
    rows = page.in_order(split.tables[0])
    assert [row.label for row in rows[:3]] == ["micro avg", "macro avg", "weighted avg"]
    assert [row.f1 for row in rows[3:]] == sorted(row.f1 for row in rows[3:])
    assert sorted(row.label for row in rows) == sorted(row.label for row in split.tables[0].rows)
    assert "the weakest first" in read(run(split)).text
    assert page.in_order(classes().tables[0]) == classes().tables[0].rows
    assert "the weakest first" not in read(run(classes())).text


def test_slices_that_may_not_be_all_say_so():
    many = replace(classes(), slices=tuple(Slice("label", f"{n}", 9, Estimate(0.5, 0.4, 0.6)) for n in range(MOST)))
    assert f"the {MOST} largest" in read(run(many)).text
    assert f"the {MOST} largest" not in read(run(replace(many, slices=many.slices[1:]))).text


def test_answers_that_the_calibration_leaves_out_are_counted():
    split = classes()
    some = replace(split, calibration=replace(split.calibration, left_out=1234))
    assert "1,234 answers have no confidence and are left out" in read(run(some)).text
    assert "left out" not in read(run(split)).text


def test_a_value_outside_zero_and_one_is_not_drawn_between_them():
    def scales(value):
        split = replace(BARE, metrics={"mae": Estimate(value, value, value)})
        return sum(given.get("class") == "scale" for _, given in read(run(split, metric="mae")).tags)

    assert (scales(0.5), scales(7.0), scales(-0.5)) == (2, 0, 0)


def contrast(one, other):
    """The contrast of two colours [3] of 0 to 255 (WCAG 2.2, relative luminance)."""

    def luminance(colour):
        parts = np.asarray(colour) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_can_be_read_on_paper_of_either_kind_and_in_figures(theme):
    style = full_page(HOSTILE).style
    themes = re.findall(r":root \{(.*?)\}", style, re.S)
    colour = {
        name: np.array([int(value[place : place + 2], 16) for place in (0, 2, 4)])
        for name, value in re.findall(r"--(\w+): #(\w{6})", themes[theme])
    }
    for part in ("infolayer", "xtick", "ytick", "y2tick"):
        assert re.search(rf"\.{part} text[^{{}}]*\{{ fill: var\(--quiet\) !important", style)
    assert ".heatmap-label text { fill: var(--ink) !important" in style
    assert all(
        contrast(colour["ink"], colour[paper]) > 7 for paper in ("paper", "card", "gold", "wrong", "both", "code")
    )
    quiet = ("quiet", "bad", "warn")
    assert all(contrast(colour[name], colour[paper]) > 4.5 for name in quiet for paper in ("paper", "card"))
    for _, shade in figures.SHADES:
        *blue, strength = map(float, re.findall(r"[\d.]+", shade))
        assert contrast(colour["ink"], strength * np.array(blue) + (1 - strength) * colour["card"]) > 4.5


def test_many_classes_get_a_matrix_of_their_own_width_with_short_names():
    few, many = (read(run(replace(classes(), confusion=square(size, "a_very_long_class_name_")))) for size in (8, 9))
    assert [given["class"] for _, given in few.tags if given.get("class") in ("two", "one", "broad")] == ["two"]
    assert [given["class"] for _, given in many.tags if given.get("class") in ("two", "one", "broad")] == [
        "one",
        "broad",
    ]
    assert "a_very_long_cla\\u2026" in many.script
    assert "a_very_long_class_name_8" in many.script


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
    assert set(light) == set(dark) == set(re.findall(r"var\(--(\w+)\)", style))
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
        (lambda: run(numbers(), metric="spearman"), "The worst first.", 0),
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
        "The interval says how far this number depends on which examples were drawn."
    )
    alone = replace(split, units={}, metrics={"my_score": Estimate(0.5, math.nan, math.nan)})
    assert page.sentence(alone, "my_score") == "On 1,234 test examples the my score is 0.5000."
    assert page.sentence(replace(alone, metrics={"mcc": Estimate(0.5, math.nan, math.nan)}), "mcc") == (
        "On 1,234 test examples the Matthews correlation (MCC) is 0.5000."
    )
    assert page.sentence(split, "accuracy") == ""


@pytest.mark.parametrize(
    ("show", "value", "expected"),
    [
        (page.number, math.nan, "–"),
        (page.number, 0.91236, "0.9124"),
        (page.number, -12345.6, "-12,346"),
        (page.count, 22_713_216, "22.7 M"),
        (page.count, 7_000, "7,000"),
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
