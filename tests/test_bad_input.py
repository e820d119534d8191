"""Bad input of every kind: exit code 2, at most six lines that say what, where and what to do, nothing half-written."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.builders import write_recipe
from tests.media_files import write_picture
from tunesmith import cli
from tunesmith.inference import artifact as artifacts

Situation = Callable[[Path, Path, pytest.MonkeyPatch], tuple[list[str], str]]
"""Makes a bad situation in a folder (with a finished run beside it): the command line, and what must be said."""


def recipe(folder: Path, **changes: object) -> list[str]:
    """Run a recipe with sections changed."""
    return ["run", str(write_recipe(folder, **changes)), "--out", str(folder / "out")]


def data(folder: Path, name: str, content: str | bytes, **settings: object) -> list[str]:
    """Run a recipe whose training file is this."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return recipe(folder, data={"train": str(path), **settings})


def spoiled_artifact(folder: Path, run: Path) -> Path:
    """A copy of a good artifact, to be spoiled."""
    return Path(shutil.copytree(run / "artifact", folder / "spoiled"))


def predict_with(artifact: Path) -> list[str]:
    return ["predict", str(artifact), "--text", "good"]


def edited_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


GOOD = "text,label\ngood film,good\nbad film,bad\na good day,good\na bad day,bad\ngood work,good\nbad work,bad\n"


# The recipe


def misspelt_key(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, training={"epoch": 1}), "Did you mean 'epochs'?"


def misspelt_section(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, trainning={"epochs": 1}), "Did you mean 'training'?"


def wrong_type(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, training={"epochs": "three"}), "training.epochs"


def value_out_of_range(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, training={"layer_decay": 1.5}), "layer_decay"


def rate_that_is_no_number(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, training={"learning_rate": "fast"}), "learning_rate"


def unknown_method(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, method="lorra"), "Did you mean 'lora'?"


def unknown_task(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task="token_clasification"), "Did you mean 'token_classification'?"


def unknown_setting_of_a_method(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, method={"name": "lora", "rnak": 4}), "Did you mean 'rank'?"


def unknown_metric(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, training={"metric": "acuracy", "epochs": 1}), "Did you mean 'accuracy'?"


