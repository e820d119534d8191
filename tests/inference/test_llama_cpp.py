"""llama.cpp as a network: with a stand-in that computes by torch, and with the program itself where it is installed."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.inference.causal_artifacts import causal_artifact
from tunesmith import cli
from tunesmith.data.records import Example, Prediction, Turn
from tunesmith.errors import ArtifactError, MissingExtraError, RecipeError
from tunesmith.exporting import export
from tunesmith.inference.artifact import Origin, load_artifact, save_artifact, seal
from tunesmith.inference.forms import forms_of
from tunesmith.inference.gguf_file import export_gguf, read_gguf
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.inference.llama_program import AT_ONCE, LlamaProgram
from tunesmith.inference.predictor import Predictor
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.generation import written_tokens
from tunesmith.models.model import Model
from tunesmith.proving import Compared, prove_forms
from tunesmith.tasks import PromptClassification, TextGeneration
from tunesmith.tasks.encoding import Generation, TextEncoder

pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore")

needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="needs the extra 'llama-cpp', which make test-all compiles",
)

PROMPTS = [
    "What is the capital of France?", "Name three colours.", "What is 2 + 2?", "Write a word that rhymes with cat.",
    "Who wrote Hamlet?", "What do bees make?", "How many days has a week?", "Say hello in Spanish.",
    "What is the opposite of hot?", "Which planet do we live on?", "What is water made of?", "Name a bird.",
    "What colour is the sky?", "Finish: once upon a", "What is the past tense of go?", "Name a fruit.",
    "What is the largest ocean?", "How many legs has a spider?", "What is the square of 5?", "Name a month.",
]  # fmt: skip

TEXTS = [
    Example("short", "hi", "yes"),
    Example("empty", "", "no no"),
    Example("chinese", "今天天气很好，我们去上海。", "好的"),
    Example("long", "the city and 1998 " * 90, "no"),
    Example("dialogue", "", "the end", turns=(Turn("user", "big the"), Turn("assistant", "no"), Turn("user", "city"))),
]


class StandIn:
    """What reads tokens as llama.cpp does, computed by the model that transformers reads from the file."""

    def __init__(self, file: Path) -> None:
        self._model, _ = read_gguf(file)
        self.vocabulary = int(self._model.config.vocab_size)
        self._ids: list[int] = []

    def read(self, ids: Sequence[int], places: Sequence[int], *, room: int = 0) -> Tensor:
        self._ids = list(ids)
        return self._logits()[places]

    def go_on(self, token: int) -> Tensor:
        self._ids.append(token)
        return self._logits()[-1]

    def _logits(self) -> Tensor:
        with torch.inference_mode():
            return self._model(torch.tensor([self._ids])).logits[0]


def beside(ours: Sequence[Prediction], theirs: Sequence[Prediction], near: float) -> None:
    """See that answers are the same and as likely, within a share of the number."""
    for one, other in zip(ours, theirs, strict=True):
        assert other.label == one.label
        for number, wanted in ((other.log_likelihood, one.log_likelihood), (other.confidence, one.confidence)):
            assert math.isclose(number, wanted, rel_tol=near) or (math.isnan(number) and math.isnan(wanted))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a tiny language model that holds torch's weights and a GGUF file."""
    made = causal_artifact(tmp_path_factory.mktemp("causal"))
    export(made, "gguf")
    return made


@pytest.fixture(scope="module")
def torchs(artifact: Path) -> Predictor:
    return Predictor.load(artifact, device="cpu", backend="torch")


@pytest.fixture
def stand_in(artifact: Path, torchs: Predictor) -> LlamaCppNetwork:
    return LlamaCppNetwork(StandIn(artifact / "model.gguf"), torchs.model.head, ends=(2,))


def test_a_task_asks_llama_cpp_as_it_asks_torch(torchs: Predictor, stand_in: LlamaCppNetwork) -> None:
    beside(torchs.predict(TEXTS), Predictor(stand_in, torchs.task, torchs.encoder).predict(TEXTS), 1e-4)


