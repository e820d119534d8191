"""Loading bodies: what is refused, what is counted as missing, how long a window is, and how layers are numbered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    MambaConfig,
    PreTrainedModel,
    T5Config,
    T5Model,
)

from tests.builders import CLASSES, build_model
from tests.conftest import SIZES, build_tokenizer, save_tiny
from tunesmith.errors import ModelError, RecipeError
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.methods import METHODS
from tunesmith.models.anatomy import (
    attention_projections,
    body_dropout,
    enable_gradient_checkpointing,
    extend_token_types,
    layer_index,
    number_of_layers,
    set_dropout,
)
from tunesmith.models.backbone import Backbone, load, load_saved, save_tokenizer
from tunesmith.models.catalogue import locate
from tunesmith.tasks import SequenceClassification

VOCABULARY = len(build_tokenizer())
LLAMA = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **SIZES)
GPT2 = GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=2, eos_token_id=3)
DISTILBERT = DistilBertConfig(
    vocab_size=VOCABULARY, max_position_embeddings=64, dim=32, n_layers=2, n_heads=4, hidden_dim=48
)
DISTANCES: dict[str, Any] = {
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "norm_rel_ebd": "layer_norm",
    "position_buckets": 16,
}
DEBERTA = DebertaV2Config(vocab_size=VOCABULARY, max_position_embeddings=64, **DISTANCES, **SIZES)
BODIES: dict[str, Callable[[], PreTrainedModel]] = {
    "llama": lambda: LlamaModel(LLAMA),
    "gpt2": lambda: GPT2Model(GPT2),
    "distilbert": lambda: DistilBertModel(DISTILBERT),
    "deberta": lambda: DebertaV2Model(DEBERTA),
}
KINDS = ("bert", "mpnet", "roberta", *BODIES)


def read(folder: Path, dropout: float | None = None) -> Backbone:
    """Load from a folder."""
    return load(locate(str(folder)), dropout=dropout)


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


@pytest.fixture(scope="session")
def folders(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model_folder: Path,
    tiny_mpnet_folder: Path,
    tiny_roberta_folder: Path,
) -> dict[str, Path]:
    """One tiny model of each kind."""
    place = tmp_path_factory.mktemp("kinds")
    made = {name: save_tiny(place / name, build()) for name, build in BODIES.items()}
    return {"bert": tiny_model_folder, "mpnet": tiny_mpnet_folder, "roberta": tiny_roberta_folder, **made}


def set_in_config(folder: Path, **changes: object) -> None:
    """Change keys of config.json; None takes the key out."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_loads_whole_in_float32_without_a_pooler(folders: dict[str, Path], kind: str) -> None:
    backbone = read(folders[kind])
    assert backbone.missing == frozenset()
    assert {parameter.dtype for parameter in backbone.module.parameters()} == {torch.float32}
    assert not any("pooler" in name for name, _ in backbone.module.named_parameters())
    assert backbone.hidden_size == 32
    ids = torch.arange(6)[None]
    states = backbone.module(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    assert states.shape == (1, 6, 32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_longest_window_runs_and_has_the_length_that_was_promised(folders: dict[str, Path], kind: str) -> None:
    backbone = read(folders[kind])
    assert backbone.max_length == 64
    ids = torch.full((1, backbone.max_length), 20)
    assert backbone.module.eval()(input_ids=ids).last_hidden_state.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_form_takes_the_same_weights_and_computes_the_same(
    folders: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    backbone = read(folders[kind])
    backbone.module.config.save_pretrained(tmp_path)
    save_tokenizer(backbone.tokenizer, tmp_path)
    again = load_saved(tmp_path, pooling=backbone.pooling)
    again.module.load_state_dict(backbone.module.state_dict())
    ids = torch.arange(8)[None]
    first, second = (each.module.eval()(input_ids=ids).last_hidden_state for each in (backbone, again))
    assert torch.equal(first, second)
    assert again.max_length == backbone.max_length
    text = "Anna went to Rome. 张三在北京"
    assert again.tokenizer(text)["input_ids"] == backbone.tokenizer(text)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_numbered_from_the_embeddings_up(folders: dict[str, Path], kind: str) -> None:
    module = read(folders[kind]).module
    numbers = {name: layer_index(name, module) for name, _ in module.named_parameters()}
    above = {name for name, number in numbers.items() if number == 3}
    below = {name for name, number in numbers.items() if number == 0}
    assert number_of_layers(module) == 2
    assert set(numbers.values()) == ({0, 1, 2, 3} if kind in ("llama", "gpt2") else {0, 1, 2})
    assert above <= {"norm.weight", "ln_f.weight", "ln_f.bias"}
    assert below == {name for name in numbers if not any(f".{n}." in name for n in (0, 1))} - above


def test_parameters_of_a_head_lie_above_the_layers(tiny_model_folder: Path) -> None:
    assert layer_index("head.output.weight", read(tiny_model_folder).module) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_reaches_every_place_that_the_model_has(folders: dict[str, Path], kind: str) -> None:
    backbone = read(folders[kind], dropout=0.25)
    rates = {part.p for part in backbone.module.modules() if isinstance(part, torch.nn.Dropout)}
    assert rates <= {0.25}
    assert body_dropout(backbone.module) == 0.25
    ids = torch.arange(20)[None]
    backbone.module.train()
    torch.manual_seed(0)
    first, second = (backbone.module(input_ids=ids).last_hidden_state for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mpnet"])
def test_gradients_are_the_same_with_checkpointing(folders: dict[str, Path], kind: str) -> None:
    gradients = []
    for is_used in (False, True):
        module = read(folders[kind], dropout=0.0).module.train()
        if is_used:
            enable_gradient_checkpointing(module)
        module(input_ids=torch.arange(6)[None]).last_hidden_state.square().sum().backward()
        gradients.append([p.grad for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("kind", ["bert", "mpnet", "roberta", "llama", "distilbert", "deberta"])
def test_query_and_value_projections_are_found(folders: dict[str, Path], kind: str) -> None:
    module = read(folders[kind]).module
    query, value = attention_projections(module)
    assert sum(name.endswith((f".{query}", f".{value}")) for name, _ in module.named_modules()) == 4


def test_only_decoders_are_read_at_their_last_token(folders: dict[str, Path]) -> None:
    assert {kind: read(folders[kind]).pooling for kind in KINDS} == {
        kind: "last" if kind in ("llama", "gpt2") else "cls" for kind in KINDS
    }


def test_token_types_grow_without_changing_what_the_body_computes(tiny_model_folder: Path) -> None:
    module = read(tiny_model_folder).module.eval()
    ids = torch.arange(6)[None]
    before = module(input_ids=ids).last_hidden_state
    assert extend_token_types(module, 3) == 2
    assert module.config.type_vocab_size == 5
    for kind in (0, 2, 3, 4):
        after = module(input_ids=ids, token_type_ids=torch.full_like(ids, kind)).last_hidden_state
        assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ["mpnet", "roberta", "distilbert", "deberta", "llama", "gpt2"])
def test_bodies_without_kinds_of_tokens_are_left_as_they_are(folders: dict[str, Path], kind: str) -> None:
    module = read(folders[kind]).module
    names = [name for name, _ in module.named_parameters()]
    assert extend_token_types(module, 3) is None
    assert [name for name, _ in module.named_parameters()] == names


def test_what_a_checkpoint_lacks_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    lost = {name: weights.pop(name) for name in list(weights) if "layer.1.output" in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert read(folder).missing == frozenset(lost)


def test_a_body_is_taken_out_of_a_whole_model(tmp_path: Path) -> None:
    whole = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **SIZES))
    backbone = read(save_tiny(tmp_path / "whole", whole))
    assert type(backbone.module) is BertModel
    assert backbone.missing == frozenset()
    expected = whole.bert.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in backbone.module.state_dict().items())


@pytest.mark.parametrize("method", ["houlsby", "prompt_tuning", "lora"])
def test_an_artifact_is_no_body_where_its_method_could_not_be_merged(
    method: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    model, task, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES, METHODS[method]())
    METHODS[method]().merge(model)
    save_artifact(tmp_path / "a", model.eval(), task, encoder, Origin("{}", {}, "x", {}, 1, {"name": method}), "")
    if method == "lora":
        assert not load(locate(str(tmp_path / "a")), dropout=None).missing
        return
    with pytest.raises(ModelError, match="could not be merged"):
        load(locate(str(tmp_path / "a")), dropout=None)


def test_settings_left_in_the_tokenizer_cut_no_text(folder: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(8)
    tokenizer.backend_tokenizer.enable_padding(length=16)
    tokenizer.save_pretrained(folder)
    loaded = read(folder).tokenizer.backend_tokenizer
    assert len(loaded.encode("good " * 30, add_special_tokens=False).ids) == 30


def test_a_tokenizer_without_padding_pads_with_its_end(folder: Path) -> None:
    set_in_tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    set_in_tokenizer.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(set_in_tokenizer | {"eos_token": "[SEP]"}))
    assert read(folder).tokenizer.pad_token == "[SEP]"


def test_fast_attention_is_used_where_the_kind_of_model_has_it(folders: dict[str, Path]) -> None:
    used = {kind: read(folders[kind]).module.config._attn_implementation for kind in ("bert", "roberta", "llama")}
    assert set(used.values()) == {"sdpa"}


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:50])


def make_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def make_foreign(folder: Path) -> None:
    save_file({"other.weight": torch.zeros(2)}, folder / "model.safetensors", metadata={"format": "pt"})


def make_smaller(folder: Path) -> None:
    set_in_config(folder, hidden_size=16)


def make_encoder_decoder(folder: Path) -> None:
    T5Model(T5Config(vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4)).save_pretrained(folder)


def drop_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def add_pieces(folder: Path) -> None:
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["newpiece", "anotherpiece"])
    tokenizer.save_pretrained(folder)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights cut short": (cut_weights, "weights are damaged"),
    "weights cut in their header": (cut_header, "weights are damaged"),
    "weights missing": (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    "a pickle": (make_pickle, "are a pickle"),
    "weights of another model": (make_foreign, "none of the weights"),
    "weights of another size": (make_smaller, "cannot be loaded"),
    "config missing": (lambda f: (f / "config.json").unlink(), "config.json is missing"),
    "config cut short": (lambda f: (f / "config.json").write_text('{"a": '), "not readable JSON"),
    "config in binary": (lambda f: (f / "config.json").write_bytes(b"\xff\x00\xfe"), "not readable JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[1]"), "not hold a JSON object"),
    "config without a type": (lambda f: set_in_config(f, model_type=None), "does not say its model_type"),
    "an unknown type": (lambda f: set_in_config(f, model_type="brent"), "no model_type 'brent'"),
    "a size that is no number": (lambda f: set_in_config(f, hidden_size="wide"), "expected int"),
    "heads that do not divide": (lambda f: set_in_config(f, num_attention_heads=5), "cannot be loaded"),
    "code of its own": (lambda f: set_in_config(f, auto_map={"AutoModel": "evil.Model"}), "code of its own"),
    "an encoder-decoder": (make_encoder_decoder, "no text body"),
    "a model for images": (lambda f: set_in_config(f, model_type="vit"), "no text body"),
    "tokenizer missing": (drop_tokenizer, "holds no tokenizer"),
    "tokenizer cut short": (lambda f: (f / "tokenizer.json").write_text('{"a": '), "tokenizer cannot be loaded"),
    "tokenizer empty": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer cannot be loaded"),
    "tokenizer of another model": (add_pieces, "pieces and the model only"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_folder_is_refused_with_a_reason(folder: Path, what: str) -> None:
    spoil, complaint = SPOILT[what]
    spoil(folder)
    with pytest.raises(ModelError, match=complaint) as caught:
        read(folder)
    assert caught.value.where
    assert caught.value.to_do
    assert len(str(caught.value).splitlines()) <= 6


def test_dropout_asked_of_a_model_without_any_is_an_error() -> None:
    with pytest.raises(RecipeError, match="'mamba' has no dropout"):
        set_dropout(MambaConfig(), 0.1)


def test_checkpointing_asked_of_a_model_that_cannot_is_an_error(tiny_mpnet_folder: Path) -> None:
    with pytest.raises(RecipeError, match="MPNetModel cannot compute activations again"):
        enable_gradient_checkpointing(read(tiny_mpnet_folder).module)
