"""The verbs: what each prints, as text and as JSON."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import jsonschema
import pytest
import yaml

from tests.builders import write_examples, write_recipe
from tunesmith import cli
from tunesmith.compression import COMPRESSORS
from tunesmith.data.dataset import Data
from tunesmith.documentation import OF_AUGMENTERS, OF_VERBS
from tunesmith.experiment import FAMILIES, LISTS, SECTIONS, Experiment
from tunesmith.overviews import data_page
from tunesmith.service_arguments import Elastic


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a verb that must succeed and return what it printed."""
    capsys.readouterr()
    code = cli.guarded(lambda: cli.app(list(arguments), standalone_mode=False))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_new_writes_a_recipe_and_no_file_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    assert "tunesmith check" in call(capsys, "new", "few_shot_classification", "--out", str(path))
    assert Experiment.from_yaml(path).data.per_class == 8
    new = ["new", "token_classification", "--out", str(path)]
    assert cli.guarded(lambda: cli.app(new, standalone_mode=False)) == 2
    assert Experiment.from_yaml(path).data.per_class == 8


def test_what_is_to_be_run_next_can_be_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "新 recipe.yaml"
    assert (
        cli.guarded(lambda: cli.app(["new", "token_classification", "--out", str(place)], standalone_mode=False)) == 0
    )
    said = capsys.readouterr().out.replace("\n", " ").partition("then run: ")[2]
    assert shlex.split(said) == ["tunesmith", "check", str(place)]


def test_a_page_is_printed_with_its_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "components", "--markdown", "data") == data_page()


def test_check_lists_findings_and_ends_with_their_counts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(place))
    assert "0 errors" in call(capsys, "check", recipe)
    findings = json.loads(call(capsys, "check", recipe, "--json"))
    assert {"code", "severity", "message", "count", "examples"} == set(findings[0])
    assert not (place / "out").exists()


def test_check_ends_with_code_2_on_an_error(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(place)
    (place / "test.csv").write_text("text,label\nsome text,strange\n", encoding="utf-8")
    assert cli.guarded(lambda: cli.app(["check", str(recipe)], standalone_mode=False)) == 2
    assert "'strange'" in capsys.readouterr().out
    accepted = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    assert accepted["data"]["test"].endswith("test.csv")


def test_check_says_with_code_2_what_would_stop_the_run_before_its_first_step(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"name": "sequence_classification", "labels": ["bad", "good"]}
    recipe = str(write_recipe(place, data={"test": write_examples(place)["test"]}, task=task))
    assert cli.guarded(lambda: cli.app(["check", recipe], standalone_mode=False)) == 2
    said = capsys.readouterr().out
    assert "The run cannot begin: There are no training examples." in said
    assert "1 errors" in said


def test_an_empty_value_of_set_is_an_empty_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(place))
    assert json.loads(call(capsys, "show", recipe, "--set", "data.text=", "--json"))["data"]["text"] == ""


def test_answers_of_a_file_stand_beside_its_texts(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "more.jsonl").write_text('{"text": "好电影"}\n', encoding="utf-8")
    said = json.loads(call(capsys, "predict", str(finished_run / "artifact"), "--file", str(place / "more.jsonl")))
    assert list(said)[:3] == ["id", "text", "label"]
    assert said["text"] == "好电影"