def missing_recipe(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["run", str(f / "nothing.yaml")], "The recipe does not exist"


def recipe_that_is_no_yaml(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "bad.yaml").write_text("task: [unclosed\ndata: x", encoding="utf-8")
    return ["run", str(f / "bad.yaml")], "not valid YAML"


def recipe_without_task(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "empty.yaml").write_text("data: {name: sst2}\n", encoding="utf-8")
    return ["run", str(f / "empty.yaml")], "The recipe has no 'task'"


def recipe_that_asks_for_an_object(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "code.yaml").write_text("task: !!python/object/apply:os.getcwd []\ndata: {}\n", encoding="utf-8")
    return ["run", str(f / "code.yaml")], "not valid YAML"


def change_that_is_none(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*recipe(f), "--set", "training.epochs"], "is no change"


def window_longer_than_the_model(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task={"name": "sequence_classification", "max_length": 4096}), "the model reads at most"


def crf_with_label_smoothing(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task={"name": "token_classification", "crf": True, "label_smoothing": 0.1}), "no per-tag targets"


def positive_class_that_is_none(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    task = {"name": "sequence_classification", "problem": "binary", "positive": "goood"}
    return recipe(f, task=task), "Did you mean 'good'?"


def layer_that_is_not_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, method={"name": "lora", "targets": ["q_proj"]}), "q_proj"


# The command line


def unknown_verb(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["trian"], "trian"


def unknown_option(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*recipe(f), "--fast"], "--fast"


def output_folder_in_use(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    arguments = recipe(f)
    return [*arguments[:-1], str(run)], "not empty"


def overwriting_a_folder_that_is_no_run(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "mine").mkdir()
    (f / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    return [*recipe(f)[:-1], str(f / "mine"), "--overwrite"], "it holds 'thesis.txt', which no run writes"


def output_that_is_a_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "mine").write_text("years of work", encoding="utf-8")
    return [*recipe(f)[:-1], str(f / "mine"), "--overwrite"], "belongs to a file"


def name_that_leads_elsewhere(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*recipe(f)[:2], "--set", "name=../../mine", "--overwrite"], "cannot be a folder's"


def nothing_to_predict(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["predict", str(run / "artifact")], "nothing to answer"


def setting_that_says_nothing_of_a_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "new.csv").write_text("text\ngood\n", encoding="utf-8")
    arguments = ["predict", str(run / "artifact"), "--file", str(f / "new.csv"), "--set", "training.epochs=1"]
    return arguments, "'training' says nothing of a file"


def new_over_an_old_recipe(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "mine.yaml").write_text("mine", encoding="utf-8")
    return ["new", "token_classification", "--out", str(f / "mine.yaml")], "exists already"


def new_for_an_unknown_task(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["new", "translation", "--out", str(f / "x.yaml")], "Unknown task"


def new_into_a_folder_that_is_not_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["new", "token_classification", "--out", str(f / "no" / "x.yaml")], "cannot be written: No such file"


def bad_row_after_good_ones(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "new.csv").write_text("text\n" + "good\n" * 5000 + "one, two\n", encoding="utf-8")
    return ["predict", str(run / "artifact"), "--file", str(f / "new.csv"), "--out", str(f / "a.jsonl")], "Line 5002"


# The data


def missing_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "train.csv").write_text(GOOD, encoding="utf-8")
    return recipe(f, data={"train": str(f / "trian.csv")}), "Did you mean 'train.csv'?"


def folder_for_a_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, data={"train": str(f)}), "a folder, not a file"


def unknown_data_set(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, data={"name": "conl2003"}), "Did you mean 'conll2003'?"


def missing_column(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, text="txt"), "Did you mean 'text'?"


def columns_without_usual_names(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD.replace("text,label", "a,b")), "No column is named as texts usually are"


def label_only_in_test(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "test.csv").write_text("text,label\nsome text,goood\n", encoding="utf-8")
    return data(f, "a.csv", GOOD, test=str(f / "test.csv"), validation_share=0), "Did you mean 'good'?"


def empty_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", ""), "The file is empty"


def header_without_rows(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", "text,label\n"), "There is no example in it"


def binary_file(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", bytes(range(256)) * 4), "binary, not text"


def broken_archive(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv.xz", b"\xfd7zXZ\x00broken"), "damaged"


def label_that_is_nan(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD + "no label,NaN\nnone either,\n"), "rows 8, 9"


def wrong_encoding(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", (GOOD + "差评,bad\n").encode("gb18030")), "data.encoding: gb18030"


def unknown_encoding(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, encoding="utf-9"), "Unknown encoding"


def ragged_row(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD + "one, two,bad\n"), "Line 8 has 3 fields"


def unclosed_quote(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD + '"never closed,bad\n'), "not valid CSV"


def broken_json_line(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b",\n'), "Line 2 is not valid JSON"


def broken_parquet(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.parquet", b"PAR1 no"), "cannot be read as Parquet"


def numbers_that_are_words(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.csv").write_text(GOOD, encoding="utf-8")
    task = {"name": "sequence_classification", "problem": "regression"}
    return recipe(f, task=task, data={"train": str(f / "a.csv")}), "not a number"


def three_classes_for_a_binary_task(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.csv").write_text(GOOD + "so so,middling\nwell well,middling\n", encoding="utf-8")
    task = {"name": "sequence_classification", "problem": "binary"}
    return recipe(f, task=task, data={"train": str(f / "a.csv"), "test_share": 0, "validation_share": 0}), "exactly two"


def span_outside_of_its_text(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    row = {"text": "Anna", "spans": [{"start": 0, "end": 9, "label": "PER"}]}
    (f / "a.jsonl").write_text(json.dumps(row), encoding="utf-8")
    return recipe(f, task="token_classification", data={"train": str(f / "a.jsonl")}), "does not lie in the text"


def tags_for_a_task_of_texts(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.conll", "Anna B-PER\nmet O\n"), "needs a label per text"


def questions_file(folder: Path, **more: object) -> str:
    """A file with one question, in SQuAD's form."""
    asked = {"id": "q", "question": "where?", "answers": [{"text": "Rome", "answer_start": 0}], **more}
    written = [{"title": "Rome", "paragraphs": [{"context": "Rome is big.", "qas": [asked]}]}]
    (folder / "asked.json").write_text(json.dumps({"data": written}), encoding="utf-8")
    return str(folder / "asked.json")


def questions_for_a_task_of_texts(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, data={"train": questions_file(f), "format": "squad"}), "questions about passages"


def answers_that_are_numbers(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task="question_answering", data={"train": questions_file(f, answers=[17])}), "17 is not an answer"


def answers_that_stand_nowhere(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    data = {"train": questions_file(f, answers=["Paris"])}
    return recipe(f, task="question_answering", data=data), "There is no example in it"


def questions_without_answer_where_each_must_have_one(
    f: Path, run: Path, m: pytest.MonkeyPatch
) -> tuple[list[str], str]:
    data = {"train": questions_file(f, is_impossible=True), "validation_share": 0, "test_share": 0}
    return recipe(f, task={"name": "question_answering", "no_answer": False}, data=data), "have no answer"


def rows_without_a_question(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.jsonl").write_text('{"context": "Rome", "answers": ["Rome"]}\n', encoding="utf-8")
    return recipe(f, task="question_answering", data={"train": str(f / "a.jsonl")}), "Set data.second"


def separator_of_two_characters(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, separator="||"), "must be one character"


def archive_with_a_password(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    with zipfile.ZipFile(f / "plain.zip", "w") as archive:
        archive.writestr("a.csv", GOOD)
    content = bytearray((f / "plain.zip").read_bytes())
    content[6] |= 1  # the flag of encryption, in the member's own header and in the directory at the end
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return data(f, "a.zip", bytes(content)), "without a password"


def archive_packed_in_an_unknown_way(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    with zipfile.ZipFile(f / "plain.zip", "w") as archive:
        archive.writestr("a.csv", GOOD)
    content = bytearray((f / "plain.zip").read_bytes())
    content[8] = content[content.index(b"PK\x01\x02") + 10] = 9
    return data(f, "a.zip", bytes(content)), "as a plain zip"


def encoding_that_is_none_of_text(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, encoding="hex"), "Unknown encoding 'hex'"


def utf16_without_its_mark(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD.encode("utf-16-le"), encoding="utf-16"), "not utf-16 text"


def lines_that_end_with_a_carriage_return(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD.replace("\n", "\r")), "carriage return"


def json_nested_beyond_reason(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.json", "[" * 100_000), "not valid JSON"


def two_columns_of_one_name_in_the_header(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, header=["text", "text"]), "The header names 'text' twice"


def keys_of_a_file_without_keys(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.csv").write_text(GOOD, encoding="utf-8")
    return recipe(f, data={"train": f"{f / 'a.csv'}!train"}), "has no keys, such as 'train'"


def empty_word(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    row = json.dumps({"tokens": ["Anna", ""], "ner_tags": ["B-PER", "O"]})
    (f / "a.jsonl").write_text(row, encoding="utf-8")
    return recipe(f, task="token_classification", data={"train": str(f / "a.jsonl")}), "Word 2 of 2 is empty"


def column_for_a_format_without_columns(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.conll").write_text("Anna B-PER\nmet O\n", encoding="utf-8")
    return recipe(f, task="token_classification", data={"train": str(f / "a.conll"), "group": "x"}), "Remove data.group"


def text_that_the_tokenizer_does_not_know(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(
        f, "a.csv", GOOD + "".join(f"ประเทศ ไทย {n} ครับ,bad\n" for n in range(60))
    ), "DOES NOT READ THIS LANGUAGE"


def raw_text_that_is_to_be_joined_without_a_window(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.txt").write_text("one text\nanother\n", encoding="utf-8")
    task = {"name": "masked_language_modeling", "join": True}
    return recipe(f, task=task, data={"train": str(f / "a.txt")}), "join: true needs max_length"


def encoder_that_is_to_go_on(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.txt").write_text("".join(f"text number {n}\n" for n in range(40)), encoding="utf-8")
    return recipe(f, task="causal_language_modeling", data={"train": str(f / "a.txt")}), "Choose a decoder"


def template_without_a_label(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task={"name": "prompt_classification", "template": "{text} was"}), "The template lacks a slot"


def label_word_of_two_labels(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    words = {"good": "fine", "bad": ["poor", "fine"]}
    return recipe(f, task={"name": "prompt_classification", "label_words": words}), "stands for 'bad' and for 'good'"


def more_demonstrations_than_examples(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    task = {"name": "prompt_classification", "body": "masked_lm", "demonstrations": 40}
    return recipe(f, task=task), "Lower task.demonstrations"


def zero_shot(f: Path, **settings: object) -> list[str]:
    """Judge a test split by what the labels mean."""
    (f / "t.csv").write_text(GOOD, encoding="utf-8")
    task = {"name": "zero_shot_classification", **settings}
    return recipe(f, task=task, data={"test": str(f / "t.csv")}, method="none")


def zero_shot_without_labels(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, descriptions={"good": "a good film"}), "fewer than two labels"


def zero_shot_label_that_is_not_named(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, labels=["good", "bed"]), "'bad' (3 times) Did you mean 'bed'?"


def description_of_a_label_that_there_is_not(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, labels=["good", "bad"], descriptions={"gud": "a good film"}), "Did you mean 'good'?"


def two_labels_with_one_description(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, descriptions={"good": "a film", "bad": ["bad", "A film"]}), "have the same description"


def slot_that_no_label_has(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, labels=["good", "bad"], template="It is {lable}."), "wrong slot '{lable}'"


def inference_by_a_model_without_a_classifier(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return zero_shot(f, by="entailment", labels=["good", "bad"]), "no trained classifier"


def inference_by_an_artifact_of_another_task(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    command = zero_shot(f, by="entailment", labels=["good", "bad"])
    return [*command, "--set", f"model.name={run / 'artifact'}"], "does not classify pairs of texts"


def shots_of_texts(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "a.csv", GOOD, shots=2), "Use data.limit to draw"


def shots_beside_a_limit(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.conll").write_text("Anna B-PER\nmet O\n", encoding="utf-8")
    drawn = {"train": str(f / "a.conll"), "shots": 2, "limit": 3}
    return recipe(f, task="few_shot_tagging", data=drawn), "both say how many training examples"


def memory_for_fewer_words_than_tags(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    (f / "a.conll").write_text("Anna B-PER\nBell I-PER\nmet O\n\n" * 30, encoding="utf-8")
    task = {"name": "few_shot_tagging", "memory": 2}
    given = {"train": str(f / "a.conll"), "validation_share": 0, "test_share": 0}
    return recipe(f, task=task, data=given, method="none"), "memory is 2, but the training examples have 3 tags"


# The model


def missing_model(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, model={"name": str(f / "no-model")}), "no-model"


def model_with_a_pickle_only(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = shutil.copytree(
        yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["model"]["name"], f / "m"
    )
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return recipe(f, model={"name": str(folder)}), "safetensors"


def model_that_asks_for_its_own_code(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = shutil.copytree(
        yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["model"]["name"], f / "m"
    )
    edited_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    return recipe(f, model={"name": str(folder)}), "code"


def model_with_an_adapter(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    source = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))["model"]["name"]
    folder = shutil.copytree(source, f / "m")
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    return recipe(f, model={"name": str(folder)}), "holds an adapter"


# Runs and artifacts


def resume_without_a_run(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["resume", str(f)], "no run to resume"


def truncated_checkpoint(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = Path(shutil.copytree(run, f / "run"))
    weights = sorted(folder.glob("checkpoints/step-*/weights.safetensors"))[-1]
    weights.write_bytes(weights.read_bytes()[:500])
    return ["resume", str(folder)], "checkpoint file cannot be read"


def checkpoint_of_another_recipe(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = Path(shutil.copytree(run, f / "run"))
    text = (folder / "recipe.yaml").read_text(encoding="utf-8")
    (folder / "recipe.yaml").write_text(text.replace("seed: 13", "seed: 14"), encoding="utf-8")
    return ["resume", str(folder)], "changed since this checkpoint was written"


def folder_that_is_no_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return predict_with(f), "This is no artifact"


def changed_weights(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    return predict_with(folder), "'model.safetensors' was changed"


def pickle_in_the_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    (folder / "extra.pkl").write_bytes(b"\x80\x04N.")
    artifacts.seal(folder)
    return predict_with(folder), "could run code when loaded"


def missing_file_in_the_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    (folder / "tokenizer.json").unlink()
    return predict_with(folder), "'tokenizer.json' is missing"


def remote_code_in_the_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    edited_json(folder / "config.json", auto_map={"AutoModel": "evil.Model"})
    artifacts.seal(folder)
    return predict_with(folder), "asks for code of its own"


def relabelled_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    description = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    edited_json(folder / "artifact.json", task={**description["task"], "labels": description["labels"][::-1]})
    artifacts.seal(folder)
    return predict_with(folder), "label schema"


def artifact_of_a_later_format(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    edited_json(folder / "artifact.json", format=99)
    artifacts.seal(folder)
    return predict_with(folder), "format 99"


def folder_in_the_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    (folder / "more").mkdir()
    return predict_with(folder), "'more', which is no plain file"


def link_in_the_artifact(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    (folder / "tokenizer.json").rename(f / "elsewhere.json")
    (folder / "tokenizer.json").symlink_to(f / "elsewhere.json")
    return predict_with(folder), "'tokenizer.json', which is no plain file"


def artifact_that_says_too_little(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    description = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    del description["pooling"]
    (folder / "artifact.json").write_text(json.dumps(description), encoding="utf-8")
    artifacts.seal(folder)
    return predict_with(folder), "has no 'pooling'"


def artifact_whose_model_has_no_sense(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = spoiled_artifact(f, run)
    edited_json(folder / "config.json", num_attention_heads=7)
    artifacts.seal(folder)
    return predict_with(folder), "configuration is not usable"


def too_small_a_disk_for_a_run(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    usage = shutil.disk_usage(f)._replace(free=2_000_000)
    m.setattr("shutil.disk_usage", lambda _folder: usage)
    return recipe(f), "2 MB are free"


def no_disk_space(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    folder = Path(shutil.copytree(run, f / "run"))
    usage = shutil.disk_usage(f)._replace(free=1_000_000)
    m.setattr("shutil.disk_usage", lambda _folder: usage)
    return ["resume", str(folder)], "1 MB are free"


def tracker_that_is_not_installed(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, trackers=["wandb"]), "tunesmith[tracking]"


def quantized(f: Path, form: str, **changes: object) -> list[str]:
    return recipe(f, model={"name": str(f / "model"), "quantize": form}, **changes)


def form_of_weights_that_is_not_known(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return quantized(f, "nf5", method="lora"), "'nf4' or 'int8'"


def quantizing_without_bitsandbytes(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    m.setitem(sys.modules, "bitsandbytes.functional", None)
    return quantized(f, "nf4", method="lora"), "tunesmith[quantize]"


def method_that_moves_quantized_weights(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    pytest.importorskip("bitsandbytes")
    return quantized(f, "int8", method="top_layers"), "or leave model.quantize out"


def pictures(folder: Path, table: str, **settings: object) -> list[str]:
    """Run a recipe on texts with pictures, of which 0.png to 39.png are good and bad.png is none."""
    for number in range(40):
        write_picture(folder / f"{number}.png", "red", seed=number)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "t.csv").write_text(table, encoding="utf-8")
    task = {"name": "multimodal_classification", **settings}
    return recipe(folder, task=task, data={"train": str(folder / "t.csv")})


def picture_that_is_not_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return pictures(f, "text,image,label\ngood,1.png,a\nbad,40.png,b\n"), "t.csv:3"


def picture_that_is_none(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    rows = "".join(f"good {n},{'bad' if n == 9 else n}.png,{'ab'[n % 2]}\n" for n in range(40))
    return pictures(f, f"text,image,label\n{rows}"), "t.csv:11"


def table_without_pictures(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return pictures(f, GOOD), "No column is named as image files usually are"


def picture_without_a_text_for_a_model_of_both(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    rows = "".join(f"good {n},{n}.png,{'ab'[n % 2]}\n" for n in range(40))
    command = pictures(f, f"text,image,label\n{rows}", modality_dropout=0)
    (f / "v.csv").write_text("text,image,label\n,1.png,a\n", encoding="utf-8")
    return [*command, "--set", f"data.validation={f / 'v.csv'}"], "The example has no text"


def recording_where_pictures_are_set(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return pictures(f, GOOD, modality="audio", image_size=32), "image_size has no effect on modality audio"


def histories(folder: Path, rows: str = "", items: str = "", **task: object) -> list[str]:
    """Run a recommendation on a table of histories."""
    titles = "id,title\n" + "".join(f"{n},good day {n}\n" for n in range(10))
    (folder / "items.csv").write_text(items or titles, encoding="utf-8")
    rows = rows or "history,label\n" + "".join(f"{n % 8}|{n % 8 + 1},9\n" for n in range(40))
    (folder / "h.csv").write_text(rows, encoding="utf-8")
    settings = {"train": str(folder / "h.csv"), "items": str(folder / "items.csv")}
    return recipe(folder, task={"name": "recommendation", "size": 8, **task}, method="head_only", data=settings)


def ratings(folder: Path, rows: str, items: str = "") -> list[str]:
    """Run a recommendation on ratings."""
    command = histories(folder, items=items)
    (folder / "r.csv").write_text(rows, encoding="utf-8")
    return [*command, "--set", f"data.train={folder / 'r.csv'}!train", "--set", "data.format=ratings"]


RATINGS = "user,item,time\n" + "".join(f"u{n % 20},{(n // 20 + n) % 10},{900 + n}\n" for n in range(100))


def histories_without_a_file_of_items(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*histories(f), "--set", "data.items=''"], "The items have no texts"


def file_of_items_that_is_not_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*histories(f), "--set", f"data.items={f / 'item.csv'}"], "Did you mean 'items.csv'?"


def broken_line_of_items(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return histories(f, items="1|a|||x|0|1\n2\n"), "items.csv:2"


def items_without_titles(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return histories(f, items="id,price\n1,2\n"), "No column is named title"


def item_of_a_history_that_the_items_lack(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    rows = "history,label\n" + "".join(f"{n % 8}|{n % 8 + 1},9\n" for n in range(40)) + "1|12,9\n"
    return histories(f, rows), "h.csv:42"


def table_without_histories(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return histories(f, GOOD), "No column is named history"


def heads_that_do_not_part_the_size(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return histories(f, size=9), "task.heads"


def body_that_learns_from_items_that_are_read_once(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*histories(f), "--set", "method=full"], "task.learn_texts"


def broken_line_of_ratings(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ratings(f, f"{RATINGS}u1,3\n"), "r.csv:102"


def ratings_without_times(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ratings(f, RATINGS.replace("time", "rating", 1)), "No column is named time"


def ratings_where_times_should_be(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ratings(f, "".join(f"u{n % 20},{(n // 20 + n) % 10},{n % 5}\n" for n in range(100))), "are these ratings?"


def rating_of_an_item_without_a_title(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    items = "id,title\n" + "".join(f"{n},{'' if n == 3 else 'good'}\n" for n in range(10))
    return ratings(f, RATINGS, items), "10 ratings are of items"


def ratings_without_a_part(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return [*ratings(f, RATINGS), "--set", f"data.train={f / 'r.csv'}"], "r.csv!validation"


FEW_SHOT = {"name": "few_shot_classification", "iterations": 1}


def one_class_for_a_task_of_classes(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    command = data(f, "one.csv", "text,label\ngood film,good\na good day,good\n", validation="none", test="none")
    return [*command, "--set", "task=few_shot_classification"], "only the class 'good'"


def class_without_an_example_to_fit_to(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task={**FEW_SHOT, "labels": ["good", "bad", "odd"]}), "No training example has the label 'odd'"


def learning_from_no_pairs(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, task={**FEW_SHOT, "iterations": 0}), "set method: none"


def two_settings_that_draw_examples(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "t.csv", GOOD, per_class=1, limit=2), "limit and per_class both say"


def examples_per_class_without_classes(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    rows = '{"text": "Anna", "spans": []}\n'
    command = data(f, "t.jsonl", rows, per_class=1)
    return [*command, "--set", "task=token_classification"], "Use data.limit to draw training examples"


def news_with_a_fifth_topic(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "news.csv", '"1","Title","Text"\n"5","Title","Text"\n', format="ag_news"), "news.csv:2"


def news_in_a_form_of_its_own(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return data(f, "news.csv", "one field\n", format="ag_news"), "neither topic, title, description nor text, topic"


# Objectives


def two_passes_without_dropout(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    model = {"name": str(f / "model"), "dropout": 0.0}
    return recipe(f, objective="r_drop", model=model), "and this model has none"


def smoothness_of_whole_sequences(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    task = {"name": "token_classification", "crf": True}
    return recipe(f, objective="smart", task=task, data={"name": "support-finance"}), "a CRF scores whole sequences"


def contrast_of_numbers(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    rows = "".join(f"text {number} of many,{number / 10}\n" for number in range(40))
    (f / "numbers.csv").write_text("text,label\n" + rows, encoding="utf-8")
    task = {"name": "sequence_classification", "problem": "regression"}
    return recipe(f, objective="supcon", task=task, data={"train": str(f / "numbers.csv")}), "texts of one class"


def start_that_no_weight_leaves(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, objective="l2_sp", method="lora"), "this method moves none of those"


def ball_without_a_size(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, objective={"name": "freelb", "epsilon": 0.0}), "epsilon of 0 or less has no effect"


def two_objectives_with_passes_of_their_own(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, objective={"name": "stack", "parts": ["r_drop", "supcon"]}), "r_drop and supcon cannot be stacked"


# Averages, several models, teachers


def average_that_never_moves(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, averaging={"name": "ema", "decay": 1.0}), "decay must lie above 0 and below 1"


def distillation_without_a_teacher(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, objective="distillation"), "distillation needs a teacher"


def teacher_that_is_not_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return recipe(f, objective={"name": "distillation", "teacher": str(f / "nobody")}), "There is no such folder"


def teacher_of_other_settings(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    objective = {"name": "distillation", "teacher": str(run / "artifact")}
    task = {"name": "sequence_classification", "problem": "binary"}
    return recipe(f, objective=objective, task=task), "The teacher has task.problem 'single_label'"


def soup_of_one_run(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["soup", str(run), "--out", str(f / "soup")], "One run is nothing to combine"


def soup_over_what_is_there(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["soup", str(run), str(run), "--out", str(run)], "name is taken"


def ensemble_of_what_is_no_run(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["ensemble", str(run), str(f / "model"), "--out", str(f / "all")], "There is no finished run"


def ensemble_with_a_spoiled_member(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    spoiled = spoiled_artifact(f, run)
    (spoiled / "model.safetensors").write_bytes(b"x")
    return ["ensemble", str(run), str(spoiled), "--out", str(f / "all")], "was changed since the artifact was written"


def mean_of_one_pass(f: Path, run: Path, m: pytest.MonkeyPatch) -> tuple[list[str], str]:
    return ["evaluate", str(run / "artifact"), "--passes", "1"], "One pass with dropout is no mean"


SITUATIONS: list[Situation] = [
    average_that_never_moves, distillation_without_a_teacher, teacher_that_is_not_there, teacher_of_other_settings,
    soup_of_one_run, soup_over_what_is_there, ensemble_of_what_is_no_run, ensemble_with_a_spoiled_member,
    mean_of_one_pass,
    two_objectives_with_passes_of_their_own,
    two_passes_without_dropout, smoothness_of_whole_sequences, contrast_of_numbers, start_that_no_weight_leaves,
    ball_without_a_size,
    histories_without_a_file_of_items, file_of_items_that_is_not_there, broken_line_of_items, items_without_titles,
    item_of_a_history_that_the_items_lack, table_without_histories, heads_that_do_not_part_the_size,
    body_that_learns_from_items_that_are_read_once, broken_line_of_ratings, ratings_without_times,
    ratings_where_times_should_be, rating_of_an_item_without_a_title, ratings_without_a_part,
    one_class_for_a_task_of_classes, class_without_an_example_to_fit_to, learning_from_no_pairs,
    two_settings_that_draw_examples, examples_per_class_without_classes,
    news_with_a_fifth_topic, news_in_a_form_of_its_own,
    shots_of_texts, shots_beside_a_limit, memory_for_fewer_words_than_tags,
    raw_text_that_is_to_be_joined_without_a_window, encoder_that_is_to_go_on, template_without_a_label,
    label_word_of_two_labels, more_demonstrations_than_examples,
    zero_shot_without_labels, zero_shot_label_that_is_not_named, description_of_a_label_that_there_is_not,
    two_labels_with_one_description, slot_that_no_label_has, inference_by_a_model_without_a_classifier,
    inference_by_an_artifact_of_another_task,
    picture_that_is_not_there, picture_that_is_none, table_without_pictures,
    picture_without_a_text_for_a_model_of_both, recording_where_pictures_are_set,
    model_with_an_adapter,
    misspelt_key, misspelt_section, wrong_type, value_out_of_range, rate_that_is_no_number, unknown_method,
    unknown_task, unknown_setting_of_a_method, unknown_metric, missing_recipe, recipe_that_is_no_yaml,
    recipe_without_task, recipe_that_asks_for_an_object, change_that_is_none, window_longer_than_the_model,
    crf_with_label_smoothing, layer_that_is_not_there, unknown_verb, unknown_option, output_folder_in_use,
    nothing_to_predict, new_over_an_old_recipe, new_for_an_unknown_task, new_into_a_folder_that_is_not_there,
    bad_row_after_good_ones, missing_file, folder_for_a_file, unknown_data_set, missing_column,
    columns_without_usual_names, label_only_in_test, empty_file, header_without_rows, binary_file, broken_archive,
    label_that_is_nan, wrong_encoding, unknown_encoding, ragged_row, unclosed_quote, broken_json_line,
    broken_parquet, numbers_that_are_words, three_classes_for_a_binary_task, span_outside_of_its_text,
    tags_for_a_task_of_texts, text_that_the_tokenizer_does_not_know, missing_model, model_with_a_pickle_only,
    model_that_asks_for_its_own_code, resume_without_a_run, truncated_checkpoint, checkpoint_of_another_recipe,
    folder_that_is_no_artifact, changed_weights, pickle_in_the_artifact, missing_file_in_the_artifact,
    remote_code_in_the_artifact, relabelled_artifact, artifact_of_a_later_format,
    overwriting_a_folder_that_is_no_run, output_that_is_a_file, name_that_leads_elsewhere,
    separator_of_two_characters, archive_with_a_password, archive_packed_in_an_unknown_way,
    encoding_that_is_none_of_text, utf16_without_its_mark, lines_that_end_with_a_carriage_return,
    json_nested_beyond_reason, two_columns_of_one_name_in_the_header, keys_of_a_file_without_keys,
    empty_word, column_for_a_format_without_columns, positive_class_that_is_none,
    setting_that_says_nothing_of_a_file, folder_in_the_artifact, link_in_the_artifact,
    artifact_that_says_too_little, artifact_whose_model_has_no_sense, no_disk_space, too_small_a_disk_for_a_run,
    tracker_that_is_not_installed, questions_for_a_task_of_texts, answers_that_are_numbers,
    answers_that_stand_nowhere, questions_without_answer_where_each_must_have_one, rows_without_a_question,
    form_of_weights_that_is_not_known, quantizing_without_bitsandbytes, method_that_moves_quantized_weights,
]  # fmt: skip


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_bad_input_is_explained_and_leaves_nothing_behind(
    situation: Situation,
    place: Path,
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, said = situation(place, finished_run, monkeypatch)
    before = files_below(place), files_below(finished_run)
    capsys.readouterr()
    code = cli.guarded(lambda: cli.app(arguments, standalone_mode=False))
    error = capsys.readouterr().err
    assert code == 2
    assert said in " ".join(error.split()), error
    assert len(error.strip().splitlines()) <= 6
    assert "Traceback" not in error
    assert not (place / "out").exists()
    assert (files_below(place), files_below(finished_run)) == before


def test_the_situations_are_at_least_forty_and_all_different() -> None:
    assert len(set(SITUATIONS)) == len(SITUATIONS) >= 40


MISSING = {
    "rules for tokens": (["serve", "art", "--tokens", "tokns.yaml"], "Did you mean 'tokens.yaml'?"),
    "recognisers": (["redact", "t.jsonl", "--out", "o.jsonl", "--recognisers", "tokns.yaml"], "'tokens.yaml'?"),
    "an artifact": (["serve", "runs/dmo/artifact"], "There is no such folder. Did you mean 'demo'?"),
    "texts": (["capacity", "http://127.0.0.1:9", "--texts", "tokns.yaml"], "Did you mean 'tokens.yaml'?"),
    "no texts": (["capacity", "http://127.0.0.1:9", "--texts", "empty.txt"], "holds no text"),
    "a key": (["alerts", "--once", "--key-file", "nosuch.key"], "chmod 600 nosuch.key"),
    "a receiver": (["alerts", "--once", "--mail-to", "opsexample"], "such as ops@example.org"),
    "guards": (["guard", "check", "runs/demo/artifact", "--guards", "guads.json"], "Did you mean 'guards.json'?"),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_there_is_said_to_be_missing_and_the_nearest_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "demo" / "artifact").mkdir(parents=True)
    for file in ("tokens.yaml", "empty.txt", "guards.json"):
        (tmp_path / file).touch()
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n')
    arguments, said = MISSING[name]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told, told
    assert "do:" in told
    assert "tunesmith new" not in told
