"""Heads, neurons and layers taken out: the pruned model is the masked one, reloads as it is, and learns on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import ElectraConfig, ElectraModel, PreTrainedModel

from tests.builders import CLASSES, SPANS, build_model
from tests.compression.workbench import save, trained_model, workshop_of
from tests.conftest import SIZES, build_tokenizer, save_tiny
from tunesmith.components import build
from tunesmith.compression import COMPRESSORS, Compressor, FeedForwardPrune, HeadPrune, LayerDrop, Lesson, Trained
from tunesmith.compression.importance import Part, counts, gated, importances
from tunesmith.compression.layer_drop import drop
from tunesmith.compression.pruning import Schedule, chosen, cut_out, out_after
from tunesmith.compression.trained import batches_of
from tunesmith.errors import ModelError, RecipeError
from tunesmith.inference.artifact import Origin, load_artifact, read_description, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.models.anatomy import number_of_layers
from tunesmith.models.shapes import Shape, blocks_of, shape_of
from tunesmith.tasks import SequenceClassification, TokenClassification

KEPT: dict[Part, list[Tensor]] = {
    "heads": [torch.tensor([1]), torch.tensor([0, 2, 3])],
    "neurons": [torch.arange(0, 48, 3), torch.tensor([5, 47])],
}
"""Unlike numbers per layer, of four heads and 48 neurons."""


@pytest.fixture(scope="session")
def kinds(tiny_backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    config = ElectraConfig(
        vocab_size=len(build_tokenizer()), embedding_size=16, max_position_embeddings=64, pad_token_id=0, **SIZES
    )
    electra = save_tiny(tmp_path_factory.mktemp("tiny") / "electra", ElectraModel(config))
    return {**tiny_backbones, "electra": electra}


@pytest.mark.parametrize("part", KEPT)
@pytest.mark.parametrize("kind", ["bert", "roberta", "mpnet", "distilbert", "electra"])
def test_a_pruned_model_gives_the_logits_of_the_masked_one(
    kind: str, part: Part, kinds: dict[str, Path], tmp_path: Path
) -> None:
    trained = trained_model(kinds[kind], TokenClassification(casing=True), SPANS)
    batches = list(batches_of(trained, SPANS))
    blocks = blocks_of(trained.model.body)
    masks = [torch.zeros(size) for size in counts(blocks, part)]
    for mask, places in zip(masks, KEPT[part], strict=True):
        mask[places] = 1
    with torch.no_grad(), gated(blocks, part, masks):
        masked = [trained.model(batch) for batch in batches]
    with torch.no_grad():
        whole = [trained.model(batch) for batch in batches]
        assert cut_out(trained, batches, part, KEPT[part]) < 1e-5
        pruned = [trained.model(batch) for batch in batches]
    for one, other, unmasked in zip(masked, pruned, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert not torch.allclose(other, unmasked, atol=1e-3)
    assert counts(blocks_of(trained.model.body), part) == [len(places) for places in KEPT[part]]

    served = Predictor.load(save(trained, tmp_path / "pruned"))
    for one, other in zip(
        served.logits(served.encode(SPANS)),
        Predictor(trained.model, trained.task, trained.encoder).logits(served.encode(SPANS)),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_a_pruned_artifact_is_trained_and_pruned_again(kinds: dict[str, Path], tmp_path: Path) -> None:
    for kind in ("bert", "mpnet"):
        trained = trained_model(kinds[kind], SequenceClassification(), CLASSES)
        for part, kept in KEPT.items():
            cut_out(trained, list(batches_of(trained, CLASSES)), part, kept)
        first = save(trained, tmp_path / kind)
        assert read_description(first)["shape"] == {"heads": [[1], [0, 2, 3]], "feed_forward": [16, 2]}
        again, _, _ = build_model(first, SequenceClassification(), CLASSES)
        assert not [name for name in again.lacking if name.startswith("body.")]
        for name, weight in trained.model.body.state_dict().items():
            assert torch.equal(weight, again.body.state_dict()[name]), name
        taught = trained_model(first, SequenceClassification(), CLASSES)
        cut_out(taught, list(batches_of(taught, CLASSES)), "heads", [torch.tensor([0]), torch.tensor([0, 2])])
        second = load_artifact(save(taught, tmp_path / f"{kind}-again"))
        assert shape_of(second.model.body) == Shape(((1,), (0, 3)), (16, 2))


@pytest.mark.parametrize("method", ["houlsby", "lora"])
def test_the_shape_stays_with_what_a_method_puts_around_layers(
    method: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    for part, kept in KEPT.items():
        cut_out(trained, list(batches_of(trained, CLASSES)), part, kept)
    first = save(trained, tmp_path / "pruned")
    model, task, encoder = build_model(first, SequenceClassification(), CLASSES)
    build(METHODS, {"name": method}, "method").apply(model)
    assert shape_of(model.body) == Shape(((1,), (0, 2, 3)), (16, 2))
    if method == "houlsby":
        origin = Origin("{}", {}, "tiny", {}, 1, {"name": method})
        save_artifact(tmp_path / "adapted", model.eval(), task, encoder, origin, "")
        ours, served = Predictor(model, task, encoder), Predictor.load(tmp_path / "adapted", device="cpu")
        for one, other in zip(ours.logits(ours.encode(CLASSES)), served.logits(served.encode(CLASSES)), strict=True):
            assert torch.equal(one, other)


def test_importance_is_the_derivative_of_the_loss_by_a_gate(tiny_model_folder: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    parts: tuple[Part, ...] = ("heads", "neurons")
    for part in parts:
        together = importances(trained, batches_of(trained, CLASSES), part)
        alone = [importances(trained, batches_of(trained, [one]), part) for one in CLASSES]
        for layer, found in enumerate(together):
            torch.testing.assert_close(found, torch.stack([one[layer] for one in alone]).mean(0), rtol=1e-4, atol=1e-9)
    (batch,) = batches_of(trained, CLASSES[:1])
    found = importances(trained, [batch], "heads")[1][2]
    model, by_hand = trained.model, []
    for step in (0.02, -0.02):
        gates = [torch.ones(4), torch.ones(4)]
        gates[1][2] += step
        with torch.no_grad(), gated(blocks_of(model.body), "heads", gates):
            by_hand.append(float(trained.task.loss(model.head, model(batch), batch)))
    assert float(found) == pytest.approx(abs(by_hand[0] - by_hand[1]) / 0.04, rel=5e-3)


def test_the_least_important_go_first_and_a_layer_keeps_some() -> None:
    scores = [torch.tensor([4.0, 1.0, 3.0]), torch.tensor([0.1, 0.2, 0.3])]

    def kept(count: int, **settings: object) -> list[list[int]]:
        return [one.tolist() for one in chosen(scores, count, HeadPrune(**settings))]  # type: ignore[arg-type]

    assert kept(2, normalize=False) == [[0, 1, 2], [2]]
    assert kept(3, normalize=False) == [[0, 2], [2]]
    assert kept(2, even=True) == [[0, 2], [1, 2]]
    # Divided by their norms the layers are (0.78, 0.20, 0.59) and (0.27, 0.53, 0.80).
    assert kept(2) == [[0, 2], [1, 2]]
    assert kept(2, normalize=False, least=2) == [[0, 2], [1, 2]]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (HeadPrune(share=0.9), "at most 6 can be"),
        (HeadPrune(share=0.01), "which is nothing"),
        (FeedForwardPrune(share=0.9), "at most 64 can be"),
        (LayerDrop(layers=2), "2 cannot stay"),
        (LayerDrop(keep=(0, 5)), "cannot be those to keep: 0, 5"),
    ],
)
def test_what_cannot_be_taken_out_is_refused(step: Compressor, message: str, tiny_model_folder: Path) -> None:
    model, task, _ = build_model(tiny_model_folder, SequenceClassification(), CLASSES)
    with pytest.raises(RecipeError, match=message):
        step.check(model, task)


def test_bodies_with_parts_of_other_names_are_refused(tiny_decoder_folder: Path) -> None:
    model, task, _ = build_model(tiny_decoder_folder, SequenceClassification(), CLASSES)
    for name in ("head_prune", "feed_forward_prune"):
        with pytest.raises(ModelError, match="of a LlamaModel are not known"):
            COMPRESSORS[name]().check(model, task)
    assert shape_of(model.body) is None


def test_a_body_that_computes_in_its_own_way_is_found_out(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    attention = blocks_of(trained.model.body)[0].attention
    attention.register_forward_hook(lambda part, _inputs, output: (output[0] * len(part.query.weight), *output[1:]))
    with pytest.raises(ModelError, match="does not answer as the masked one"):
        cut_out(trained, list(batches_of(trained, CLASSES)), "heads", KEPT["heads"])


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, [0, 2, 5]),
        ({"keep": "top", "layers": 2}, [4, 5]),
        ({"keep": "bottom", "layers": 4}, [0, 1, 2, 3]),
        ({"keep": (5, 1)}, [1, 5]),
        ({"layers": 1}, [5]),
    ],
)
def test_layers_that_stay(settings: dict[str, object], kept: list[int]) -> None:
    assert LayerDrop(**settings).kept(6) == kept  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bert", "mpnet", "distilbert", "llama"])
def test_a_model_without_a_layer_computes_as_if_it_were_passed_over(
    kind: str, kinds: dict[str, Path], tmp_path: Path
) -> None:
    trained = trained_model(kinds[kind], SequenceClassification(), CLASSES)
    layers = [part for name, part in trained.model.body.named_modules() if name.endswith((".layer.0", "layers.0"))]
    passed = layers[0].register_forward_hook(passed_over)
    batches = list(batches_of(trained, CLASSES))
    with torch.no_grad():
        without = [trained.model(batch) for batch in batches]
        passed.remove()
        drop(trained.model, [1])
        for one, batch in zip(without, batches, strict=True):
            torch.testing.assert_close(trained.model(batch), one, rtol=0, atol=1e-5)
    loaded = load_artifact(save(trained, tmp_path / "short"))
    assert number_of_layers(loaded.model.body) == 1
    assert loaded.model.config.num_hidden_layers == 1
    with torch.no_grad():
        for batch in batches:
            assert torch.equal(loaded.model(batch), trained.model(batch))


def passed_over(_part: PreTrainedModel, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> object:
    """A layer's input in the place of its output."""
    return (inputs[0], *output[1:]) if isinstance(output, tuple) else inputs[0]