def test_evaluate_reads_a_file_as_set_says(place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "kommentar;urteil\na good film;good\na bad film;bad\n"
    (place / "more.csv").write_text(rows, encoding="utf-8")
    how = ["data.text=kommentar", "data.label=urteil", "data.separator=;"]
    changes = [word for change in how for word in ("--set", change)]
    artifact, data = str(finished_run / "artifact"), ("--data", str(place / "more.csv"))
    assert json.loads(call(capsys, "evaluate", artifact, *data, *changes, "--json"))["examples"] == 2


def test_run_predict_and_evaluate_in_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(place / "out")
    result = json.loads(
        call(capsys, "run", str(write_recipe(place)), "--out", out, "--set", "training.epochs=1", "--json")
    )
    assert result["folder"] == out
    assert yaml.safe_load((place / "out" / "recipe.yaml").read_text(encoding="utf-8"))["training"]["epochs"] == 1
    (answer,) = json.loads(call(capsys, "predict", f"{out}/artifact", "--text", "a good film", "--json"))
    assert answer["label"] in ("good", "bad")
    judged = json.loads(call(capsys, "evaluate", f"{out}/artifact", "--json"))
    assert judged["metrics"] == result["metrics"]["test"]


def test_predict_answers_a_file_line_by_line(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "new.csv").write_text("id,review\n7,好 good film\n8,bad\n9,\n", encoding="utf-8")
    artifact = str(finished_run / "artifact")
    arguments = ["predict", artifact, "--file", str(place / "new.csv"), "--out", str(place / "answers.jsonl")]
    capsys.readouterr()
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    printed = capsys.readouterr()
    rows = [json.loads(line) for line in (place / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["7", "8"]
    assert "Wrote 2 rows" in printed.out
    assert "1 rows without text were left out. line 4" in printed.err
    assert sorted(path.name for path in place.iterdir()) == ["answers.jsonl", "model", "new.csv"]


def test_predict_reads_a_file_as_it_is_told(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "new.csv").write_text("x;好 good film\ny;bad\n", encoding="gb18030")
    reading = ["data.encoding=gb18030", "data.separator=;", "data.header=[id, text]"]
    changes = [part for change in reading for part in ("--set", change)]
    out = place / "answers.jsonl"
    call(
        capsys, "predict", str(finished_run / "artifact"), "--file", str(place / "new.csv"), "--out", str(out), *changes
    )
    assert [json.loads(line)["id"] for line in out.read_text(encoding="utf-8").splitlines()] == ["x", "y"]


def test_evaluate_against_itself_shows_no_difference(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = str(finished_run / "artifact")
    judged = json.loads(call(capsys, "evaluate", artifact, "--against", artifact, "--json"))
    assert {item["verdict"] for item in judged["comparisons"]} == {"no difference shown"}
    assert "no difference shown" in call(capsys, "evaluate", artifact, "--against", artifact)


def test_evaluate_judges_another_file(place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "more.jsonl").write_text(
        '{"text": "good", "label": "good"}\n{"text": "bad", "label": "bad"}\n', encoding="utf-8"
    )
    judged = json.loads(
        call(capsys, "evaluate", str(finished_run / "artifact"), "--data", str(place / "more.jsonl"), "--json")
    )
    assert judged["examples"] == 2


def test_resume_of_a_finished_run_gives_the_same_result(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished_run, place / "run")
    before = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    assert json.loads(call(capsys, "resume", str(place / "run"), "--json"))["metrics"] == before


def test_show_prints_every_setting(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write_recipe(place))
    shown = yaml.safe_load(call(capsys, "show", recipe))
    assert set(shown) >= {*FAMILIES, *SECTIONS, "seed", "name", "trackers"}
    assert Experiment.from_mapping(shown) == Experiment.from_yaml(recipe)
    assert json.loads(call(capsys, "show", recipe, "--json")) == shown


def test_components_names_every_member_with_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(call(capsys, "components", "--json"))
    assert {family: set(members) for family, members in listed.items()} == {
        family: set(members) for family, members in {**FAMILIES, **LISTS, **OF_AUGMENTERS, **OF_VERBS}.items()
    }
    for members in listed.values():
        for name, member in members.items():
            assert member["summary"], name
            for setting, facts in member["settings"].items():
                assert facts["description"], f"{name}.{setting} is not described"
    assert "lora" in call(capsys, "components")


def test_the_schema_accepts_what_is_right_and_refuses_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    schema = json.loads(call(capsys, "schema"))
    validator = jsonschema.Draft202012Validator(schema)
    good = {"task": {"name": "token_classification", "crf": True}, "data": {"name": "conll2003"}, "method": "bitfit"}
    assert not list(validator.iter_errors(good))
    for wrong in ({"tusk": 1}, {"method": "lorra"}, {"training": {"epochs": "x"}}, {"task": {"name": "x"}}):
        assert list(validator.iter_errors({**good, **wrong})), wrong
    for section in SECTIONS:
        assert all(value["description"] for value in schema["properties"][section]["properties"].values())


def test_doctor_says_what_the_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(call(capsys, "doctor", "--json"))
    assert {"cores", "memory_bytes", "has_bf16", "has_vnni", "accelerator", "versions"} <= set(facts)
    assert facts["versions"]["torch"]
    assert "bf16" in call(capsys, "doctor")


@pytest.mark.parametrize(
    ("given", "verb"),
    [
        (["verify", "a1", "--trustd"], "tunesmith verify"),
        (["feedback", "list", "--stor", "x"], "tunesmith feedback list"),
        (["verfy"], "tunesmith"),
        (["predict"], "tunesmith predict"),
    ],
)
def test_a_wrong_call_names_the_verb_whose_help_helps(
    given: list[str], verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded(lambda: cli.app(given, standalone_mode=False)) == 2
    assert f"See: {verb} --help" in " ".join(capsys.readouterr().err.split())


def test_the_help_of_compress_names_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    said = call(capsys, "compress", "--help")
    assert [name for name in COMPRESSORS if name not in said] == []


def test_options_that_need_ray_say_so_in_the_help() -> None:
    hints = get_type_hints(Elastic, include_extras=True)
    helps = {name: hint.__metadata__[0].help for name, hint in hints.items()}
    assert len(helps.pop("engine")) > 0
    assert [name for name, said in helps.items() if "--engine ray" not in said] == []


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_folder: Path, *, quiet: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunesmith.compressing.resume", interrupted)
    assert cli.guarded(lambda: cli.app(["resume", "runs/x"], standalone_mode=False)) == 130
    assert "tunesmith resume" in capsys.readouterr().err


def test_an_interruption_before_anything_can_be_asked_is_no_traceback() -> None:
    """Importing takes seconds, in which somebody may think better of it."""
    program = (
        "import runpy, sys\n"
        "class Impatient:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tunesmith.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Impatient())\n"
        "runpy.run_module('tunesmith', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "Stopped.\n")


def test_without_a_verb_the_help_is_shown_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded(lambda: cli.app([], standalone_mode=False)) == 2
    printed = capsys.readouterr()
    assert "Usage:" in printed.out
    assert "TunesmithError" not in printed.err


def test_a_text_is_printed_as_it_is(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "good :joy: [bold]film[/] \\[x] 很好"
    assert text in call(capsys, "predict", str(finished_run / "artifact"), "--text", text)


def test_answers_can_be_written_to_a_pipe(finished_run: Path, tmp_path: Path) -> None:
    pipe, texts = tmp_path / "pipe", tmp_path / "texts.csv"
    texts.write_text("text\ngood\n", encoding="utf-8")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    arguments = ["predict", str(finished_run / "artifact"), "--file", str(texts), "--out", str(pipe)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    assert json.loads(os.read(reader, 1 << 16))["id"]
    os.close(reader)
    assert not pipe.is_file()


def test_augment_shows_copies_beside_their_sources_and_writes_rows_that_are_read_again(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(place))
    changes = ["--set", "augmenters=[swap_words, delete_words]"]
    said = call(capsys, "augment", recipe, *changes, "--show", "1", "--out", str(place / "new.jsonl"))
    assert "swap_words" in said
    assert "No model judged" in said
    audit = json.loads(call(capsys, "augment", recipe, *changes, "--json"))
    rows = [json.loads(line) for line in (place / "new.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == sum(audit["kept"].values()) > 0
    assert {"id", "text", "label", "augmented_from", "augmented_by"} == set(rows[0])
    more = Data(train=str(place / "new.jsonl"), validation="none", test="none").load("class", 0).splits.train
    assert [example.text for example in more] == [row["text"] for row in rows]


def test_augment_uses_an_artifact_as_the_judge(
    place: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(write_recipe(place))
    judge = f"augmentation.judge={finished_run / 'artifact'}"
    audit = json.loads(call(capsys, "augment", recipe, "--set", "augmenters=[swap_words]", "--set", judge, "--json"))
    assert audit["unjudged"] < sum(audit["kept"].values())


def test_the_catalogue_says_where_each_data_set_and_model_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "models" / "minilm-l6").mkdir(parents=True)
    (place / "data" / "agnews").mkdir(parents=True)
    for name in ("models", "data"):
        monkeypatch.setenv(f"TUNESMITH_{name.upper()}", str(place / name))
    monkeypatch.setenv("TUNESMITH_CACHE", str(place / "cache"))
    said = json.loads(call(capsys, "catalogue", "--json"))
    places = {one["name"]: one["place"] for members in said.values() for one in members}
    assert places["agnews"] == str(place / "data" / "agnews")
    assert places["support-finance"] == "with tunesmith"
    assert places["minilm-l6"] == str(place / "models" / "minilm-l6")
    assert places["mpnet-base"] == "hub and package"
    shown = call(capsys, "catalogue")
    assert "nowhere yet" in shown
    assert "bert-base-chinese" in shown
