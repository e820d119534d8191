"""The verbs about forms, and their bad input: exit codes, few lines on what, where and what to do, nothing left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import write_recipe
from tests.inference.causal_artifacts import causal_artifact
from tests.inference.test_forms import damage
from tests.test_bad_input import files_below
from tunesmith import cli
from tunesmith.data.records import Example
from tunesmith.ensembles import on_test
from tunesmith.exporting import export as export_artifact
from tunesmith.inference.artifact import seal
from tunesmith.inference.ensemble_folder import save_ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.trade_offs import parameters_in, weight_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("gguf")


def asked(*arguments: object) -> int:
    """The exit code of a command line."""
    return cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))


@pytest.fixture(scope="module")
def forms(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the artifact of a run ("run"), which holds a graph too, and a graph in 8 bits alone ("small")."""
    folder = tmp_path_factory.mktemp("forms")
    shutil.copytree(finished_run / "artifact", folder / "run")
    assert asked("export", folder / "run", "--form", "onnx") == 0
    assert asked("export", folder / "run", "--form", "onnx-int8", "--calibrate", 8, "--out", folder / "small") == 0
    return folder


def test_forms_answer_like_any_artifact(forms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked("predict", forms / "small", "--text", "a good film", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["label"] in ("good", "bad")
    assert asked("evaluate", forms / "small", "--against", forms / "run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"]
    assert asked("evaluate", forms / "run", "--backend", "onnx", "--json") == 0
    graph = json.loads(capsys.readouterr().out)["metrics"]
    assert asked("evaluate", forms / "run", "--json") == 0
    torchs = json.loads(capsys.readouterr().out)["metrics"]
    assert graph["accuracy"] == torchs["accuracy"]


def test_only_the_form_that_answers_counts_as_the_size_of_a_model(forms: Path) -> None:
    assert weight_of(forms / "run") == (forms / "run" / "model.safetensors").stat().st_size
    names = ("model-int8.onnx", "head.safetensors")
    assert weight_of(forms / "small") == sum((forms / "small" / name).stat().st_size for name in names)


def test_a_form_says_how_many_parameters_its_model_has(forms: Path) -> None:
    test = [Example("1", "a good film"), Example("2", "a bad one")]
    small, run = (on_test(forms / name, test).parameters for name in ("small", "run"))
    assert small == run == parameters_in(forms / "run") > 1000


def test_an_ensemble_with_a_graph_answers_on_the_cpu(forms: Path, tmp_path: Path) -> None:
    save_ensemble(tmp_path / "both", [forms / "run", forms / "small"], "probabilities")
    served = Predictor.load(tmp_path / "both", device="meta")
    assert {member.network.device.type for member in served.members} == {"cpu"}
    assert len(served.predict_texts(["a good film", "a bad one"])) == 2


def test_parity_is_green_for_all_forms_and_red_for_a_damaged_one(
    forms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert asked("parity", forms / "run", forms / "small", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sound"] is True
    assert [form["form"] for form in found["forms"]] == ["torch", "onnx", "onnx-int8"]
    assert all(form["reloaded"] == 0 for form in found["forms"])
    assert asked("parity", forms / "run", forms / "small", "--no-reload", "--http", "--json") == 0
    served = json.loads(capsys.readouterr().out)["served"]
    assert [(one["form"], one["is_exact"]) for one in served] == [
        ("torch", True),
        ("onnx", True),
        ("onnx-int8", False),
    ]
    assert all(one["probabilities"] < 1e-4 for one in served[:2])
    assert asked("parity", forms / "small", forms / "run", "--tolerance", 0.5, "--no-reload", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [form["form"] for form in found["forms"]] == ["onnx-int8", "torch", "onnx"], "no form is exact beside 8 bits"
    assert not (forms / "small" / "report.html").exists(), "a report tells of the form that was judged"
    (tmp_path / "texts.txt").write_text("good film\nbad film\n", encoding="utf-8")
    assert asked("parity", forms / "run", "--file", tmp_path / "texts.txt", "--no-reload") == 0
    said = capsys.readouterr().out
    assert "2 texts of texts.txt" in said
    assert "All forms are sound." in said
    broken = Path(shutil.copytree(forms / "run", tmp_path / "broken"))
    damage(broken / "model.onnx")
    assert asked("parity", broken, "--no-reload") == 2  # the manifest sees it
    assert "was changed" in capsys.readouterr().err
    seal(broken)
    assert asked("parity", broken, "--no-reload") == 1
    said = capsys.readouterr().out
    assert "its logits differ by up to" in said
    assert "Some form is off" in said


Situation = Callable[[Path, Path], tuple[list[object], str]]


def no_weights(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["export", forms / "small", "--out", place / "out"], "needs torch's weights"


def taken(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["export", forms / "run", "--out", forms / "small"], "Something is there already"


def unknown_form(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["export", forms / "run", "--form", "onnx8", "--out", place / "out"], "onnx-int8"


def calibrated_floats(forms: Path, place: Path) -> tuple[list[object], str]:
    return [
        "export",
        forms / "run",
        "--calibrate",
        5,
        "--out",
        place / "out",
    ], "Only an ONNX graph in 8 bits"


def calibrated_on_other_texts(forms: Path, place: Path) -> tuple[list[object], str]:
    other = Path(shutil.copytree(forms / "run", place / "other"))
    told = json.loads((other / "artifact.json").read_text(encoding="utf-8"))
    told["data_fingerprints"]["train"] = "0" * 64
    (other / "artifact.json").write_text(json.dumps(told), encoding="utf-8")
    seal(other)
    return ["export", other, "--form", "onnx-int8", "--calibrate", 4, "--out", place / "out"], "not those of the run"


def no_artifact(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["parity", place], "has no manifest"


def run_in_the_place_of_its_artifact(forms: Path, place: Path) -> tuple[list[object], str]:
    shutil.copytree(forms / "run", place / "artifact")
    return ["parity", place], f"Give {place / 'artifact'}."


def backend_that_is_not_there(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["evaluate", forms / "small", "--backend", "torch"], "no form 'torch': it holds onnx-int8"


def backend_that_was_not_written(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["predict", forms / "run", "--text", "good", "--backend", "gguf"], "or make it: tunesmith export"


def both_texts(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["parity", forms / "run", "--data", "a.csv", "--file", "b.txt"], "Texts are named twice"


def no_texts(forms: Path, place: Path) -> tuple[list[object], str]:
    (place / "empty.txt").write_text("", encoding="utf-8")
    return ["parity", forms / "run", "--file", place / "empty.txt"], "empty"


def learn_from_a_graph(forms: Path, place: Path) -> tuple[list[object], str]:
    recipe = write_recipe(place, model={"name": str(forms / "small")})
    return ["run", recipe, "--out", place / "out"], "from which nothing can learn"


def average_a_graph(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["soup", forms / "run", forms / "small", "--out", place / "out"], "torch's weights"


def spoiled_graph(forms: Path, place: Path) -> tuple[list[object], str]:
    broken = Path(shutil.copytree(forms / "small", place / "broken"))
    (broken / "model-int8.onnx").write_bytes(b"no graph")
    seal(broken)
    return ["predict", broken, "--text", "good"], "which no export writes"


def spoiled_entry(forms: Path, place: Path) -> tuple[list[object], str]:
    broken = Path(shutil.copytree(forms / "small", place / "broken"))
    told = json.loads((broken / "artifact.json").read_text(encoding="utf-8"))
    del told["forms"]["onnx-int8"]["graph"]
    (broken / "artifact.json").write_text(json.dumps(told), encoding="utf-8")
    seal(broken)
    return ["predict", broken, "--text", "good"], "What the artifact says of its form 'onnx-int8' cannot be read"


def graph_elsewhere(forms: Path, place: Path) -> tuple[list[object], str]:
    shutil.copy(forms / "small" / "model-int8.onnx", place / "other.onnx")
    broken = Path(shutil.copytree(forms / "run", place / "broken"))
    told = json.loads((broken / "artifact.json").read_text(encoding="utf-8"))
    told["forms"]["onnx"]["file"] = "../other.onnx"
    (broken / "artifact.json").write_text(json.dumps(told), encoding="utf-8")
    seal(broken)
    return ["predict", broken, "--backend", "onnx", "--text", "good"], "says of its form 'onnx' cannot be read"


def graph_elsewhere_exported(forms: Path, place: Path) -> tuple[list[object], str]:
    _, said = graph_elsewhere(forms, place)
    return ["export", place / "broken", "--form", "onnx-int8", "--out", place / "out"], said


def form_of_the_future(forms: Path, place: Path) -> tuple[list[object], str]:
    broken = Path(shutil.copytree(forms / "run", place / "broken"))
    told = json.loads((broken / "artifact.json").read_text(encoding="utf-8"))
    (broken / "artifact.json").write_text(json.dumps({**told, "form": "onnx-int3"}), encoding="utf-8")
    seal(broken)
    return ["predict", broken, "--text", "good"], "does not know the form 'onnx-int3'"


def passes_of_a_graph(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["evaluate", forms / "small", "--passes", 4], "Only torch's form of a model has dropout"


def encoder_with_a_gguf_file(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["export", forms / "run", "--form", "gguf"], "no causal language model"


def file_that_is_there(forms: Path, place: Path) -> tuple[list[object], str]:
    (place / "x.gguf").write_text("mine", encoding="utf-8")
    return ["export", forms / "run", "--form", "gguf", "--out", place / "x.gguf"], "Something is there already"


def calibrated_file(forms: Path, place: Path) -> tuple[list[object], str]:
    arguments = ["export", forms / "run", "--form", "gguf", "--calibrate", 5, "--out", place / "x.gguf"]
    return arguments, "Only an ONNX graph in 8 bits is calibrated"


def gguf_elsewhere(forms: Path, place: Path) -> tuple[list[object], str]:
    made = causal_artifact(place)
    export_artifact(made, "gguf")
    told = json.loads((made / "artifact.json").read_text(encoding="utf-8"))
    told["forms"]["gguf"]["file"] = "../other.gguf"
    (made / "artifact.json").write_text(json.dumps(told), encoding="utf-8")
    seal(made)
    return ["predict", made, "--backend", "gguf", "--text", "good"], "says of its form 'gguf' cannot be read"


def encoder_for_llama_cpp(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["export", forms / "run", "--form", "gguf", "--out", place / "x.gguf"], "no causal language model"


def few_bits_of_an_encoder(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["compress", forms / "run", "--steps", "weight_only", "--out", place / "out"], "Use int8"


def steps_on_a_graph(forms: Path, place: Path) -> tuple[list[object], str]:
    return ["compress", forms / "small", "--steps", "vocabulary", "--out", place / "out"], "in the form 'onnx-int8'"


def asked_of(forms: Path, place: Path, *more: object) -> list[object]:
    (place / "texts.txt").write_text("good film\n", encoding="utf-8")
    (place / "key").write_text("ts_any", encoding="utf-8")
    (place / "key").chmod(0o600)
    return ["parity", forms / "small", "--file", place / "texts.txt", "--no-reload", *more]


def key_for_nobody(forms: Path, place: Path) -> tuple[list[object], str]:
    return asked_of(forms, place, "--key-file", place / "key"), "No running service is named"


def service_without_a_key(forms: Path, place: Path) -> tuple[list[object], str]:
    return asked_of(forms, place, "--url", "http://127.0.0.1:9"), "Give --key-file"


def key_that_others_may_read(forms: Path, place: Path) -> tuple[list[object], str]:
    told = asked_of(forms, place, "--url", "http://127.0.0.1:9", "--key-file", place / "key")
    (place / "key").chmod(0o644)
    return told, "Others may read the file with the key"


def key_in_the_clear(forms: Path, place: Path) -> tuple[list[object], str]:
    return asked_of(forms, place, "--url", "http://a.example", "--key-file", place / "key"), "travel in the clear"


def service_that_is_not_there(forms: Path, place: Path) -> tuple[list[object], str]:
    return asked_of(forms, place, "--url", "http://127.0.0.1:9", "--key-file", place / "key"), "cannot be reached"


SITUATIONS = [
    *(encoder_with_a_gguf_file, file_that_is_there, calibrated_file, gguf_elsewhere),
    *(key_for_nobody, service_without_a_key, key_that_others_may_read, key_in_the_clear, service_that_is_not_there),
    *(encoder_for_llama_cpp, few_bits_of_an_encoder, steps_on_a_graph),
    *(
        no_weights,
        taken,
        unknown_form,
        calibrated_floats,
        no_artifact,
        run_in_the_place_of_its_artifact,
        backend_that_is_not_there,
        both_texts,
        no_texts,
    ),
    *(learn_from_a_graph, average_a_graph, spoiled_graph, spoiled_entry, passes_of_a_graph),
    *(graph_elsewhere, graph_elsewhere_exported, form_of_the_future, backend_that_was_not_written),
    calibrated_on_other_texts,
]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: one.__name__)
def test_bad_forms_are_explained_and_leave_nothing_behind(
    situation: Situation, forms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = situation(forms, tmp_path)
    before = files_below(tmp_path)
    capsys.readouterr()
    assert asked(*arguments) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) <= 6
    assert "Traceback" not in error
    assert said in " ".join(error.split())
    assert files_below(tmp_path) == before
