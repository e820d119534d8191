"""No artifact holds a text of its data, in any byte, but those that say so and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import BODIES, ITEM_TEXTS, TASK_CASES, write_recipe
from tunesmith import cli, compressing, ensembles, pipeline, promotion, service_console
from tunesmith.compression_plan import planned
from tunesmith.compression_report import Chain, write_chain
from tunesmith.data.records import Example
from tunesmith.evaluation.intervals import Estimate
from tunesmith.experiment import Experiment
from tunesmith.exporting import export
from tunesmith.inference.artifact import read_description
from tunesmith.inference.held_texts import HELD_TEXTS, PIECES, held_texts, texts_in
from tunesmith.inference.parity import Parity
from tunesmith.models.backbone import load_tokenizer
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version
from tunesmith.tasks.ranges import HELD
from tunesmith.tasks.recommendation import Recommendation
from tunesmith.trade_offs import Change, TradeOff

PLANTED = "zq4711planted"
ROWS = 16


@pytest.fixture(autouse=True)
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """That artifacts reload in a fresh process is shown elsewhere, and takes seconds each time."""
    monkeypatch.setattr(pipeline, "prove_reload", lambda predictor, artifact, examples: Parity(len(examples), 0.0))


def text_of(number: int) -> str:
    """The planted word in each text; many occur again, in their split and in others, some with another label."""
    return f"the day of {PLANTED} {number % 5 if number < ROWS else number}"


def one_class(number: int) -> dict[str, Any]:
    return {"text": text_of(number), "label": ("good", "bad")[number % 2]}


def spans(number: int) -> dict[str, Any]:
    text = text_of(number)
    return {"text": text, "spans": [{"start": 11, "end": 11 + len(PLANTED), "label": ("PER", "LOC")[number % 2]}]}


def question(number: int) -> dict[str, Any]:
    answers = [{"text": PLANTED, "start": 11}] if number % 3 else []
    return {"context": text_of(number), "question": f"what {PLANTED}?", "answers": answers}


def written(number: int) -> dict[str, Any]:
    return {"prompt": text_of(number), "response": f"{PLANTED} {number % 4}"}


def pair(number: int) -> dict[str, Any]:
    return {"source": text_of(number), "target": f"good {PLANTED}"}


def planted_in(folder: Path, body: Path, row: Callable[[int], dict[str, Any]], **changes: Any) -> Experiment:
    """A recipe over files whose every text holds the planted word."""
    (folder / "model").symlink_to(body)
    files = {}
    for split, first in (("train", 0), ("validation", 0), ("test", ROWS // 2)):
        path = folder / f"{split}.jsonl"
        lines = [json.dumps(row(number)) + "\n" for number in range(first, first + ROWS)]
        path.write_text("".join(lines), encoding="utf-8")
        files[split] = str(path)
    data = {**files, **changes.pop("data", {})}
    training = {"epochs": 1, **changes.pop("training", {})}
    return Experiment.from_yaml(write_recipe(folder, data=data, training=training, **changes))


def holders(folder: Path, text: str = PLANTED) -> list[str]:
    """The files below a folder that hold a text, in either case."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(folder)) for path in files if text.encode() in path.read_bytes().lower())


RUNS: dict[str, tuple[str, Callable[[int], dict[str, Any]], dict[str, Any], list[str], list[str]]] = {
    "classes": ("tiny_model_folder", one_class, {}, [], []),
    "an adapter": ("tiny_model_folder", one_class, {"method": {"name": "lora"}}, [], []),
    "spans": ("tiny_model_folder", spans, {"task": {"name": "token_classification"}}, [], []),
    "a gazetteer": (
        "tiny_model_folder",
        spans,
        {"task": {"name": "token_classification", "gazetteer": ["train"]}},
        ["names of the gazetteer"],
        ["artifact.json"],
    ),
    "words remembered": (
        "tiny_model_folder",
        spans,
        {"task": {"name": "few_shot_tagging"}, "method": {"name": "none"}},
        ["the states of training words, as vectors"],
        [],
    ),
    "examples shown": (
        "tiny_decoder_folder",
        one_class,
        {
            "task": {
                "name": "prompt_classification",
                "demonstrations": 1,
                "label_words": {"good": "good", "bad": "bad"},
            },
            "method": {"name": "none"},
        },
        ["training examples that are shown"],
        ["artifact.json"],
    ),
    "written answers": (
        "tiny_llama_folder",
        written,
        {"task": {"name": "text_generation", "max_new_tokens": 4}},
        [],
        [],
    ),
}


