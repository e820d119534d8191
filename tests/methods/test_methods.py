"""What is particular to a method: how much learns, when ranks fall, where it cannot be used."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps
from tests.conftest import save_tiny
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.methods.adaptive_rank import AdaLoRA, RankAllocation
from tunesmith.methods.butterfly import BOFT, Butterfly
from tunesmith.methods.prompts import PrefixTuning, PromptTuning
from tunesmith.methods.rescaling import OFT
from tunesmith.methods.unfreezing import GradualUnfreezing

MINILM: dict[str, Any] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
"""The sizes of MiniLM-L6-H384; the vocabulary does not matter to what is counted."""

COUNTS = {
    "lora": 73_728,
    "dora": 73_728 + 12 * 384,
    "adalora": 110_736,
    "ia3": 13_824,
    # Of the 26,112 biases of the published model 384 belong to its pooler, which is not loaded: no head reads it.
    "bitfit": 26_112 - 384,
    "layer_norms": 9_984,
    "houlsby": 595_200,
    "prefix_tuning": 92_160,
    "prompt_tuning": 7_680,
}


@pytest.fixture(scope="module")
def minilm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of MiniLM's sizes with the tiny vocabulary."""
    config = BertConfig(vocab_size=600, pad_token_id=0, **MINILM)
    return save_tiny(tmp_path_factory.mktemp("minilm") / "bert", BertModel(config, add_pooling_layer=False))


