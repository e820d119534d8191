"""Subgroups, weights and chances that make no sense: exit code 2, and what, where and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_bad_input import data, recipe
from tunesmith import cli

ROWS = "text,label,source,sure\n" + (
    "good film,good,a,1\nbad film,bad,a,1\na good day,good,b,0.5\na bad day,bad,b,1\n" * 6
)

Situation = Callable[[Path], tuple[list[str], str]]


WHOLE = {"validation_share": 0, "test_share": 0}
"""Nothing is held out, since copies of a text cannot be parted."""


def group_dro_without_subgroups(f: Path) -> tuple[list[str], str]:
    return recipe(f, objective="group_dro"), "the recipe names none"


def group_dro_of_one_subgroup(f: Path) -> tuple[list[str], str]:
    rows = ROWS.replace(",b,", ",a,")
    command = data(f, "t.csv", rows, subgroups=["source"], **WHOLE)
    return [*command, "--set", "objective=group_dro"], "all training examples"


def group_dro_for_questions(f: Path) -> tuple[list[str], str]:
    rows = '{"text": "a b", "question": "what?", "answers": ["b"], "s": "x"}\n'
    command = data(f, "t.jsonl", rows, subgroups=["s"], **WHOLE)
    return [*command, "--set", "task=question_answering", "--set", "objective=group_dro"], "single examples apart"


def subgroup_without_a_value(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS.replace(",b,1", ",,1", 1), subgroups=["source", "label"]), "no value in 'source'"


def subgroup_by_a_column_that_is_not_there(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, subgroups=["sourc"]), "Did you mean 'source'?"


def subgroup_by_labels_that_are_spans(f: Path) -> tuple[list[str], str]:
    command = data(f, "t.jsonl", '{"text": "Anna", "spans": []}\n', subgroups=["label"])
    return [*command, "--set", "task=token_classification"], "only where each text has one class"


def balance_without_subgroups(f: Path) -> tuple[list[str], str]:
    return recipe(f, training={"balance_subgroups": True}), "There are no subgroups to balance"


def worst_group_without_groups(f: Path) -> tuple[list[str], str]:
    return recipe(f, training={"metric": "worst_group_accuracy"}), "Unknown metric"


def weight_that_is_negative(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS.replace("0.5", "-1", 1), weight="sure"), "is not a number of 0 or more"


def weights_for_a_task_that_has_no_use_for_them(f: Path) -> tuple[list[str], str]:
    command = data(f, "t.csv", ROWS, weight="sure", **WHOLE)
    return [*command, "--set", "task=few_shot_classification"], "cannot count in it"


def chances_that_do_not_sum_to_one(f: Path) -> tuple[list[str], str]:
    rows = '{"text": "good", "label": "good", "p": {"good": 0.9, "bad": 0.9}}\n' * 12
    return data(f, "t.jsonl", rows, chances="p"), "sum to 1.8"


def chances_that_are_no_mapping(f: Path) -> tuple[list[str], str]:
    return data(f, "t.jsonl", '{"text": "good", "label": "good", "p": 0.9}\n' * 12, chances="p"), "are not an object"


def chances_of_a_label_that_the_task_has_not(f: Path) -> tuple[list[str], str]:
    rows = '{"text": "good", "label": "good", "p": {"good": 0.9, "baad": 0.1}}\n' * 12
    (f / "t.jsonl").write_text(rows, encoding="utf-8")
    task = {"name": "sequence_classification", "labels": ["good", "bad"]}
    return recipe(f, task=task, data={"train": str(f / "t.jsonl"), "chances": "p", **WHOLE}), "Did you mean 'bad'?"


def chances_of_fewer_words(f: Path) -> tuple[list[str], str]:
    rows = '{"words": ["Anna", "went"], "tags": ["B-PER", "O"], "p": [{"O": 1.0}]}\n' * 12
    return [
        *data(f, "t.jsonl", rows, chances="p", **WHOLE),
        "--set",
        "task=token_classification",
    ], "1 chances for 2 words"


def chances_of_labels_with_levels(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, chances="sure", level_separator=":"), "name whole labels"


def names_of_training_sentences_with_copies(f: Path) -> tuple[list[str], str]:
    rows = '{"words": ["Anna", "went"], "tags": ["B-PER", "O"]}\n' * 12
    command = data(f, "t.jsonl", rows, **WHOLE)
    return [
        *command,
        *("--set", "task={name: token_classification, gazetteer: [train]}", "--set", "augmenters=[swap_words]"),
    ], "copies would show it"


def redaction_without_an_action(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, redact_kinds=["EMAIL"]), "what becomes of it"


def redaction_by_an_unknown_action(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, redact="blur"), "data.redact"


def redaction_of_an_unknown_kind(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, redact="mask", redact_kinds=["EMAILS"]), "Did you mean 'EMAIL'?"


def redaction_by_a_file_that_is_not_there(f: Path) -> tuple[list[str], str]:
    return data(f, "t.csv", ROWS, redact="mask", redact_by=str(f / "none.yaml")), "none.yaml"


def redaction_that_refuses(f: Path) -> tuple[list[str], str]:
    command = data(f, "t.csv", ROWS.replace("good film", "a@b.io", 1), redact="refuse", **WHOLE)
    return command, "t.csv:2"


def redaction_of_words_with_chances(f: Path) -> tuple[list[str], str]:
    rows = '{"words": ["Anna", "went"], "tags": ["B-PER", "O"], "p": [{"O": 1.0}, {"O": 1.0}]}\n' * 12
    command = data(f, "t.jsonl", rows, chances="p", redact="mask", **WHOLE)
    return [*command, "--set", "task=token_classification"], "when words change"


SITUATIONS: list[Situation] = [
    group_dro_without_subgroups, group_dro_of_one_subgroup, group_dro_for_questions, subgroup_without_a_value,
    subgroup_by_a_column_that_is_not_there, subgroup_by_labels_that_are_spans, balance_without_subgroups,
    worst_group_without_groups, weight_that_is_negative, weights_for_a_task_that_has_no_use_for_them,
    chances_that_do_not_sum_to_one, chances_that_are_no_mapping, chances_of_a_label_that_the_task_has_not,
    chances_of_fewer_words, chances_of_labels_with_levels, names_of_training_sentences_with_copies,
    redaction_without_an_action, redaction_by_an_unknown_action, redaction_of_an_unknown_kind,
    redaction_by_a_file_that_is_not_there, redaction_that_refuses, redaction_of_words_with_chances,
]  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_bad_data_to_learn_from_is_explained(
    situation: Situation, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = situation(place)
    capsys.readouterr()
    code = cli.guarded(lambda: cli.app(arguments, standalone_mode=False))
    error = capsys.readouterr().err
    assert code == 2
    assert said in " ".join(error.split()), error
    assert len(error.strip().splitlines()) <= 6
    assert "Traceback" not in error
    assert not (place / "out").exists()