def test_of_a_cubic_schedule_most_is_out_after_the_first_round() -> None:
    cubic, linear = FeedForwardPrune(rounds=4, schedule="cubic"), FeedForwardPrune(rounds=4)
    assert [out_after(number, cubic) for number in (1, 2, 3, 4)] == [0.578125, 0.875, 0.984375, 1]
    assert [out_after(number, linear) for number in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("schedule", "left"),
    [("linear", [("round-1", 6), ("round-2", 4)]), ("cubic", [("round-1", 4), ("round-2", 4)])],
)
def test_rounds_take_a_part_each_and_train_between(
    schedule: Schedule, left: list[tuple[str, int]], tiny_model_folder: Path, tmp_path: Path
) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    workshop = workshop_of(trained, CLASSES, tmp_path)
    seen: list[tuple[str, int]] = []
    teach = workshop.teach

    def noted(taught: Trained, lesson: Lesson) -> None:
        seen.append((lesson.name, sum(counts(blocks_of(taught.model.body), "heads"))))
        teach(taught, lesson)

    made = HeadPrune(share=0.5, rounds=2, schedule=schedule).compress(trained, replace(workshop, teach=noted))
    assert seen == left
    assert sum(counts(blocks_of(made.trained.model.body), "heads")) == 4
    assert float(made.facts["masked_difference"]) < 1e-5  # type: ignore[arg-type]
