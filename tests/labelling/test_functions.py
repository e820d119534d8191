"""Labelling functions: what they say, how they agree, what is refused; from a file of texts to labelled rows."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.test_cli import call
from tunesmith import cli
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.labelling import MajorityVote
from tunesmith.labelling.functions import Function, Rule, Votes, judged_accuracies, read_functions, table_of
from tunesmith.weak_labels import label_examples

RULES = """
functions:
  praise: {label: good, words: [great, 很好]}
  blame: {label: bad, words: [awful, 差]}
  money_back: {label: bad, pattern: "refund|退款"}
  no_complaint: {label: good, pattern: "refund|退款|awful|broken", absent: true}
"""
TEXTS = ["Great film", "great, but I want a REFUND", "greatness of a kind", "awful", "服务很好", "我要退款", "a day"]


def rules(folder: Path, text: str = RULES) -> Path:
    path = folder / "rules.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def texts() -> list[Example]:
    return [Example(str(number), text) for number, text in enumerate(TEXTS)]


def test_words_stand_alone_but_for_chinese_and_capitals_do_not_matter(tmp_path: Path) -> None:
    votes = Votes.of(texts(), read_functions(rules(tmp_path)))
    assert votes.labels == ("bad", "good")
    assert votes.names == ("praise", "blame", "money_back", "no_complaint")
    said = [[None if vote < 0 else votes.labels[vote] for vote in row] for row in votes.table]
    assert said == [
        ["good", None, None, "good"],
        ["good", None, "bad", None],
        [None, None, None, "good"],
        [None, "bad", None, None],
        ["good", None, None, "good"],
        [None, None, "bad", None],
        [None, None, None, "good"],
    ]


@pytest.mark.parametrize(
    ("word", "there", "not_there"),
    [
        ("iPhone", ["我买了iPhone手机", "an iphone.", "iPhone"], ["iPhones", "myiPhone"]),
        ("5G", ["开通5G套餐", "5g!"], ["15G", "5Ghz"]),
        ("C++", ["I write C++ and C", "用C++写", "c++"], ["ABC++", "C+"]),
        (":)", ["good:)", ":) fine", "a :)", "很好：）"], [":-)"]),
        ("schön", ["sehr schön!", "scho\u0308n", "SCHÖN", "很schön的"], ["verschönern", "schöne", "schon"]),
        ("scho\u0308n", ["schön"], ["schon"]),
        ("schon", ["ist schon da"], ["schön", "scho\u0308n", "schon\u0332"]),
        ("很好", ["服务很好吃", "iPhone很好OK"], ["很 好"]),
        ("OK吗", ["这样OK吗?", "都OK吗好"], ["BOOK吗"]),
        ("ดี", ["ของดีมาก"], []),
        ("great", ["_great_", "#great"], ["great1"]),
        ("नमस्ते", ["नमस्ते दुनिया"], []),
        ("नम", ["नम है"], ["नमी"]),
    ],
)
def test_words_are_found_where_a_reader_finds_them(word: str, there: list[str], not_there: list[str]) -> None:
    rule = Rule("x", (word,))
    assert [text for text in there if rule(Example("1", text)) is None] == []
    assert [text for text in not_there if rule(Example("1", text)) is not None] == []


def test_a_pattern_sees_the_text_as_it_is_written() -> None:
    assert Rule("x", pattern="：")(Example("1", "很好：）")) == "x"


def test_the_table_counts_coverage_overlaps_and_conflicts(tmp_path: Path) -> None:
    votes = Votes.of(texts(), read_functions(rules(tmp_path)))
    gold = ["good", "bad", "good", "bad", "good", "bad", "bad"]
    praise, blame, _, quiet = table_of(votes, judged_accuracies(votes, gold))
    assert (praise.says, praise.coverage, praise.overlaps, praise.conflicts) == (("good",), 3 / 7, 3 / 7, 1 / 7)
    assert praise.accuracy == 2 / 3
    assert (blame.overlaps, blame.conflicts, blame.accuracy) == (0, 0, 1)
    assert quiet.accuracy == 3 / 4
    never = Votes(np.full((2, 1), -1), ("never",), ("a",))
    assert math.isnan(judged_accuracies(never, ["a", "a"])[0])


def test_python_functions_vote_too_and_silent_texts_are_left_out_and_counted() -> None:
    functions: dict[str, Function] = {
        "short": lambda e: "bad" if len(e.text) < 6 else None,
        "film": Rule("good", ("film",)),
    }
    found = label_examples(texts(), functions, MajorityVote())
    assert [(example.id, example.label) for example in found.examples][:2] == [("0", "good"), ("3", "bad")]
    assert (found.silent, found.tied, found.accuracy) == (2, 0, None)


def test_a_tie_is_counted() -> None:
    functions = {"one": Rule("a", ("day",)), "other": Rule("b", ("day",))}
    found = label_examples(texts(), functions, MajorityVote())
    assert (found.tied, found.examples[0].label, dict(found.chances[0])) == (1, "a", {"a": 0.5, "b": 0.5})


def test_functions_that_never_speak_are_an_error() -> None:
    with pytest.raises(DataError, match="No labelling function speaks"):
        label_examples(texts(), {"none": Rule("a", ("zzz",))}, MajorityVote())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("rules: {}", "names no labelling functions"),
        ("functions: {a: good}", "needs label"),
        ("functions: {a: {label: x, word: [b]}}", "Did you mean 'words'"),
        ("functions: {a: {label: x}}", "either words or a pattern"),
        ("functions: {a: {words: [b]}}", "either words or a pattern"),
        ("functions: {a: {label: x, words: [b], pattern: c}}", "either words or a pattern"),
        ("functions: {a: {label: x, pattern: '('}}", "no regular expression"),
        ("functions: {a: {label: x, words: [b], field: title}}", "is not known"),
    ],
)
def test_mistaken_rules_are_explained(given: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        read_functions(rules(tmp_path, given))


def test_shares_are_given_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS), encoding="utf-8")
    given = ["label", str(file), "--functions", str(rules(tmp_path)), "--json", "--model"]
    told = json.loads(call(capsys, *given, "dawid_skene:shares={good: 0.9, bad: 0.1},smoothing=0.1"))
    assert told["labelled"] == 7
    assert isinstance(told["warnings"], list)
    for wrong, said in (("dawid_skene:shares={good: 1}", "There are shares of good"), ("majority:x", "is no setting")):
        assert cli.guarded(partial(cli.app, [*given, wrong], standalone_mode=False)) == 2
        assert said in capsys.readouterr().err
    assert cli.guarded(lambda: cli.app([*given, "dawid_skene:shares={good"], standalone_mode=False)) == 2
    assert "is no value" in capsys.readouterr().err


def test_label_writes_rows_and_judges_by_the_files_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": text, "gold": "good" if number in (0, 2, 4) else "bad"} for number, text in enumerate(TEXTS)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    given = [
        "label",
        str(tmp_path / "texts.jsonl"),
        "--functions",
        str(rules(tmp_path)),
        "--out",
        str(tmp_path / "new"),
    ]
    said = call(capsys, *given, "--judge", "--set", "data.label=gold", "--model", "majority")
    assert "by the file's labels" in said
    assert "7 texts have a label" in said
    written = [json.loads(line) for line in (tmp_path / "new").read_text(encoding="utf-8").splitlines()]
    assert written[4] == {
        "id": "texts.jsonl-5",
        "text": "服务很好",
        "label": "good",
        "confidence": 1.0,
        "chances": {"bad": 0.0, "good": 1.0},
    }
    plain = json.loads(call(capsys, *given, "--json"))
    assert plain["accuracy"] is None
    assert plain["silent"] == 0
    arguments = [*given, "--model", "majorty"]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    assert "Did you mean 'majority'" in capsys.readouterr().err
    other = [{**row, "gold": {"good": "pos", "bad": "neg"}[row["gold"]]} for row in rows]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, other)), encoding="utf-8")
    arguments = [*given, "--judge", "--set", "data.label=gold"]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    said = capsys.readouterr().err
    assert "The functions say bad, good, and the file's labels are neg, pos" in said


@pytest.mark.parametrize("given", ["label: good, words: [yes]", "label: no, words: [bad]", "label: good, words: [~]"])
def test_words_that_yaml_reads_as_something_else_are_refused(given: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(f"functions:\n  one: {{{given}}}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="YAML reads a word or label as") as error:
        read_functions(tmp_path / "rules.yaml")
    assert "quotation marks" in error.value.to_do
