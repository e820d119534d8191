"""A GGUF file is read back by transformers: the same logits, the same tokens, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from tests.conftest import build_chat_tokenizer
from tests.inference.causal_artifacts import causal_artifact
from tunesmith import cli
from tunesmith.errors import ArtifactError
from tunesmith.exporting import export
from tunesmith.inference.artifact import WEIGHTS, file_hash, load_artifact
from tunesmith.inference.gguf_file import SOURCE, Precision, export_gguf, paired, read_gguf

gguf = pytest.importorskip("gguf")
pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS = ["The big city and the, 1998!", "你好，世界  two", "<|im_start|>user\nit's\n<|im_end|>"]


def logits_of(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_the_file_gives_the_same_logits_and_tokens(tmp_path: Path, precision: Precision, tied: bool) -> None:
    artifact = causal_artifact(tmp_path, tied=tied)
    out = tmp_path / "gguf" / "model.gguf"
    out.parent.mkdir()
    told = export_gguf(artifact, out, precision)
    loaded = load_artifact(artifact)
    model, tokenizer = read_gguf(out)
    ours = loaded.model.body
    # The weights are numbers that float16 holds exactly, so nothing but the form can differ; 8 bits round.
    limit = 1e-5 if precision == "f16" else 0.05
    for text in TEXTS:
        ids = list(loaded.encoder.tokenizer(text)["input_ids"])
        assert list(tokenizer(text, add_special_tokens=False)["input_ids"]) == [i for i in ids if i != 3]
        expected = logits_of(ours, ids)
        assert (logits_of(model, ids) - expected).abs().max() <= limit * expected.abs().max()
    assert tokenizer.chat_template == loaded.encoder.tokenizer.chat_template
    assert told.bytes == out.stat().st_size
    reader = gguf.GGUFReader(out)
    assert len(reader.tensors) == told.tensors == (20 if tied else 21)
    assert reader.get_field(SOURCE).contents() == file_hash(artifact / WEIGHTS)
    assert reader.get_field("tokenizer.ggml.pre").contents() == "gpt-2"
    assert reader.get_field("tokenizer.ggml.add_bos_token").contents() is True
    assert [path.name for path in out.parent.iterdir()] == ["model.gguf"]


def test_export_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact, out = causal_artifact(tmp_path), tmp_path / "x.gguf"
    arguments = ["export", str(artifact), "--form", "gguf-q8_0", "--out", str(out)]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 0
    assert "matrices in q8_0" in capsys.readouterr().out
    assert gguf.GGUFReader(out).get_field(SOURCE).contents() == file_hash(artifact / WEIGHTS)


def test_a_file_beside_its_weights_goes_on_naming_them_when_a_further_form_comes(tmp_path: Path) -> None:
    artifact = causal_artifact(tmp_path)
    for form in ("gguf", "gguf-q8_0"):
        export(artifact, form)
    for name in ("model.gguf", "model-q8_0.gguf"):
        assert gguf.GGUFReader(artifact / name).get_field(SOURCE).contents() == file_hash(artifact / WEIGHTS)


def test_rows_that_are_turned_together_stand_together() -> None:
    rows = torch.arange(8.0)[:, None]
    assert paired(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_damaged_export_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail: without the right order of rows the logits are others."""
    artifact = causal_artifact(tmp_path)
    monkeypatch.setattr("tunesmith.inference.gguf_file.paired", lambda weight, heads: weight)
    export_gguf(artifact, tmp_path / "model.gguf")
    model, _ = read_gguf(tmp_path / "model.gguf")
    expected = logits_of(load_artifact(artifact).model.body, [3, 20, 30, 40])
    assert (logits_of(model, [3, 20, 30, 40]) - expected).abs().max() > 0.01


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"attention_bias": True}, "has biases in its layers"),
        ({"hidden_act": "gelu"}, "has the activation gelu"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}, "stretches its positions"),
    ],
)
def test_what_the_format_has_no_place_for_is_refused(tmp_path: Path, more: dict, said: str) -> None:
    artifact = causal_artifact(tmp_path, **more)
    with pytest.raises(ArtifactError, match=said):
        export_gguf(artifact, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


def test_other_architectures_tasks_and_tokenizers_are_refused(tmp_path: Path, finished_run: Path) -> None:
    with pytest.raises(ArtifactError, match="is no causal language model"):
        export_gguf(finished_run / "artifact", tmp_path / "model.gguf")
    config = GPT2Config(vocab_size=len(build_chat_tokenizer()) + 3, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    other = causal_artifact(tmp_path, GPT2LMHeadModel(config))
    with pytest.raises(ArtifactError, match="is of type 'gpt2', not llama"):
        export_gguf(other, tmp_path / "model.gguf")
    artifact = causal_artifact(tmp_path, changed={"type": "Whitespace"})
    with pytest.raises(ArtifactError, match="The tokenizer is none of those"):
        export_gguf(artifact, tmp_path / "model.gguf")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_text("no", encoding="utf-8")
    with pytest.raises(ArtifactError, match="is no GGUF file"):
        read_gguf(tmp_path / "model.gguf")