@pytest.mark.parametrize(
    "how",
    [Generation(8), Generation(8, repetition_penalty=1.8), Generation(8, no_repeat_ngram=1), Generation(3, end=9)],
)
def test_it_writes_as_torch_does(how: Generation, torchs: Predictor, stand_in: LlamaCppNetwork) -> None:
    batch = torchs.task.collate(torchs.encode([replace(one, label=None) for one in TEXTS]), 0)
    assert isinstance(torchs.model, Model)
    expected = written_tokens(torchs.model.body, batch, how)
    heard: list[int] = []
    found = stand_in.generate(batch, how, heard.append)
    assert [one.tolist() for one in found] == [one.tolist() for one in expected]
    assert heard == [token for one in expected for token in one.tolist()]


def test_what_is_drawn_does_not_depend_on_the_texts_beside_it(torchs: Predictor, stand_in: LlamaCppNetwork) -> None:
    how = Generation(8, temperature=1.5, top_p=0.9)
    batch = torchs.task.collate(torchs.encode([replace(one, label=None) for one in TEXTS]), 0)
    found = stand_in.generate(batch, how)
    assert torch.equal(stand_in.generate(batch.rows(2, 3), how)[0], found[2])
    greedy = stand_in.generate(batch, Generation(8))
    assert any(not torch.equal(one, other) for one, other in zip(found, greedy, strict=True))


def test_what_llama_cpp_cannot_do_is_refused(torchs: Predictor, stand_in: LlamaCppNetwork) -> None:
    batch = torchs.task.collate(torchs.encode(TEXTS), 0)
    with pytest.raises(RecipeError, match="without beams"):
        stand_in.generate(batch, Generation(beams=2))
    with pytest.raises(RecipeError, match="no hidden states"):
        stand_in.hidden(batch)
    with pytest.raises(RecipeError, match="Only torch's form"):
        Predictor(stand_in, torchs.task, torchs.encoder).with_dropout(4)


def test_without_the_package_it_is_said_how_to_get_it(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtraError) as caught:
        Predictor.load(artifact, backend="gguf")
    assert "tunesmith[llama-cpp]" in caught.value.to_do


