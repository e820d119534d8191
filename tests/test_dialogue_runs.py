"""Runs of dialogues from the recipe to the answers: what is said, resumed, refused and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.builders import DIALOGUES, write_recipe
from tunesmith import cli, pipeline
from tunesmith.data.records import Example
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.training.loop import Step
from tunesmith.training.run_log import RunLog


def row_of(example: Example) -> dict[str, object]:
    messages = [{"role": turn.role, "content": turn.text} for turn in example.turns]
    return {"id": example.id, "messages": messages, "chosen": example.label, "rejected": example.rejected}


def write_dialogues(folder: Path) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row_of(example)) for example in DIALOGUES), encoding="utf-8")
    return path


def dialogue_recipe(folder: Path, llama: Path, **changes: object) -> Path:
    if not (folder / "model").exists():
        (folder / "model").symlink_to(llama)
    rows = str(write_dialogues(folder))
    data = {"train": rows, "validation": rows, "test": rows}
    settings = {"task": {"name": "text_generation", "max_new_tokens": 6}, "data": data, "method": "lora", **changes}
    return write_recipe(folder, **settings)


PREFERENCE = {
    "task": {"name": "text_generation", "preference": True, "answers": False},
    "objective": "dpo",
    "training": {"epochs": 4, "batch_size": 4, "learning_rate": 0.003, "checkpoint_every": 1},
}


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.guarded(lambda: cli.app(list(arguments), standalone_mode=False)) == 0
    return capsys.readouterr().out


def test_check_shows_an_example_with_what_is_learnt(
    tmp_path: Path, tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = call(capsys, "check", str(dialogue_recipe(tmp_path, tiny_llama_folder)))
    assert "8 rows have the form: messages from 'messages' with a preference." in said
    assert "<|im_start|>assistant\n[yes<|im_end|>]" in said


def test_a_run_is_proven_and_its_answers_leave_in_every_form(
    tmp_path: Path, tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder)
    made = json.loads(call(capsys, "run", str(recipe), "--out", str(tmp_path / "run"), "--json"))
    assert set(made["metrics"]["test"]) == {
        "perplexity", "exact_match", "bleu", "chrf", "rouge_1", "rouge_2", "rouge_l",
    }  # fmt: skip
    assert made["metrics"]["test"]["perplexity"]["low"] < made["metrics"]["test"]["perplexity"]["value"]
    lines = (tmp_path / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert all(json.loads(line)["label_tokens"] > 0 for line in lines)
    answers = [one.label for one in Predictor.load(tmp_path / "run" / "artifact").predict(DIALOGUES)]
    for form in ("openai", "alpaca", "sharegpt"):
        out = tmp_path / f"{form}.jsonl"
        rows = str(tmp_path / "rows.jsonl")
        call(capsys, "predict", made["folder"] + "/artifact", "--file", rows, "--format", form, "--out", str(out))
        again = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        assert len(again) == len(DIALOGUES)
        for row in again:  # an answer may be empty, which a reader of data would leave out
            last, key = {
                "alpaca": (row, "output"),
                "openai": (row.get("messages", [{}])[-1], "content"),
                "sharegpt": (row.get("conversations", [{}])[-1], "value"),
            }[form]
            last[key] += "!"
        out.write_text("\n".join(json.dumps(row) for row in again), encoding="utf-8")
        found = read(Source(str(out), label_kind="text", inputs=("turns",))).examples
        assert [example.turns for example in found] == [example.turns for example in DIALOGUES]
        assert [example.label for example in found] == [f"{answer}!" for answer in answers]


def test_plain_texts_can_be_answered(
    tmp_path: Path, tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder, training={"epochs": 1, "batch_size": 8})
    call(capsys, "run", str(recipe), "--out", str(tmp_path / "run"), "--json")
    artifact = str(tmp_path / "run" / "artifact")
    (one,) = json.loads(call(capsys, "predict", artifact, "--text", "你好", "--json"))
    (tmp_path / "texts.csv").write_text("text\n你好\n", encoding="utf-8")
    other = json.loads(call(capsys, "predict", artifact, "--file", str(tmp_path / "texts.csv")))
    assert other["label"] == one["label"]


def test_preference_tuning_resumes_to_the_same_weights(
    tmp_path: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.from_yaml(dialogue_recipe(tmp_path, tiny_llama_folder, **PREFERENCE))
    whole = pipeline.run(experiment, tmp_path / "whole", quiet=True)
    values = {name: one.value for name, one in whole.report.splits[-1].metrics.items()}
    assert set(values) == {"perplexity", "preference_accuracy", "margin"}
    note = RunLog.step

    def stop(log: RunLog, step: Step) -> None:
        if step.number == 5:
            raise KeyboardInterrupt
        note(log, step)

    monkeypatch.setattr(RunLog, "step", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(experiment, tmp_path / "stopped", quiet=True)
    monkeypatch.undo()
    resumed = pipeline.resume(tmp_path / "stopped", quiet=True)
    one, other = (load_file(result.artifact / "model.safetensors") for result in (whole, resumed))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "dpo"}, "DPO needs examples with a better and a worse answer"),
        ({"training": {"metric": "rouge_l"}}, "Unknown metric 'rouge_l'"),
        ({"task": {"name": "text_generation", "top_p": 0.9}}, "top_p has no effect with sampling_temperature: 0"),
        ({"task": {"name": "text_generation", "max_length": 24}}, "template alone take"),
        ({"task": {"name": "text_generation", "template": "chatml"}}, "task.template"),
    ],
)
def test_what_cannot_work_is_refused(
    changes: dict[str, object],
    said: str,
    tmp_path: Path,
    tiny_llama_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder, **changes)
    assert cli.guarded(lambda: cli.app(["run", str(recipe), "--out", str(tmp_path / "x")], standalone_mode=False)) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert len(printed.strip().splitlines()) <= 6
    assert not (tmp_path / "x").exists()


def test_preferences_without_a_worse_answer_are_refused(
    tmp_path: Path, tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"q{n}", "response": "a"}) for n in range(9)), encoding="utf-8")
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder, **{**PREFERENCE, "data": {"train": str(path)}})
    assert cli.guarded(lambda: cli.app(["run", str(recipe), "--out", str(tmp_path / "x")], standalone_mode=False)) == 2
    assert "The example has no rejected answer." in capsys.readouterr().err


def test_rows_of_no_known_form_are_refused_by_name(
    tmp_path: Path, tiny_llama_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "odd.jsonl").write_text('{"headline": "x", "body": "y"}\n', encoding="utf-8")
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder, data={"train": str(tmp_path / "odd.jsonl")})
    assert cli.guarded(lambda: cli.app(["check", str(recipe)], standalone_mode=False)) == 2
    printed = capsys.readouterr().err
    assert "its keys are headline, body" in printed
    assert "odd.jsonl:1" in printed


def test_an_encoder_cannot_write(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"train": str(write_dialogues(tmp_path))}
    recipe = write_recipe(place, task="text_generation", data=data)
    assert cli.guarded(lambda: cli.app(["check", str(recipe)], standalone_mode=False)) == 2
    assert "writes text from left to right" in capsys.readouterr().err


def test_only_written_answers_become_dialogues(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["predict", str(finished_run / "artifact"), "--text", "good", "--format", "openai"]
    assert cli.guarded(lambda: cli.app(line, standalone_mode=False)) == 2
    assert "written answers" in capsys.readouterr().err


def test_a_limit_draws_training_examples_and_nothing_else(tmp_path: Path, tiny_llama_folder: Path) -> None:
    recipe = dialogue_recipe(tmp_path, tiny_llama_folder)
    experiment = Experiment.from_yaml(recipe, ["data.limit=3"])
    loaded = experiment.data.load("text", 5, ("turns",))
    again = experiment.data.load("text", 5, ("turns",))
    assert [len(examples) for examples in loaded.splits.named().values()] == [3, 8, 8]
    assert list(loaded.splits.train) == list(again.splits.train)
    assert "limited" in {finding.code for finding in loaded.findings}
