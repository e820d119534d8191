"""Frozen layers in few bits: true to the formula, in the way of no method, and gone before anything is served."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from scipy.stats import norm
from torch import nn
from transformers import PreTrainedModel

from tests.builders import (
    TASK_CASES,
    applies,
    build_learner,
    build_material,
    folder_of,
    run_steps,
    write_recipe,
)
from tests.methods.test_conformance import EXPECTED, origin, small
from tunesmith import pipeline
from tunesmith.errors import ArtifactError, MissingExtraError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.adapters import AdapterSet, learnt_weights
from tunesmith.inference.artifact import Origin, load_artifact, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS, Method
from tunesmith.models.anatomy import enable_gradient_checkpointing
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.models.quantization import (
    Quantization,
    QuantizedForward,
    codes_of,
    dequantize,
    linear_layers,
    memory,
    quantize,
    quantized_layers,
)
from tunesmith.tasks import Task
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.training.dropout import use_bit_dropout
from tunesmith.training.fitting import Fitting
from tunesmith.training.loop import Step
from tunesmith.training.objectives import OBJECTIVES

pytest.importorskip("bitsandbytes", reason="needs the extra 'quantize'")

KINDS: tuple[Quantization, ...] = ("nf4", "int8")
MOVING = ("full", "top_layers", "gradual_unfreezing")
"""Methods that move the matrices themselves."""
BESIDE = [name for name in METHODS if name not in (*MOVING, "none")]
CASES = ("single_label", "tokens_casing", "dialogues")


def quantized_model(
    folder: Path, case: str, kind: Quantization | Literal[""], method: Method
) -> tuple[Model, Task, TextEncoder]:
    task, examples = TASK_CASES[case]
    backbone = load(locate(str(folder)), dropout=None, kind=task.body)
    task = task.prepared(examples, backbone.tokenizer)
    torch.manual_seed(5)
    model = Model(backbone, task)
    if kind:
        model.quantized = quantize(model.body, kind, {name.removeprefix("body.") for name in model.lacking})
    model.rule = method.apply(model)
    return model, task, TextEncoder.of(backbone.tokenizer, backbone.max_length, backbone.prefix)


def normal_float_levels() -> torch.Tensor:
    """Dettmers et al. 2023, eq. 4, with the outermost quantile of their code: 8 levels above zero, 7 below, zero."""
    outer = 0.5 * ((1 - 1 / 32) + (1 - 1 / 30))
    above = norm.ppf(torch.linspace(outer, 0.5, 9)[:-1].numpy())
    below = -norm.ppf(torch.linspace(outer, 0.5, 8)[:-1].numpy())
    levels = torch.tensor([*above, 0.0, *below], dtype=torch.float32).sort().values
    return levels / levels.max()


@pytest.mark.parametrize("shape", [(32, 32), (48, 32), (5, 7), (128, 64), (3, 129)])
def test_nf4_is_the_nearest_normal_float_of_each_block(shape: tuple[int, int], tiny_model_folder: Path) -> None:
    """Widths that are no multiple of 64 too, which the CPU kernel of bitsandbytes 0.50 gets wrong if it is let."""
    torch.manual_seed(0)
    layer = nn.Linear(shape[1], shape[0])
    flat = layer.weight.detach().flatten()
    blocks = [flat[start : start + 64] for start in range(0, len(flat), 64)]
    levels = normal_float_levels()
    nearest = [levels[(block[:, None] / block.abs().max() - levels).abs().argmin(1)] for block in blocks]
    scales = torch.stack([block.abs().max() for block in blocks])
    body = holding(layer, tiny_model_folder)
    quantize(body, "nf4")
    found = quantized_layers(body)["encoder.layer"].weight.detach().flatten()
    # Double quantisation moves each scale by at most the largest gap of the 8-bit map, which is 1/64 of their spread.
    spread = float((scales - scales.mean()).abs().max())
    for block, scale, place in zip(nearest, scales, range(len(blocks)), strict=True):
        ours = found[64 * place : 64 * place + 64]
        torch.testing.assert_close(ours, block * scale, atol=spread / 64 + 1e-6, rtol=1e-4)


def holding(layer: nn.Linear, folder: Path) -> PreTrainedModel:
    """A body whose only linear layer is this one."""
    body = load(locate(str(folder)), dropout=None).module
    body.register_module("encoder", nn.ModuleDict({"layer": layer}))
    return body


@pytest.mark.parametrize("case", ["tokens_casing", "dialogues"])
def test_int8_is_each_row_by_its_largest_weight(case: str, request: pytest.FixtureRequest) -> None:
    body = load(locate(str(folder_of(case, request))), dropout=None, kind=TASK_CASES[case][0].body).module
    before = {name: layer.weight.detach().clone() for name, layer in linear_layers(body).items()}
    quantize(body, "int8")
    for name, weight in before.items():
        scale = weight.half().float().abs().amax(1, keepdim=True)
        expected = (weight.half().float() / scale * 127).round() * scale / 127
        found = body.get_parameter(f"{name}.parametrizations.weight.original0")
        assert found.dtype == torch.int8
        off = (quantized_layers(body)[name].weight - expected).abs() / scale
        assert float(off.max()) < 1.01 / 127  # a tie may be rounded either way
        assert float((off > 1e-4).float().mean()) < 0.01


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["tokens_casing", "dialogues"])
def test_the_layers_compute_what_the_dequantised_ones_do(
    kind: Quantization, case: str, request: pytest.FixtureRequest
) -> None:
    torch.manual_seed(1)
    body = load(locate(str(folder_of(case, request))), dropout=None, kind=TASK_CASES[case][0].body).module.eval()
    names = {name for name, _ in body.named_parameters()}
    table = body.get_input_embeddings().weight.detach().clone()
    told = quantize(body, kind)
    states = torch.randn(2, 7, 32, requires_grad=True)
    layer = next(iter(quantized_layers(body).values()))
    ours = layer(states)
    ours.square().sum().backward()
    gradient = states.grad
    dequantize(body)
    plain = torch.nn.functional.linear(other := states.detach().requires_grad_(), layer.weight, layer.bias)
    plain.square().sum().backward()
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(gradient, other.grad, atol=1e-5, rtol=1e-5)
    assert {name for name, _ in body.named_parameters()} == names
    assert type(layer) is nn.Linear
    assert not quantized_layers(body)
    assert torch.equal(table, body.get_input_embeddings().weight)
    assert told.bytes_before == memory(body)
    assert told.layers == (12 if case == "tokens_casing" else 14)


def test_activations_can_be_computed_again_beside_quantised_weights(tiny_llama_folder: Path) -> None:
    losses = []
    for again in (False, True):
        model, task, encoder = quantized_model(tiny_llama_folder, "dialogues", "nf4", METHODS["lora"]())
        if again:
            enable_gradient_checkpointing(model.body)
        material = build_material(task, encoder, TASK_CASES["dialogues"][1])
        losses.append([step.loss for step in run_steps(build_learner(model), material, steps=4, rate=1e-2)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_the_matrix_is_the_rounded_one(kind: Quantization, tiny_model_folder: Path) -> None:
    body = load(locate(str(tiny_model_folder)), dropout=None).module
    quantize(body, kind)
    for layer in quantized_layers(body).values():
        assert isinstance(layer.forward, QuantizedForward)
        matrix = layer.forward.codec.matrix(codes_of(layer), torch.bfloat16)
        torch.testing.assert_close(matrix, layer.weight.bfloat16())


def test_a_matrix_takes_an_eighth_or_a_quarter_of_its_memory(tiny_model_folder: Path) -> None:
    even = torch.linspace(-1, 1, 10_001)
    nearest = (even[:, None] - normal_float_levels()).abs().min(1).values
    cases: dict[Quantization, tuple[float, float]] = {
        "nf4": (0.13, float(nearest.norm() / even.norm())),
        "int8": (0.26, 1 / 254),
    }
    for kind, (share, error) in cases.items():
        body = holding(nn.Linear(512, 1024, bias=False), tiny_model_folder)
        whole = memory(body)
        told = quantize(body, kind)
        assert told.bytes_before == whole
        assert told.bytes_after == memory(body)
        assert whole - memory(body) > (1 - share) * 4 * 512 * 1024 - 2000
        assert told.uncounted == (512 * 1024 // 2 if kind == "nf4" else 0)
        assert told.error == pytest.approx(error, rel=0.03)  # nn.Linear's weights are uniform


def test_rows_of_zeros_stay_zero(tiny_model_folder: Path) -> None:
    for kind in KINDS:
        layer = nn.Linear(64, 8)
        nn.init.zeros_(layer.weight[:4])
        body = holding(layer, tiny_model_folder)
        quantize(body, kind)
        assert torch.equal(layer.weight[:4], torch.zeros(4, 64))


def test_an_output_layer_and_shared_matrices_stay_as_they_are(tiny_llama_folder: Path) -> None:
    body = load(locate(str(tiny_llama_folder)), dropout=None, kind="causal_lm").module
    shared = body.get_submodule("model.layers.0.self_attn.k_proj").get_parameter("weight")
    body.get_submodule("model.layers.1.self_attn.k_proj").register_parameter("weight", shared)
    names = set(linear_layers(body))
    assert "lm_head" not in names
    assert len(names) == 12
    assert not any(name.endswith("k_proj") for name in names)


def test_what_the_checkpoint_lacked_is_not_quantised(tiny_model_folder: Path) -> None:
    body = load(locate(str(tiny_model_folder)), dropout=None).module
    name = "encoder.layer.1.output.dense"
    quantize(body, "nf4", {f"{name}.weight"})
    assert name not in quantized_layers(body)
    assert "encoder.layer.0.output.dense" in quantized_layers(body)


@pytest.mark.parametrize(("kind", "case"), [*(("nf4", case) for case in CASES), ("int8", "tokens_casing")])
@pytest.mark.parametrize("name", BESIDE)
def test_every_method_beside_frozen_weights_survives_merge_save_and_load(
    name: str, kind: Quantization, case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if not applies(name, case):
        return
    _, examples = TASK_CASES[case]
    method = small(name)
    model, task, encoder = quantized_model(folder_of(case, request), case, kind, method)
    codes = {key: value.clone() for key, value in model.named_parameters() if not value.is_floating_point()}
    allowed = {key for key, _ in model.named_parameters() if key in model.lacking or EXPECTED[name](key)}
    assert {key for key, value in model.named_parameters() if value.requires_grad} == allowed
    learner = build_learner(model)
    steps = run_steps(learner, build_material(task, encoder, examples), steps=3, rate=1e-2)
    assert all(0 < step.loss < 100 for step in steps)
    assert codes
    assert all(torch.equal(value, codes[key]) for key, value in model.named_parameters() if key in codes)
    learner.weights.finish()
    trained = Predictor(model.eval(), task, encoder)
    encoded = [task.encode(example, encoder) for example in examples]
    held = trained.logits(encoded)
    dequantize(model.body)
    plain = trained.logits(encoded)
    method.merge(model)
    merged = trained.logits(encoded)
    for one, two, three in zip(held, plain, merged, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(two, three, atol=1e-5, rtol=1e-4)
    assert all(value.dtype == torch.float32 for value in model.parameters())
    save_artifact(tmp_path / "artifact", model, task, encoder, origin(name), "")
    loaded = Predictor.load(tmp_path / "artifact", device="cpu")
    assert all(map(torch.equal, merged, loaded.logits(encoded)))


@pytest.mark.parametrize("name", ["lora", "dora", "houlsby", "prefix_tuning"])
def test_the_gradients_are_those_of_the_dequantised_model(name: str, tiny_llama_folder: Path) -> None:
    found = []
    for plain in (False, True):
        torch.manual_seed(2)
        model, task, encoder = quantized_model(tiny_llama_folder, "dialogues", "nf4", small(name))
        if plain:
            dequantize(model.body)
        material = build_material(task, encoder, TASK_CASES["dialogues"][1])
        run_steps(build_learner(model), material, steps=2, rate=1e-2)
        found.append({key: value.detach() for key, value in model.named_parameters() if value.requires_grad})
    assert found[0].keys() == found[1].keys()
    for key, value in found[0].items():
        torch.testing.assert_close(value, found[1][key], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_lora_learns_beside_quantised_weights(kind: Quantization, case: str, request: pytest.FixtureRequest) -> None:
    for low in (False, True):
        model, task, encoder = quantized_model(folder_of(case, request), case, kind, METHODS["lora"]())
        use_bit_dropout(model)
        material = build_material(task, encoder, TASK_CASES[case][1])
        steps = run_steps(build_learner(model, low=low), material, steps=25, rate=1e-2, batch_size=8)
        assert sum(step.loss for step in steps[-5:]) < 0.9 * sum(step.loss for step in steps[:5])


@pytest.mark.parametrize(("objective", "case"), [("fgm", "tokens_casing"), ("dpo", "preferences")])
@pytest.mark.parametrize("low", [False, True])
def test_objectives_of_several_passes_learn_beside_quantised_weights(
    objective: str, case: str, low: bool, request: pytest.FixtureRequest
) -> None:
    model, task, encoder = quantized_model(folder_of(case, request), case, "nf4", METHODS["lora"]())
    learner = build_learner(model, OBJECTIVES[objective](), low=low)
    steps = run_steps(learner, build_material(task, encoder, TASK_CASES[case][1]), steps=12, rate=1e-2, batch_size=8)
    assert sum(step.loss for step in steps[-3:]) < sum(step.loss for step in steps[:3])


@pytest.mark.parametrize("name", MOVING)
def test_methods_that_move_the_matrices_are_refused(name: str, tiny_model_folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"moves 'body\.encoder\.layer.*few bits") as error:
        quantized_model(tiny_model_folder, "single_label", "nf4", small(name))
    assert error.value.where == "method and model.quantize"
    assert "lora" in error.value.to_do


def test_a_body_without_linear_layers_is_refused(tiny_model_folder: Path) -> None:
    body = load(locate(str(tiny_model_folder)), dropout=None).module
    body.register_module("encoder", nn.Identity())
    with pytest.raises(RecipeError, match="no linear layers") as error:
        quantize(body, "nf4")
    assert error.value.where == "model.quantize"


def test_without_bitsandbytes_the_extra_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)
    experiment = recipe(place)
    with pytest.raises(MissingExtraError, match="'bitsandbytes' is not installed") as error:
        pipeline.run(experiment, place / "run", quiet=True)
    assert "tunesmith[quantize]" in error.value.to_do
    assert not (place / "run").exists()


@pytest.mark.parametrize("value", ["int4", "fp4", True, 8])
def test_other_forms_are_refused(value: object, place: Path) -> None:
    with pytest.raises(RecipeError, match="quantize"):
        recipe(place, quantize=value)


def recipe(place: Path, method: str = "lora", quantize: object = "nf4", **training: object) -> Experiment:
    return Experiment.from_yaml(
        write_recipe(
            place,
            method={"name": method},
            model={"name": str(place / "model"), "quantize": quantize},
            training={"precision": "fp32", **training},
        )
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_serves_what_it_evaluated_and_says_what_quantising_did(
    kind: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = pipeline.run(recipe(place, quantize=kind), place / "run", quiet=True)
    (said,) = [note for note in result.report.notes if "linear layers" in note]
    assert "12 linear layers" in said
    assert " MB instead of " in said
    assert "differ from the pre-trained weights by " in said
    assert "bitsandbytes" in said
    assert said in html.unescape((result.folder / "report.html").read_text(encoding="utf-8"))
    assert "differ by 0" in result.report.parity
    monkeypatch.setitem(sys.modules, "bitsandbytes.functional", None)  # serving needs none
    whole = sum(value.numel() for value in load_artifact(result.artifact).model.parameters())
    assert whole == result.report.cost.parameters_total - result.report.cost.parameters_trained + 66  # the head's


def test_a_stopped_run_goes_on_to_the_same_bits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pipeline.run(recipe(place, checkpoint_every=3), place / "whole", quiet=True)

    saved = Fitting._note

    def note(self: Fitting, step: Step, *rest: Any) -> None:
        saved(self, step, *rest)
        if step.number == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(Fitting, "_note", note)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe(place, checkpoint_every=3), place / "stopped", quiet=True)
    monkeypatch.undo()
    resumed = pipeline.resume(place / "stopped", quiet=True)
    ours = load_artifact(resumed.artifact).model.state_dict()
    theirs = load_artifact(whole.artifact).model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_adapters_of_one_quantised_base_answer_as_their_artifacts(
    tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.inference.adapters.LARGEST_SHARE", 0.5)
    examples = TASK_CASES["single_label"][1]
    bases: dict[str, Quantization | Literal[""]] = {"lora": "nf4", "houlsby": "nf4", "bitfit": "int8", "dora": ""}
    for name, kind in bases.items():
        model, task, encoder = quantized_model(tiny_model_folder, "single_label", kind, small(name))
        learner = build_learner(model)
        run_steps(learner, build_material(task, encoder, examples), steps=3, rate=1e-2)
        learner.weights.finish()
        dequantize(model.body)
        adapter = learnt_weights(model)
        small(name).merge(model)
        identity = locate(str(tiny_model_folder)).identity
        base = Origin("", {}, identity, {}, 1, {"name": name}, str(tiny_model_folder), adapter, kind)
        save_artifact(tmp_path / name, model.eval(), task, encoder, base, "")
    adapters = AdapterSet.load({name: tmp_path / name for name in ("lora", "houlsby")}, device="cpu")
    for name in adapters.names:
        alone = Predictor.load(tmp_path / name, device="cpu")
        together = adapters[name].logits(adapters[name].encode(examples))
        for ours, theirs in zip(together, alone.logits(alone.encode(examples)), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    for other in ("bitfit", "dora"):
        with pytest.raises(ArtifactError, match="held in other bits"):
            AdapterSet.load({"one": tmp_path / "lora", "other": tmp_path / other}, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_the_matrices_are_those_of_the_cpu(kind: Quantization, tiny_llama_folder: Path) -> None:
    model, _, _ = quantized_model(tiny_llama_folder, "dialogues", kind, METHODS["lora"]())
    here = {name: layer.weight.clone() for name, layer in quantized_layers(model.body).items()}
    model.to("cuda")
    for name, layer in quantized_layers(model.body).items():
        torch.testing.assert_close(layer.weight.cpu(), here[name], atol=1e-6, rtol=1e-5)
    dequantize(model.body)
    assert all(value.is_cuda and value.dtype == torch.float32 for value in model.body.parameters())
