"""Adapters of one base in a worker: the base is there once, and each answers as its own artifact does."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.builders import TASK_CASES
from tests.service.conftest import Made
from tests.service.running import Response, running, saved
from tests.service.test_workers import TEXTS, asking
from tests.trained_adapters import trained
from tunesmith import service_console
from tunesmith.inference.adapters import parameters_of
from tunesmith.inference.artifact import ADAPTER, read_description, seal
from tunesmith.inference.predictor import Predictor
from tunesmith.service.engine import Slot
from tunesmith.service.frames import packed, receive
from tunesmith.service.local import LocalEngine
from tunesmith.service.serving import Settings
from tunesmith.service.sharing import Sharing
from tunesmith.service.versions import Version, read_version
from tunesmith.service.worker import Worker

METHODS = {"mood": ("lora", "single_label"), "entities": ("houlsby", "tokens"), "score": ("bitfit", "regression")}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """ROOT/MODEL/VERSION: three models with adapters of one base, one of them in a further version; one of another."""
    root = tmp_path_factory.mktemp("adapters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunesmith.inference.adapters.LARGEST_SHARE", 0.5)  # the tiny model's vocabulary is small
        for name, (method, case) in METHODS.items():
            trained(root / name / "first", tiny_model_folder, method, case, name=name)
        trained(root / "mood" / "second", tiny_model_folder, "bitfit", "single_label", steps=9)
        other = Path(shutil.copytree(tiny_model_folder, root / "base" / "other"))
        weights = load_file(other / "model.safetensors")
        save_file(
            {name: 1.1 * tensor for name, tensor in weights.items()}, other / "model.safetensors", {"format": "pt"}
        )
        trained(root / "foreign" / "first", other, "lora", "single_label", name="foreign")
        trained(root / "mood" / "foreign", other, "lora", "single_label", name="mood")
    saved(root / "plain" / "first", "plain", tiny_model_folder, *TASK_CASES["single_label"])
    return root


def versions(root: Path, *names: str) -> list[Version]:
    return [read_version(root / name / "first") for name in names]


def sharing(given: Sequence[Version], *, further: bool = False) -> Sharing:
    return Sharing.among(given, further=further)


@contextmanager
def working() -> Iterator[tuple[Worker, Any]]:
    """A worker on a thread of this process, and what asks it."""
    ours, theirs = socket.socketpair()
    ours.settimeout(60)  # a worker that ends says nothing
    worker = Worker(theirs)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()

    def ask(**message: Any) -> dict[str, Any]:
        ours.sendall(packed({"id": 1, **message}))
        answer = receive(ours)
        assert answer is not None
        return answer

    try:
        yield worker, ask
    finally:
        ours.close()
        thread.join()
        theirs.close()


def held_by(worker: Worker) -> int:
    return parameters_of(worker._predictors.values())


def test_a_worker_holds_the_base_once_and_lets_go_of_what_was_dropped(root: Path) -> None:
    given = versions(root, *METHODS)
    shared = sharing(given)
    alone = {one.model: parameters_of([Predictor.load(one.slot.folder)]) for one in given}
    with working() as (worker, ask):
        sizes = []
        for version in map(shared.placed, given):
            assert "facts" in ask(do="load", **version.slot.plain)
            sizes.append(held_by(worker))
        assert sizes[-1] < 0.6 * sum(alone.values())
        first = given[0].slot.name
        ask(do="unload", slot=first)
        assert held_by(worker) < sizes[-1]
        assert worker._bases.held == 1
        for version in given[1:]:
            ask(do="unload", slot=version.slot.name)
        assert worker._bases.held == 0


def test_answers_are_those_of_each_artifacts_own_predictor(root: Path, made: Made) -> None:
    given = versions(root, *METHODS, "foreign", "plain")
    with running(given, made(1), Settings(sharing=sharing(given))) as service:
        for _ in range(2):  # the second round comes after every other was asked
            for version in given:
                answers = service.predict(version.model, *TEXTS).body["answers"]
                own = Predictor.load(version.slot.folder).predict_texts(TEXTS)
                for answer, right in zip(answers, own, strict=True):
                    if version.label_kind == "number":
                        assert answer["label"] == pytest.approx(right.label, abs=1e-4)
                    else:
                        assert answer["confidence"] == pytest.approx(right.confidence, abs=1e-4)
        held = {version.model: service.get(f"/v1/models/{version.model}").body["held"] for version in given}
    assert held == {**dict.fromkeys(METHODS, "beside its base"), "foreign": "whole", "plain": "whole"}


def test_a_swap_of_one_adapter_under_load_changes_only_that_one(root: Path, made: Made) -> None:
    given = versions(root, "mood", "score")
    mood: list[Response] = []
    score: list[Response] = []
    settings = Settings(root=root, sharing=sharing(given, further=True))
    with running(given, made(1), settings) as service:
        before = {text: service.predict("score", text).body["answers"] for text in TEXTS}
        with asking(service, "mood", mood), asking(service, "score", score):
            second = service.post("/admin/models/mood:load", {"version": "second"}).body["version"]
            for version in [second, given[0].id] * 3 + [second]:
                assert service.post("/admin/models/mood:promote", {"version": version}).status == 200
                answered = len(mood) + 4  # each of the four that ask may have been under way
                while len(mood) <= answered:
                    time.sleep(0.01)
        told = service.get("/v1/models/mood").body
        assert (told["version"], told["held"]) == (second, "beside its base")
        after = {text: service.predict("score", text).body["answers"] for text in TEXTS}
    assert after == before
    assert {reply.status for reply in [*mood, *score]} == {200}
    scores = [one[0]["label"] for one in before.values()]
    assert all(min(abs(reply.body["answers"][0]["label"] - one) for one in scores) < 1e-4 for reply in score)
    folders = {read_version(root / "mood" / name).id: root / "mood" / name for name in ("first", "second")}
    right = {
        version: [one.confidence for one in Predictor.load(folder).predict_texts(TEXTS)]
        for version, folder in folders.items()
    }
    assert {reply.body["version"] for reply in mood} == set(folders)
    for reply in mood:
        found = reply.body["answers"][0]["confidence"]
        assert min(abs(found - one) for one in right[reply.body["version"]]) < 1e-4


def test_a_version_of_another_base_is_loaded_whole_beside_adapters(root: Path) -> None:
    given = versions(root, "mood", "score")
    with running(given, LocalEngine(1, 1), Settings(root=root, sharing=sharing(given))) as service:
        loaded = service.post("/admin/models/mood:load", {"version": "foreign"})
        assert loaded.status == 200, loaded.text
        assert service.post("/admin/models/mood:promote", {"version": loaded.body["version"]}).status == 200
        assert service.get("/v1/models/mood").body["held"] == "whole"
        own = Predictor.load(root / "mood" / "foreign").predict_texts(TEXTS)[0]
        found = service.predict("mood", TEXTS[0]).body["answers"][0]
        assert found["confidence"] == pytest.approx(own.confidence, abs=1e-4)


def test_an_adapter_that_answers_otherwise_than_its_artifact_is_refused(root: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root / "mood" / "first", tmp_path / "mood"))
    weights = load_file(folder / ADAPTER)
    head = next(name for name in weights if name.startswith("head."))
    save_file({**weights, head: weights[head] + 1e-2}, folder / ADAPTER)
    seal(folder)
    version = read_version(folder)
    with working() as (worker, ask):
        refused = ask(do="load", **sharing([version], further=True).placed(version).slot.plain)["refused"]
        assert "the logits differ by up to" in refused[0]
        assert "--share-bases" in refused[2]
        assert (worker._bases.held, held_by(worker)) == (0, 0)
        assert "facts" in ask(do="load", **version.slot.plain)


def test_a_base_whose_other_files_were_changed_is_refused(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights' sum stands in the artifact, and so in what was signed; its configuration is held by the answers."""
    monkeypatch.setattr("tunesmith.inference.adapters.LARGEST_SHARE", 0.5)
    base = Path(shutil.copytree(tiny_model_folder, tmp_path / "base"))
    version = read_version(trained(tmp_path / "mood", base, "bitfit", "single_label", name="mood"))
    slot = sharing([version], further=True).placed(version).slot
    told = json.loads((base / "config.json").read_text(encoding="utf-8"))
    with working() as (_, ask):
        (base / "config.json").write_text(json.dumps({**told, "hidden_act": "tanh"}), encoding="utf-8")
        assert "the logits differ by up to" in ask(do="load", **slot.plain)["refused"][0]
        (base / "config.json").write_text(json.dumps(told), encoding="utf-8")
        assert "facts" in ask(do="load", **slot.plain)