@pytest.mark.parametrize("case", RUNS)
def test_an_artifact_holds_no_text_of_its_data_but_what_it_says(
    case: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    body, row, changes, declared, where = RUNS[case]
    experiment = planted_in(tmp_path, request.getfixturevalue(body), row, **changes)
    result = pipeline.run(experiment, tmp_path / "run", quiet=True)
    assert "report.html" in holders(result.folder), "the report of the run quotes texts"
    assert holders(result.artifact) == where
    description = read_description(result.artifact)
    assert description[HELD_TEXTS] == declared
    assert all(text in texts_in(description) for text in declared)
    page = (result.artifact / "report.html").read_text(encoding="utf-8")
    assert "95&nbsp;% interval" in page
    assert "Recipe after defaults" in page


def test_a_tokenizer_that_was_learnt_from_the_texts_is_declared(tmp_path: Path, tiny_bart_folder: Path) -> None:
    sizes = {"name": "scratch", "layers": 1, "hidden_size": 16, "heads": 2, "feed_forward": 16, "vocabulary": 300}
    changes = {"task": {"name": "sequence_to_sequence", "beams": 1, "max_new_tokens": 4}, "model": sizes}
    experiment = planted_in(tmp_path, tiny_bart_folder, pair, **changes)
    result = pipeline.run(experiment, tmp_path / "run", quiet=True)
    assert read_description(result.artifact)[HELD_TEXTS] == [PIECES]
    assert set(holders(result.artifact)) <= {"tokenizer.json"}


def test_students_smaller_models_and_ensembles_hold_no_text(tmp_path: Path, tiny_model_folder: Path) -> None:
    texts = tmp_path / "texts.csv"
    texts.write_text("text\n" + "".join(f"good {PLANTED} of week {n}\n" for n in range(20)), encoding="utf-8")
    teaching = {"name": "self_training", "threshold": 0.5}
    experiment = planted_in(
        tmp_path, tiny_model_folder, one_class, semi_supervision=teaching, data={"unlabelled": str(texts)}
    )
    taught = promotion.run(experiment, tmp_path / "taught", quiet=True)
    assert "report.html" in holders(taught.folder)
    assert not holders(taught.artifact)
    steps = planned(taught.artifact, ["head_prune"], ["compression.floor=0.9", "head_prune.rounds=1"])
    compressing.compress(taught.artifact, tmp_path / "small", steps, quiet=True)
    assert not holders(tmp_path / "small")
    ensembles.make_ensemble([taught.artifact, tmp_path / "small"], tmp_path / "all", "votes")
    assert not holders(tmp_path / "all")


def test_other_forms_hold_no_text(tmp_path: Path, tiny_model_folder: Path) -> None:
    """Not in a graph's names and metadata, nor where scales were found on training texts."""
    pytest.importorskip("onnxruntime")
    result = pipeline.run(planted_in(tmp_path, tiny_model_folder, one_class), tmp_path / "run", quiet=True)
    export(result.artifact, "onnx-int8", calibrate=4)
    assert (result.artifact / "manifest.json").read_text().count(".onnx") == 1
    assert not holders(result.artifact)


def test_a_run_says_what_its_artifact_holds(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"name": "token_classification", "gazetteer": ["train"]}
    experiment = planted_in(tmp_path, tiny_model_folder, spans, task=task)
    assert experiment.name
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    told = "holds texts of its data by design: names of the gazetteer"
    assert told in " ".join(capsys.readouterr().out.split())
    version = read_version(tmp_path / "run" / "artifact", name="names")
    service_console.show_ready("http://x", None, [version], Settings())
    assert told in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("kind", ["answers", "spans"])
def test_changed_answers_that_are_texts_are_not_quoted_either(kind: str, tmp_path: Path) -> None:
    marked = [{"start": 0, "end": 3, "label": "A", "text": PLANTED}]
    gold, after = (PLANTED, f"{PLANTED}!") if kind == "answers" else (marked, [])
    row = TradeOff("whole", {}, True, "", 1, 1, Estimate(0.5, 0.4, 0.6), None, (), (), None)
    changed = replace(row, name="prune", changes=(Change("7", PLANTED, gold, gold, after, True, False),))
    write_chain(Chain("small", "out", "whole", "f1", 3, None, (row, changed)), tmp_path, kind)
    assert not holders(tmp_path)
    told = json.loads((tmp_path / "changes.jsonl").read_text(encoding="utf-8"))
    assert told["gold"] == (None if kind == "answers" else [{"start": 0, "end": 3, "label": "A"}])
    assert told["id"] == "7"


@pytest.mark.parametrize("case", TASK_CASES)
def test_every_field_of_a_prepared_task_that_keeps_texts_is_declared(
    case: str, tiny_model_folder: Path, request: pytest.FixtureRequest
) -> None:
    task, examples = TASK_CASES[case]
    folder = request.getfixturevalue(BODIES.get(case, "tiny_model_folder"))
    prepared = task.prepared(examples, load_tokenizer(folder))
    kept = {one.name: str(prepared.__dict__[one.name]) for one in fields(prepared)}  # type: ignore[arg-type]
    given = {one.name: str(task.__dict__[one.name]) for one in fields(task)}  # type: ignore[arg-type]
    new = [example for example in examples if not quotes(str(given), [example])]
    learnt = {name for name in kept if kept[name] != given.get(name) and quotes(kept[name], new)}
    declared = {one.name for one in fields(prepared) if HELD in one.metadata}  # type: ignore[arg-type]
    assert learnt <= declared


def quotes(value: str, examples: list[Example]) -> bool:
    return any(example.text and example.text in value for example in examples)


def test_items_are_declared() -> None:
    task = Recommendation(item_texts=ITEM_TEXTS)
    assert held_texts(task, "") == ["the texts of the items"]
    assert texts_in({}) == ""
