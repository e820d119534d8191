"""Instructions, dialogues and preferences in the forms that people have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import data_folder
from tunesmith.data.records import Turn
from tunesmith.data.source import Source
from tunesmith.data.sources import Reading, read
from tunesmith.errors import DataError

USER, ANSWER = Turn("user", "你好"), Turn("assistant", "Hello!")


def read_rows(folder: Path, *rows: object, kind: str = "text", **settings: Any) -> Reading:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return read(Source(str(path), label_kind=kind, inputs=("turns",), **settings))


FORMS = {
    "alpaca": {"instruction": "你好", "input": "", "output": "Hello!"},
    "sharegpt": {"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "Hello!"}]},
    "openai": {"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello!"}]},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "你好"}]},
            {"role": "assistant", "content": "Hello!"},
        ]
    },
    "prompt": {"prompt": "你好", "response": "Hello!"},
    "question": {"question": "你好", "answer": "Hello!"},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_says_the_same(form: str, tmp_path: Path) -> None:
    reading = read_rows(tmp_path, FORMS[form])
    (example,) = reading.examples
    assert (example.turns, example.text, example.label, example.rejected) == ((USER,), "你好", "Hello!", "")
    assert reading.findings[0].message.startswith("1 rows have the form: ")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "你好", "chosen": "Hello!", "rejected": "No"},
        {"instruction": "你好", "input": "", "output": "Hello!", "chosen": "Hello!", "rejected": "No"},
        {
            "conversations": [{"from": "human", "value": "你好"}],
            "chosen": {"from": "gpt", "value": "Hello!"},
            "rejected": {"from": "gpt", "value": "No"},
        },
        {
            "chosen": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hello!"}],
            "rejected": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "No"}],
        },
    ],
)
def test_preferences_have_a_better_and_a_worse_answer(row: dict[str, object], tmp_path: Path) -> None:
    (example,) = read_rows(tmp_path, row).examples
    assert (example.turns, example.label, example.rejected) == ((USER,), "Hello!", "No")


def test_a_dialogue_keeps_its_system_tools_and_rounds(tmp_path: Path) -> None:
    row = {
        "system": "Be brief.",
        "tools": '[{"name": "look"}]',
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": '{"name": "look"}'},
            {"from": "observation", "value": "sun"},
            {"from": "gpt", "value": "Sunny."},
        ],
    }
    (example,) = read_rows(tmp_path, row).examples
    assert [turn.role for turn in example.turns] == ["system", "user", "assistant", "tool"]
    assert example.turns[0].text == 'Be brief.\n\nTools that can be called:\n[{"name": "look"}]'
    assert example.label == "Sunny."


def test_alpaca_history_and_input_come_before_the_answer(tmp_path: Path) -> None:
    row = {"instruction": "Translate", "input": "你好", "output": "Hello!", "history": [["hi", "ho"]], "system": "s"}
    (example,) = read_rows(tmp_path, row).examples
    said = [(turn.role, turn.text) for turn in example.turns]
    assert said == [("system", "s"), ("user", "hi"), ("assistant", "ho"), ("user", "Translate\n\n你好")]


def messages(*roles: str) -> dict[str, object]:
    return {"messages": [{"role": role, "content": f"{role} {number}"} for number, role in enumerate(roles)]}


@pytest.mark.parametrize(
    ("roles", "turns", "answer", "code"),
    [
        (("user", "assistant", "user"), ["user 0"], "assistant 1", "open_ends"),
        (("assistant", "user", "assistant"), ["user 1"], "assistant 2", "opening_answers"),
        (("user", "user", "assistant"), ["user 0\n\nuser 1"], "assistant 2", "joined_messages"),
    ],
)
def test_odd_dialogues_are_mended_and_counted(
    roles: tuple[str, ...], turns: list[str], answer: str, code: str, tmp_path: Path
) -> None:
    reading = read_rows(tmp_path, messages(*roles))
    (example,) = reading.examples
    assert ([turn.text for turn in example.turns], example.label) == (turns, answer)
    assert {finding.code: finding.count for finding in reading.findings}[code] == 1


def test_what_cannot_be_learnt_from_is_left_out_and_counted(tmp_path: Path) -> None:
    good = messages("user", "assistant")
    reading = read_rows(
        tmp_path,
        good,
        messages("user"),
        messages("assistant"),
        {"prompt": "x", "response": ""},
        {**good, "label": False},
    )
    assert len(reading.examples) == 1
    counts = {finding.code: finding.count for finding in reading.findings}
    assert (counts["unanswered"], counts["bad_answers"]) == (3, 1)


def test_blanks_around_answers_are_taken_off_and_counted(tmp_path: Path) -> None:
    reading = read_rows(tmp_path, {"prompt": "q", "response": "\n yes "}, {"prompt": "r", "response": "no"})
    assert [example.label for example in reading.examples] == ["yes", "no"]
    assert {finding.code: finding.count for finding in reading.findings}["answer_blanks"] == 1


def test_to_be_answered_a_dialogue_needs_no_answer(tmp_path: Path) -> None:
    rows = [messages("user"), messages("user", "assistant"), {"text": "user 0"}, {"instruction": "user 0"}]
    for example in read_rows(tmp_path, *rows, kind="").examples:
        assert (example.label, [turn.text for turn in example.turns]) == (None, ["user 0"])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"body": "x", "headline": "y"}, "its keys are body, headline"),
        ({"instruction": "x", "result": "y"}, "its keys are instruction, result"),
        ({"messages": [{"role": "asistant", "content": "x"}]}, "Did you mean 'assistant'?"),
        ({"messages": ["hello"]}, "is no message"),
        ({"prompt": {"a": 1}, "response": "y"}, "is no text"),
        ({"chosen": "x", "rejected": "y"}, "no dialogue of a known form"),
        (
            {
                "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "x"}],
                "rejected": [{"role": "user", "content": "b"}, {"role": "assistant", "content": "y"}],
            },
            "differ before their last message",
        ),
        ({"instruction": "x", "history": ["y"], "output": "z"}, "The history holds 'y'"),
    ],
)
def test_rows_of_no_known_form_are_errors_that_name_the_keys(row: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        read_rows(tmp_path, row)
    assert said in str(error.value)
    assert "rows.jsonl:1" in error.value.where


def test_columns_can_be_named(tmp_path: Path) -> None:
    (example,) = read_rows(tmp_path, {"q": "你好", "a": "Hello!", "nr": 7}, text="q", label="a", id="nr").examples
    assert (example.id, example.text, example.label) == ("7", "你好", "Hello!")
    with pytest.raises(DataError, match="no column 'aa'"):
        read_rows(tmp_path, {"q": "你好", "a": "Hello!"}, text="q", label="aa")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("path", "count", "pairs"),
    [
        ("alpaca-5000/alpaca_5000.json.xz", 4990, 0),
        ("llamafactory-demos/alpaca_zh_demo.json.xz", 1000, 0),
        ("llamafactory-demos/dpo_en_demo.json.xz", 300, 300),
        ("llamafactory-demos/dpo_zh_demo.json.xz", 300, 300),
        ("llamafactory-demos/glaive_toolcall_zh_demo.json.xz", 300, 0),
        ("instruction-1100/instruction-data-with-preference.json.xz", 1100, 1100),
        ("gsm8k/test.jsonl.xz", 1319, 0),
    ],
)
def test_the_data_sets_are_read_whole(path: str, count: int, pairs: int) -> None:
    reading = read(Source(str(data_folder() / path), label_kind="text", inputs=("turns",)))
    left_out = {finding.code: finding.count for finding in reading.findings}.get("unanswered", 0)
    assert len(reading.examples) >= count - 10
    assert sum(bool(example.rejected) for example in reading.examples) >= pairs - 10
    assert len(reading.examples) + left_out >= count
