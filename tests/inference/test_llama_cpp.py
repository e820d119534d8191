"""llama.cpp as a network: with a stand-in that computes by torch, and with the program itself where it is installed."""

from __future__ import annotations

import math
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.inference.causal_artifacts import causal_artifact
from tunesmith.data.records import Example
from tunesmith.errors import ArtifactError, MissingExtraError, RecipeError
from tunesmith.inference import llama_cpp
from tunesmith.inference.artifact import Origin, load_artifact, save_artifact
from tunesmith.inference.ensemble import Member
from tunesmith.inference.gguf_file import export_gguf, read_gguf
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.inference.predictor import Predictor
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.generation import settings
from tunesmith.models.model import Model
from tunesmith.tasks import TextGeneration
from tunesmith.tasks.encoding import Generation, TextEncoder
from tunesmith.tasks.heads import NoHead

PROMPTS = [
    "What is the capital of France?", "Name three colours.", "What is 2 + 2?", "Write a word that rhymes with cat.",
    "Who wrote Hamlet?", "What do bees make?", "How many days has a week?", "Say hello in Spanish.",
    "What is the opposite of hot?", "Which planet do we live on?", "What is water made of?", "Name a bird.",
    "What colour is the sky?", "Finish: once upon a", "What is the past tense of go?", "Name a fruit.",
    "What is the largest ocean?", "How many legs has a spider?", "What is the square of 5?", "Name a month.",
]  # fmt: skip


class Program:
    """What of llama-cpp-python is used, computed by the model that transformers reads from the file."""

    def __init__(self, path: str, *, n_ctx: int, **_more: object) -> None:
        if not Path(path).exists():
            raise ValueError("no such file")
        self._model, _ = read_gguf(Path(path))
        self._window = n_ctx
        self.reset()

    def n_ctx(self) -> int:
        return self._window

    def reset(self) -> None:
        self._ids: list[int] = []

    @property
    def n_tokens(self) -> int:
        return len(self._ids)

    def eval(self, ids: list[int]) -> None:
        self._ids += ids
        assert self.n_tokens <= self._window
        with torch.inference_mode():
            logits = self._model(torch.tensor([self._ids])).logits[0].numpy()
        self.scores = np.zeros((self._window, logits.shape[1]), dtype=np.float32)
        self.scores[: len(logits)] = logits


@pytest.mark.filterwarnings("ignore")
def test_a_task_asks_llama_cpp_as_it_asks_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gguf")
    artifact = causal_artifact(tmp_path)
    file = export_gguf(artifact, tmp_path / "model.gguf").path
    predictor = Predictor.load(artifact, device="cpu")
    monkeypatch.setattr(llama_cpp, "import_extra", lambda module, extra: types.SimpleNamespace(Llama=Program))
    network = LlamaCppNetwork.load(file, predictor.model.head, window=128, threads=1, ends=(2,))
    asked = [Example("1", "hi", "yes"), Example("2", "the city", "no no")]
    member = Member(network, predictor.task)  # type: ignore[arg-type]
    encoded = predictor.encode(asked)
    batch = predictor.task.collate(encoded, 0)
    rows = predictor.task.infer(network, batch)
    found = member.decode(predictor.encoder, asked, encoded, rows)
    for ours, theirs in zip(predictor.predict(asked), found, strict=True):
        assert theirs.label == ours.label
        assert math.isclose(theirs.log_likelihood, ours.log_likelihood, rel_tol=1e-4)
    with pytest.raises(RecipeError, match="writes greedily"):
        network.generate(batch, Generation(beams=2))
    with pytest.raises(RecipeError, match="no hidden states"):
        network.hidden(batch)
    with pytest.raises(ArtifactError, match="does not load the file"):
        LlamaCppNetwork.load(tmp_path / "no.gguf", NoHead(), window=8, threads=1)


def test_without_the_package_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    with pytest.raises(MissingExtraError) as caught:
        LlamaCppNetwork.load(tmp_path / "model.gguf", NoHead(), window=8, threads=1)
    assert "tunesmith[llama-cpp]" in caught.value.to_do


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_smollm2_answers_greedily_as_in_torch(tmp_path: Path) -> None:
    """The file in float16 gives the same greedy answer as torch on at least 18 of 20 prompts."""
    pytest.importorskip("llama_cpp")
    backbone = load(locate("smollm2-135m"), dropout=None, kind="causal_lm")
    task = TextGeneration(max_new_tokens=24).prepared([], backbone.tokenizer)
    encoder = TextEncoder.of(backbone.tokenizer, 512)
    origin = Origin("task: text_generation\n", {}, "smollm2-135m", {}, 0)
    save_artifact(tmp_path / "artifact", Model(backbone, task), task, encoder, origin, "")
    loaded = load_artifact(tmp_path / "artifact")
    file = export_gguf(tmp_path / "artifact", tmp_path / "model.gguf").path
    ends = settings(loaded.model.body, Generation()).eos_token_id or []
    network = LlamaCppNetwork.load(file, loaded.model.head, window=256, threads=1, ends=ends)
    predictor = Predictor(loaded.model, loaded.task, loaded.encoder)
    asked = [Example(str(number), text) for number, text in enumerate(PROMPTS)]
    ours = predictor.predict(asked)
    encoded = predictor.encode(asked)
    rows = [row for one in encoded for row in task.infer(network, task.collate([one], 0))]
    theirs = Member(network, loaded.task).decode(loaded.encoder, asked, encoded, rows)  # type: ignore[arg-type]
    same = sum(one.label == other.label for one, other in zip(ours, theirs, strict=True))
    for text in PROMPTS:
        split = network.program.tokenize(text.encode(), add_bos=False, special=True)
        assert split == loaded.encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert same >= 18