def test_a_base_that_only_one_artifact_has_is_not_shared_unless_more_may_come(root: Path) -> None:
    given = versions(root, "mood", "foreign")
    assert not sharing(given).bases
    assert len(sharing(given, further=True).bases) == 2
    assert Sharing().placed(given[0]).slot.base == ""


def test_how_each_is_held_is_said(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = versions(root, "mood", "score", "foreign", "plain")
    service_console.show_ready("http://x", None, given, Settings(sharing=sharing(given)))
    base = read_description(given[0].slot.folder)["model_name"]
    lines = " ".join(capsys.readouterr().out.split())
    assert lines.count(f"its adapter beside {base}, which is held once") == 2
    assert "no other model here was trained from its base" in lines
    assert "it keeps no adapter" in lines
    service_console.show_ready("http://x", None, given, Settings())
    assert "2 of these learnt beside one base model: with --share-bases" in " ".join(capsys.readouterr().out.split())


def test_other_forms_are_held_whole(root: Path) -> None:
    graph = replace(versions(root, "mood")[0], form="onnx", base="")
    assert "it answers in the form onnx" in sharing([graph], further=True).told(graph)


def test_workers_are_told_all_of_a_slot() -> None:
    slot = Slot("m@1", Path("somewhere"), "torch", "0" * 64, "a base")
    assert Slot.of(json.loads(json.dumps(slot.plain))) == slot
