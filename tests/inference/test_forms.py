"""An artifact's further forms: graphs answer as torch does, 8 bits nearly so, and what is off is seen."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import BODIES, TASK_CASES, build_model, folder_of
from tunesmith.errors import ArtifactError, MissingExtraError, ModelError, RecipeError
from tunesmith.inference import form_parity, int8, onnx_graph, onnx_session
from tunesmith.inference.artifact import Loaded, Origin, load_artifact, read_description, save_artifact, seal, verify
from tunesmith.inference.form_parity import changed_places, compare_forms, near_numbers
from tunesmith.inference.forms import Entry, add_form, calibration_inputs, entry_of, forms_of, keep_only
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.onnx_graph import FLOAT_TOLERANCE, write_graph
from tunesmith.inference.onnx_session import open_session, run_session
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.traced import SHARE, input_names
from tunesmith.methods import METHODS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
quantization = pytest.importorskip("onnxruntime.quantization")

EXPORTED = [
    name for name, (task, _) in TASK_CASES.items() if task.body in ("encoder", "classifier") and task.label_kind
]
FEW = ("single_label", "tokens_casing", "questions")
"""Cases that run with every test; the others take their time."""


def saved(folder: Path, model_folder: Path, case: str) -> tuple[Path, Loaded]:
    """The artifact of a case's untrained model, whose head is random, and what it holds."""
    torch.manual_seed(1)
    task, examples = TASK_CASES[case]
    # The items' texts are read once where the body does not learn.
    method = METHODS["head_only"]() if case == "histories" else None
    model, task, encoder = build_model(model_folder, task, examples, method)
    with torch.no_grad():
        for weight in (*model.head.parameters(), *(() if model.kinds is None else model.kinds.parameters())):
            weight.add_(torch.randn_like(weight))
    # Heads that learn by looking at examples have to have seen some.
    batch = task.collate([task.encode(example, encoder) for example in examples], 0)
    task.settle(model.eval(), [batch])
    place = folder / "artifact"
    save_artifact(place, model, task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    return place, Loaded(model, task, encoder, read_description(place))


def same(ours: Predictor, theirs: Predictor, case: str) -> float:
    """The largest difference of two predictors' logits over a case's examples."""
    encoded = ours.encode(TASK_CASES[case][1])
    pairs = zip(ours.logits(encoded), theirs.logits(encoded), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


@pytest.mark.parametrize(
    "case", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in EXPORTED]
)
def test_a_graph_answers_every_task_as_torch_does(case: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, folder_of(case, request), case)
    entry = add_form(place, loaded, "onnx")
    assert entry.graph.largest_share <= SHARE
    assert len(entry.graph.shapes) >= 6
    assert any(pieces == 1 for pieces, _ in entry.graph.shapes)
    torchs, graphs = Predictor.load(place, device="cpu"), Predictor.load(place, backend="onnx")
    assert isinstance(graphs.model, GraphNetwork)
    assert same(torchs, graphs, case) <= FLOAT_TOLERANCE * max(1.0, largest_logit(torchs, case))
    ours, theirs = (one.predict(TASK_CASES[case][1]) for one in (torchs, graphs))
    near = near_numbers(ours, is_exact=True) + 1e-3 * (loaded.task.label_kind == "number")
    assert changed_places(ours, theirs, near) == []


def largest_logit(predictor: Predictor, case: str) -> float:
    """How large logits are: some tasks answer with sums of hundreds."""
    found = predictor.logits(predictor.encode(TASK_CASES[case][1]))
    return max(float(row.abs().max()) for row in found)


@pytest.mark.parametrize("folder", ["tiny_mpnet_folder", "tiny_roberta_folder", "tiny_distilbert_folder"])
def test_other_bodies_with_kinds_of_token_answer_alike(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place, loaded = saved(tmp_path, request.getfixturevalue(folder), "tokens_casing")
    assert "token_kinds" in input_names(loaded.model)
    add_form(place, loaded, "onnx")
    assert same(Predictor.load(place), Predictor.load(place, backend="onnx"), "tokens_casing") <= FLOAT_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("method", ["prefix_tuning", "p_tuning_v2", "prompt_tuning", "lora"])
def test_what_a_method_added_is_in_the_graph(method: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    chosen = METHODS[method]()
    model, task, encoder = build_model(tiny_model_folder, task, examples, chosen)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    chosen.merge(model.eval())
    graph = write_graph(model, tmp_path / "graph.onnx", encoder.max_length)
    assert graph.largest_share <= SHARE


def test_what_was_exported_is_read_like_any_artifact(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "tokens_casing")
    expected = Predictor.load(place).predict(TASK_CASES["tokens_casing"][1])
    add_form(place, loaded, "onnx")
    assert forms_of(place, verify(place)) == ("torch", "onnx")
    keep_only(place, "onnx")
    assert forms_of(place, verify(place)) == ("onnx",)
    assert not (place / "model.safetensors").exists()
    predictor = Predictor.load(place)
    assert [one.label for one in predictor.predict(TASK_CASES["tokens_casing"][1])] == [one.label for one in expected]
    entry = entry_of(place, verify(place), "onnx")
    assert isinstance(entry, Entry)
    assert entry.cpu_flags
    assert set(entry.versions) >= {"torch", "onnxruntime"}
    with pytest.raises(ArtifactError, match="needs torch's weights"):
        load_artifact(place)
    with pytest.raises(RecipeError, match="Only torch's form"):
        predictor.with_dropout(4)
    with pytest.raises(ArtifactError, match="writes no text"):
        predictor.model.generate(None, None)  # type: ignore[arg-type]


def test_the_graph_tells_nothing_of_the_machine(tiny_model_folder: Path, tmp_path: Path) -> None:
    _, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    write_graph(loaded.model, tmp_path / "graph.onnx", 16)
    content = (tmp_path / "graph.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content
    named = {
        dim.dim_param
        for value in onnx.load(tmp_path / "graph.onnx").graph.input
        for dim in value.type.tensor_type.shape.dim
    }
    assert named == {"batch", "length"}


def test_onnx_runtime_fuses_attention_normalisation_and_gelu(tiny_model_folder: Path, tmp_path: Path) -> None:
    _, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    write_graph(loaded.model, tmp_path / "graph.onnx", 16)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    options.log_severity_level = 3
    given = {"providers": ["CPUExecutionProvider"], "disabled_optimizers": onnx_session.SLOWER}
    onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), options, **given)
    counts = Counter(node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node)
    layers = loaded.model.body.config.num_hidden_layers
    assert (counts["Attention"], counts["BiasGelu"]) == (layers, layers)
    assert counts["LayerNormalization"] == 2 * layers + 1
    assert counts["SkipLayerNormalization"] == 0
    assert counts["Softmax"] == counts["Erf"] == 0


def test_other_programs_find_the_logits_in_the_graph(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    entry = add_form(place, loaded, "onnx")
    encoded = [loaded.task.encode(example, loaded.encoder) for example in TASK_CASES["single_label"][1][:3]]
    inputs = calibration_inputs(loaded.model, loaded.encoder, encoded, entry.graph)
    session = open_session(place / entry.file)
    expected = Predictor.load(place).logits(encoded)
    for given, wanted in zip(inputs, expected, strict=True):
        assert given["attention_mask"].all()
        (found,) = run_session(session, ["logits"], {name: torch.from_numpy(row) for name, row in given.items()})
        assert torch.allclose(found[0], wanted, atol=1e-4)


def test_a_dimension_taken_for_a_constant_is_seen(tmp_path: Path) -> None:
    make, kind = onnx.helper, onnx.TensorProto.INT64
    given = make.make_tensor_value_info("input_ids", kind, ["batch", 7])
    gives = make.make_tensor_value_info("states", kind, ["batch", 7])
    graph = make.make_graph([make.make_node("Identity", ["input_ids"], ["states"])], "g", [given], [gives])
    onnx.save(make.make_model(graph), tmp_path / "fixed.onnx")
    with pytest.raises(ArtifactError, match="took the length of 'input_ids' for 7"):
        onnx_graph._see_open_dimensions(tmp_path / "fixed.onnx", ["input_ids"], ["states"])


@pytest.mark.parametrize(
    "place", ["../weights.bin", "/", "link.bin", "weights.bin"], ids=["above", "absolute", "link", "beside"]
)
def test_a_graph_with_weights_outside_of_its_file_is_refused(place: str, tmp_path: Path) -> None:
    """Else a graph could read any file of the machine, and answer with what stands in it."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    weights = np.arange(4, dtype=np.float32).tobytes()
    (tmp_path / "weights.bin").write_bytes(weights)
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "weights.bin").write_bytes(weights)
    elsewhere = str(tmp_path / "weights.bin") if place == "/" else place
    with pytest.raises(ArtifactError, match="weights in another file"):
        open_session(adding_graph(folder / "model.onnx", elsewhere))


def test_a_graph_with_unknown_operators_is_refused(tmp_path: Path) -> None:
    graph = adding_graph(tmp_path / "model.onnx", "weights.bin", domain="com.elsewhere")
    with pytest.raises(ArtifactError, match=r"the operator com\.elsewhere\.Add"):
        open_session(graph)


def adding_graph(path: Path, weights: str, domain: str = "") -> Path:
    """A graph that adds four weights, which lie in another file."""
    make, kind = onnx.helper, onnx.TensorProto
    own = kind(name="w", data_type=kind.FLOAT, dims=[4], data_location=kind.EXTERNAL)
    own.external_data.add(key="location", value=weights)
    ends = [make.make_tensor_value_info(name, kind.FLOAT, [4]) for name in "xy"]
    graph = make.make_graph([make.make_node("Add", ["x", "w"], ["y"], domain=domain)], "g", ends[:1], ends[1:], [own])
    known = [make.make_opsetid(one, 17 if not one else 1) for one in dict.fromkeys(("", domain))]
    path.write_bytes(make.make_model(graph, opset_imports=known, ir_version=9).SerializeToString())
    return path


@pytest.mark.parametrize(("size", "noise", "passes"), [(1e4, 1e-6, True), (1e-4, 1e-2, False)])
def test_a_graph_is_compared_by_the_size_of_what_it_gives(
    size: float, noise: float, passes: bool, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    with torch.no_grad():
        for weight in loaded.model.head.parameters():
            weight.mul_(size)

    def noisy(session: Any, outputs: Any, given: Any) -> list[torch.Tensor]:
        states, logits = run_session(session, outputs, given)
        return [states, logits * (1 + noise)]

    monkeypatch.setattr(onnx_graph, "run_session", noisy)
    if passes:
        graph = write_graph(loaded.model, tmp_path / "graph.onnx", 16)
        assert graph.largest_share < 3e-5 < 1e-4 < graph.largest_difference
    else:
        with pytest.raises(ModelError, match="differ by up to"):
            write_graph(loaded.model, tmp_path / "graph.onnx", 16)


def test_where_one_way_of_exporting_fails_the_next_is_taken(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    real = onnx_graph._see_open_dimensions
    calls: list[int] = []

    def once(*given: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ArtifactError("The graph took the length of 'states' for 11.")
        real(*given)

    monkeypatch.setattr(onnx_graph, "_see_open_dimensions", once)
    assert write_graph(loaded.model, tmp_path / "graph.onnx", 16).attention == "eager"
    assert loaded.model.body.config._attn_implementation == "sdpa"
    monkeypatch.setattr(onnx_graph, "_see_open_dimensions", lambda *given: calls.remove(0))
    with pytest.raises(ModelError, match=r"could not be exported: sdpa: .*; eager: "):
        write_graph(loaded.model, tmp_path / "graph.onnx", 16)


def test_bodies_that_write_have_no_such_form(tiny_llama_folder: Path, tmp_path: Path) -> None:
    task, examples = TASK_CASES["dialogues"]
    model, _, _ = build_model(tiny_llama_folder, task, examples)
    assert BODIES["dialogues"] == "tiny_llama_folder"
    with pytest.raises(ModelError, match="of the kind 'causal_lm'"):
        write_graph(model, tmp_path / "graph.onnx", 16)


def test_8_bits_change_little_and_keep_the_head(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "tokens_casing")
    encoded = [loaded.task.encode(example, loaded.encoder) for example in TASK_CASES["tokens_casing"][1]]
    dynamic = add_form(place, loaded, "onnx-int8")
    assert dynamic.quantised is not None
    assert dynamic.quantised.scaling == "dynamic"
    layers = sum(isinstance(part, torch.nn.Linear) for part in loaded.model.body.modules())
    assert dynamic.quantised.matrices == layers
    torchs = Predictor.load(place)
    limit = 0.1 * largest_logit(torchs, "tokens_casing")
    assert 0 < same(torchs, Predictor.load(place, backend="onnx-int8"), "tokens_casing") < limit
    static = add_form(place, loaded, "onnx-int8", encoded)
    assert static.quantised is not None
    assert (static.quantised.scaling, static.quantised.calibrated_on) == ("static", len(encoded))
    assert 0 < same(torchs, Predictor.load(place, backend="onnx-int8"), "tokens_casing") < limit


@pytest.mark.parametrize("scaling", ["dynamic", "static"])
def test_answers_in_8_bits_do_not_depend_on_the_batch(scaling: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    examples = TASK_CASES["single_label"][1]
    encoded = [loaded.task.encode(example, loaded.encoder) for example in examples]
    add_form(place, loaded, "onnx-int8", encoded if scaling == "static" else ())
    predictor = Predictor.load(place, backend="onnx-int8")
    together = predictor.logits(encoded)
    # A value on the border of two steps may fall to either, by the order of a sum.
    near = 0.01 * largest_logit(predictor, "single_label")
    for item, row in zip(encoded, together, strict=True):
        assert torch.allclose(predictor.logits([item])[0], row, atol=near)


def test_a_row_in_8_bits_is_at_most_half_a_step_off() -> None:
    table = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32) * np.arange(300)[:, None].astype("f4")
    codes, scales = int8.row_codes(table)
    assert codes.dtype == np.int8
    assert np.all(np.abs(codes * scales - table) <= scales / 2 * (1 + 1e-4))
    assert not codes[0].any()  # a row of zeros stays one
    assert np.array_equal(np.abs(codes[1:]).max(axis=1), np.full(299, 127))


def test_a_product_in_8_bits_is_what_the_formula_says(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weight, given = rng.normal(size=(8, 5)).astype("f4"), rng.normal(size=(3, 8)).astype("f4")
    made = int8.quantise(product_graph(weight, tmp_path / "g.onnx"), tmp_path / "q.onnx")
    (found,) = run_session(open_session(tmp_path / "q.onnx"), ["states"], {"x": torch.from_numpy(given)})
    # Inputs: a scale per row; weights: one per column.
    row = np.abs(given).max(axis=1, keepdims=True) / 127
    column = np.abs(weight).max(axis=0) / (63 if made.reduced_range else 127)
    expected = (np.rint(given / row) @ np.rint(weight / column)) * row * column
    assert np.allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(found.numpy() - given @ weight).max() < 0.1


def test_a_token_of_zeros_and_one_of_huge_numbers_keep_their_neighbours(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weight, plain = rng.normal(size=(8, 5)).astype("f4"), rng.normal(size=(1, 8)).astype("f4")
    int8.quantise(product_graph(weight, tmp_path / "g.onnx"), tmp_path / "q.onnx")
    session = open_session(tmp_path / "q.onnx")
    beside = np.concatenate([np.zeros((1, 8), "f4"), plain, 1e6 * plain])
    (alone,) = run_session(session, ["states"], {"x": torch.from_numpy(plain)})
    (found,) = run_session(session, ["states"], {"x": torch.from_numpy(beside)})
    assert not found[0].any()
    assert torch.equal(found[1], alone[0])


def product_graph(weight: np.ndarray, file: Path) -> Path:
    """A graph that multiplies `x` by a constant matrix."""
    make, real = onnx.helper, onnx.TensorProto.FLOAT
    graph = make.make_graph(
        [make.make_node("MatMul", ["x", "w"], ["states"], name="product")],
        "g",
        [make.make_tensor_value_info("x", real, ["batch", weight.shape[0]])],
        [make.make_tensor_value_info("states", real, ["batch", weight.shape[1]])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 20)], ir_version=9), file)
    return file


def test_a_large_graph_in_8_bits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph").write_bytes(b"0" * 40)
    size = int8.SMALLEST
    assert int8.see_small(tmp_path / "graph", 100) == 0.4  # so small that the graph's own words weigh more
    with (tmp_path / "graph").open("wb") as file:
        file.truncate(size // 2)
    with pytest.raises(ArtifactError, match=r"0\.50 of the float32 weights' size"):
        int8.see_small(tmp_path / "graph", size)


def test_parity_is_sound_for_all_forms_and_sees_damage(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "tokens_casing")
    add_form(place, loaded, "onnx")
    add_form(place, loaded, "onnx-int8")
    examples = [replace(one, label=None) for one in TASK_CASES["tokens_casing"][1]]
    checks = compare_forms([place], examples, tolerance=0.5, reload=False)
    assert [check.form for check in checks] == ["torch", "onnx", "onnx-int8"]
    assert all(not check.problems for check in checks)
    assert checks[0].logits == 0
    assert 0 < checks[1].logits <= FLOAT_TOLERANCE < checks[2].logits
    damage(place / "model.onnx")
    seal(place)
    verify(place)
    _, graph, _ = compare_forms([place], examples, tolerance=0.5, reload=False)
    assert any("its logits differ" in problem for problem in graph.problems)


def test_parity_sees_8_bits_that_answer_otherwise(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    add_form(place, loaded, "onnx-int8")
    described = json.loads((place / "artifact.json").read_text(encoding="utf-8"))
    described["forms"]["onnx-int8"]["weights_sha256"] = "0" * 64
    (place / "artifact.json").write_text(json.dumps(described), encoding="utf-8")
    graph = onnx.load(place / "model-int8.onnx")
    head = next(iter(weight for weight in graph.graph.initializer if weight.data_type == onnx.TensorProto.INT8))
    numbers = onnx.numpy_helper.to_array(head)
    head.CopyFrom(onnx.numpy_helper.from_array(-numbers[::-1].copy(), head.name))
    onnx.save(graph, place / "model-int8.onnx")
    seal(place)
    checks = compare_forms([place], TASK_CASES["single_label"][1], tolerance=0.0, reload=False)
    assert "made of other weights" in " ".join(checks[1].problems)
    assert checks[1].logits > 0


def test_parity_sees_answers_that_depend_on_the_texts_beside(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form_parity, "STEP", 2e-4)  # so small a model has no outliers, which make it much more
    place, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    add_form(place, loaded, "onnx")
    add_form(place, loaded, "onnx-int8")
    examples = TASK_CASES["single_label"][1]
    assert not compare_forms([place], examples, tolerance=1.0, reload=False)[2].problems
    # ONNX Runtime's own quantiser: one scale for all tokens of a batch.
    source, out = str(place / "model.onnx"), str(place / "model-int8.onnx")
    quantization.quantize_dynamic(source, out, op_types_to_quantize=["MatMul"])
    seal(place)
    _, _, graph = compare_forms([place], examples, tolerance=1.0, reload=False)
    assert any("its own answers alone" in problem for problem in graph.problems)


def damage(path: Path) -> None:
    """Change one weight of a graph a little."""
    graph = onnx.load(path)
    weight = max(graph.graph.initializer, key=lambda one: len(one.raw_data))
    numbers = onnx.numpy_helper.to_array(weight).copy()
    numbers += 0.01 * np.random.default_rng(0).normal(size=numbers.shape).astype(numbers.dtype)
    weight.CopyFrom(onnx.numpy_helper.from_array(numbers, weight.name))
    onnx.save(graph, path)


def test_a_form_that_is_not_there_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    place, _ = saved(tmp_path, tiny_model_folder, "single_label")
    with pytest.raises(ArtifactError, match=r"no form 'onxx': it holds torch"):
        Predictor.load(place, backend="onxx")


def test_without_the_package_the_extra_is_named(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, loaded = saved(tmp_path, tiny_model_folder, "single_label")
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name.startswith("onnx"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError) as told:
        add_form(place, loaded, "onnx")
    assert "tunesmith[onnx]" in told.value.to_do