def test_an_artifact_may_hold_a_gguf_file_alone(
    artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "small"
    arguments = ["export", str(artifact), "--form", "gguf-q8_0", "--out", str(out)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    assert "matrices in q8_0" in capsys.readouterr().out
    description = json.loads((out / "artifact.json").read_text(encoding="utf-8"))
    assert forms_of(out, description) == ("gguf-q8_0",)
    assert not (out / "model.gguf").exists()
    assert not (out / "model.safetensors").exists()
    assert description["forms"]["gguf-q8_0"]["ends"] == [2]


@needs_llama_cpp
def test_the_file_answers_as_torch_does(artifact: Path, torchs: Predictor) -> None:
    files = Predictor.load(artifact, backend="gguf")
    assert isinstance(files.model, LlamaCppNetwork)
    ours, theirs = torchs.predict(TEXTS), files.predict(TEXTS)
    # llama.cpp rounds what goes into a product with a matrix in float16 to that; these weights lose nothing.
    beside(ours, theirs, 5e-3)
    assert any(len(one.input_ids) > AT_ONCE // 2 for item in files.encode(TEXTS) for one in item.pieces)


@needs_llama_cpp
@pytest.mark.parametrize("form", ["gguf", "gguf-q8_0"])
def test_answers_do_not_depend_on_the_texts_beside_them(form: str, artifact: Path, tmp_path: Path) -> None:
    place = artifact if form == "gguf" else export(artifact, "gguf-q8_0", tmp_path / "small").folder
    predictor = Predictor.load(place, backend=form)
    encoded = predictor.encode(TEXTS)
    together = predictor.logits(encoded)
    for item, row in zip(encoded, together, strict=True):
        assert torch.equal(predictor.logits([item])[0], row)
    again = Predictor.load(place, backend=form)
    for item, row in zip(reversed(encoded), reversed(together), strict=True):
        assert torch.equal(again.logits([item])[0], row), "nor on those before them"


@needs_llama_cpp
def test_a_text_longer_than_a_step_is_read_whole(tmp_path: Path) -> None:
    made = causal_artifact(tmp_path, window=1500, max_position_embeddings=2048)
    file = export_gguf(made, tmp_path / "model.gguf").path
    program, stand_in = LlamaProgram(file), StandIn(file)
    ids = [3, *(20 + place * 7 % 60 for place in range(1199))]
    places = [0, 5, AT_ONCE - 1, AT_ONCE, AT_ONCE + 1, 4 * AT_ONCE, 1199, 5]
    expected, found = stand_in.read(ids, places), program.read(ids, places, room=2)
    assert torch.allclose(found, expected, atol=5e-3 * float(expected.abs().max()))
    assert torch.equal(found[1], found[-1])
    for token in (30, 31):
        expected, found = stand_in.go_on(token), program.go_on(token)
        assert torch.allclose(found, expected, atol=5e-3 * float(expected.abs().max()))
    assert program.read(ids, []).shape == (0, program.vocabulary)


@needs_llama_cpp
def test_a_prompt_chooses_its_label_by_the_file(tmp_path: Path) -> None:
    task = PromptClassification(template="{text} big {label}", label_words={"a": "yes", "b": "no"})
    made = causal_artifact(tmp_path, task=task.prepared)
    export(made, "gguf")
    asked = [Example("1", "the city"), Example("2", "1998 and the end")]
    ours, theirs = (Predictor.load(made, device="cpu", backend=form).predict(asked) for form in ("torch", "gguf"))
    for one, other in zip(ours, theirs, strict=True):
        assert other.label == one.label
        assert other.scores == pytest.approx(one.scores, abs=5e-3)


@needs_llama_cpp
def test_parity_compares_the_file_and_sees_damage(artifact: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = [{"instruction": text, "output": "yes"} for text in PROMPTS]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    proof = prove_forms([artifact], file=texts)
    assert proof.is_sound
    torchs, files = proof.checks
    assert (torchs.form, files.form) == ("torch", "gguf")
    assert (files.reloaded, files.alone, files.changed_alone) == (0, 0, 0)
    assert 0 < files.logits < 0.01
    other = causal_artifact(tmp_path, seed=7)
    broken = export(artifact, "gguf", tmp_path / "broken").folder
    export_gguf(other, tmp_path / "other.gguf").path.replace(broken / "model.gguf")
    seal(broken)
    proof = prove_forms([artifact, broken], file=texts, how=Compared(reload=False))
    assert "answers differ from the first form" in " ".join(proof.checks[-1].problems)


@needs_llama_cpp
def test_llama_cpp_writes_nothing_to_the_terminal(artifact: Path) -> None:
    command = [sys.executable, "-m", "tunesmith", "predict", str(artifact), "--backend", "gguf", "--text", "the city"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)) == 1


@needs_llama_cpp
def test_a_file_that_llama_cpp_does_not_take_is_explained(
    artifact: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = export(artifact, "gguf", tmp_path / "broken").folder
    content = (broken / "model.gguf").read_bytes()
    (broken / "model.gguf").write_bytes(content[: len(content) // 2])
    seal(broken)
    arguments = ["predict", str(broken), "--text", "hi"]
    capfd.readouterr()
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    said = capfd.readouterr().err
    assert "llama.cpp does not load the file" in said
    assert len(said.strip().splitlines()) <= 6
    with pytest.raises(ArtifactError, match="does not load the file"):
        LlamaProgram(tmp_path / "no.gguf")


@pytest.mark.slow
@needs_llama_cpp
def test_smollm2_answers_greedily_as_in_torch(tmp_path: Path) -> None:
    """The file in float16 gives the same greedy answer as torch on at least 18 of 20 prompts."""
    backbone = load(locate("smollm2-135m"), dropout=None, kind="causal_lm")
    task = TextGeneration(max_new_tokens=24).prepared([], backbone.tokenizer)
    encoder = TextEncoder.of(backbone.tokenizer, 512)
    origin = Origin("task: text_generation\n", {}, "smollm2-135m", {}, 0)
    made = tmp_path / "artifact"
    save_artifact(made, Model(backbone, task), task, encoder, origin, "")
    export(made, "gguf")
    asked = [Example(str(number), text) for number, text in enumerate(PROMPTS)]
    ours, theirs = (Predictor.load(made, device="cpu", backend=form).predict(asked) for form in ("torch", "gguf"))
    same = sum(one.label == other.label for one, other in zip(ours, theirs, strict=True))
    assert same >= 18
    library = importlib.import_module("llama_cpp")
    program = library.Llama(str(made / "model.gguf"), n_ctx=256, vocab_only=True, verbose=False)
    tokenizer = load_artifact(made).encoder.tokenizer
    for text in [*PROMPTS, *(one.text for one in TEXTS)]:
        split = program.tokenize(text.encode(), add_bos=False, special=True)
        assert split == tokenizer(text, add_special_tokens=False)["input_ids"]