@pytest.mark.parametrize("name", COUNTS)
def test_as_many_parameters_learn_as_the_papers_count(name: str, minilm_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(minilm_folder, task, examples, METHODS[name]())
    learning = [
        parameter.numel()
        for key, parameter in model.named_parameters()
        if parameter.requires_grad and not key.startswith("head.") and not key.endswith("ranknum")
    ]
    assert sum(learning) == COUNTS[name]


def test_ranks_fall_to_the_target_and_stay_there(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    method = AdaLoRA(initial_rank=4, rank=2, every=1, warmup=0.1, settled=0.3)
    model, task, encoder = build_model(tiny_model_folder, task, examples, method)
    rule = model.rule
    assert isinstance(rule, RankAllocation)
    assert rule.ranks() == [4] * 4
    learner = build_learner(model)  # of 20 steps in all
    seen = []
    plan = build_material(task, encoder, examples)
    for steps in (3, 17):
        run_steps(learner, plan, steps=steps, rate=1e-2, batch_size=8)
        seen.append(sum(rule.ranks()))
    assert 8 < seen[0] <= 16
    assert seen[1] == 8
    assert len(set(rule.ranks())) > 1 or max(rule.ranks()) <= 4


def test_the_penalty_of_adalora_is_the_distance_from_orthogonality(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples, AdaLoRA(orthogonality=0.5))
    assert model.rule is not None
    gaps = []
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            gaps.append((parameter @ parameter.T - torch.eye(12)).norm())
        if "lora_B" in name:
            gaps.append((parameter.T @ parameter - torch.eye(12)).norm())
    penalty = model.rule.penalty()
    assert penalty is not None
    assert float(penalty.detach()) == pytest.approx(0.5 * float(torch.stack(gaps).mean().detach()), rel=1e-6)


def test_the_penalty_reaches_the_loss_under_every_objective(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    losses = []
    for weight in (0.0, 100.0):
        torch.manual_seed(0)
        model, task, encoder = build_model(tiny_model_folder, task, examples, AdaLoRA(orthogonality=weight))
        (step,) = run_steps(build_learner(model), build_material(task, encoder, examples), steps=1, rate=0.0)
        losses.append(step.loss)
    assert losses[1] > losses[0] + 10


def test_an_allocation_goes_on_from_its_state(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    method = AdaLoRA(initial_rank=4, rank=2, every=1)
    model, task, encoder = build_model(tiny_model_folder, task, examples, method)
    run_steps(build_learner(model), build_material(task, encoder, examples), steps=6, rate=1e-2, batch_size=8)
    other, _, _ = build_model(tiny_model_folder, task, examples, method)
    assert model.rule is not None
    assert other.rule is not None
    other.rule.load_state(model.rule.state())
    again = other.rule.state()
    assert again.keys() == model.rule.state().keys()
    assert all(torch.equal(value, again[name]) for name, value in model.rule.state().items())


def test_a_butterfly_is_orthogonal_and_mixes_all_blocks() -> None:
    torch.manual_seed(0)
    butterfly = Butterfly(64, block=4, factors=3)
    torch.nn.init.normal_(butterfly.generators)
    matrix = butterfly(torch.eye(64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(64), atol=1e-5, rtol=1e-5)
    assert bool((matrix.abs() > 1e-9).all())
    one = Butterfly(64, block=4, factors=1)
    torch.nn.init.normal_(one.generators)
    assert int((one(torch.eye(64)).abs() > 1e-9).sum()) == 64 * 4


@pytest.mark.parametrize("method", [PrefixTuning(5), PromptTuning(5)], ids=["prefix", "prompt"])
def test_learnt_tokens_shift_no_answer_to_another_place(
    method: PrefixTuning | PromptTuning, tiny_model_folder: Path
) -> None:
    task, examples = TASK_CASES["tokens"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, method)
    model.eval()
    encoded = [task.encode(example, encoder) for example in examples]
    batch = task.collate(encoded, 0)
    assert model.hidden(batch).shape[:2] == batch.input_ids.shape
    together = Predictor(model, task, encoder).logits(encoded)
    for item, row in zip(encoded, together, strict=True):
        torch.testing.assert_close(task.infer(model, task.collate([item], 0))[0], row, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [PrefixTuning(5), PromptTuning(5)], ids=["prefix", "prompt"])
def test_a_text_of_full_length_still_fits(method: PrefixTuning | PromptTuning, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, method)
    long = type(examples[0])("long", " ".join(["good day"] * 40))
    encoded = task.encode(long, encoder)
    assert encoded.longest == encoder.max_length
    assert Predictor(model, task, encoder).logits([encoded])[0].isfinite().all()


def test_a_prefix_is_refused_where_attention_takes_none(tiny_mpnet_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="takes no further keys and values"):
        build_model(tiny_mpnet_folder, task, examples, PrefixTuning())


def test_methods_that_need_no_new_weights_are_refused_where_there_are_some(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="would stay random"):
        build_model(tiny_model_folder, task, examples, METHODS["none"]())


@pytest.mark.parametrize(
    ("method", "message"),
    [(OFT(block_size=24), "do not cover the 32 inputs"), (BOFT(block_size=8, factors=2), "no multiple of 8\\^2")],
)
def test_rotations_that_do_not_fit_are_refused(method: OFT | BOFT, message: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match=message):
        build_model(tiny_model_folder, task, examples, method)


def test_an_initial_rank_that_leaves_nothing_to_take_is_refused() -> None:
    with pytest.raises(RecipeError, match="leaves no ranks to take"):
        AdaLoRA(initial_rank=8, rank=8)


def test_layers_open_from_the_top_down(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples, GradualUnfreezing(until=0.5))
    assert model.rule is not None
    opened = []
    for step in (0, 3, 6, 8, 10):
        model.rule.before(step, 20)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        opened.append({part for part in ("head", "layer.1", "layer.0", "embeddings") if any(part in n for n in names)})
    assert opened[0] == {"head"}
    assert opened[-1] == {"head", "layer.1", "layer.0", "embeddings"}
    assert all(earlier <= later for earlier, later in itertools.pairwise(opened))
    assert {"head", "layer.1"} in opened


@pytest.mark.parametrize("name", ["lora", "houlsby", "ia3", "layer_norms", "prefix_tuning", "prompt_tuning", "oft"])
def test_methods_reach_other_kinds_of_backbone(name: str, tiny_backbones: dict[str, Path]) -> None:
    task, examples = TASK_CASES["single_label"]
    settings: dict[str, dict[str, int]] = {"oft": {"block_size": 8}}
    refused = []
    for kind, folder in tiny_backbones.items():
        try:
            model, ready, encoder = build_model(folder, task, examples, METHODS[name](**settings.get(name, {})))
        except RecipeError:
            refused.append(kind)
            continue
        before = {key: value.detach().clone() for key, value in model.named_parameters() if value.requires_grad}
        run_steps(build_learner(model), build_material(ready, encoder, examples), steps=2, rate=1e-2)
        moved = [key for key, value in before.items() if not torch.equal(value, dict(model.named_parameters())[key])]
        assert any(not key.startswith("head.") for key in moved), kind
    assert refused == (["mpnet"] if name == "prefix_tuning" else [])
