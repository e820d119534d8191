"""What every method must do: move only the weights it claims, learn, and survive merging, saving and loading."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from tests.builders import (
    NOT_IN_AN_ENCODER_DECODER,
    TASK_CASES,
    applies,
    build_learner,
    build_material,
    build_model,
    folder_of,
    run_steps,
)
from tunesmith.errors import ModelError, RecipeError, TrainingError
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS, HeadOnly, LoRA, Method, TopLayers
from tunesmith.models.model import Model
from tunesmith.tasks import Separable
from tunesmith.training.objectives import OBJECTIVES, Objective

LEARNING = [name for name in METHODS if name != "none"]

EXPECTED = {
    "full": lambda name: True,
    "head_only": lambda name: False,
    "top_layers": lambda name: "layer.1." in name or "layer.0." in name,
    "bitfit": lambda name: name.endswith("bias"),
    "gradual_unfreezing": lambda name: True,
    **dict.fromkeys(("lora", "rslora", "dora", "adalora"), lambda name: "lora_" in name),
    "ia3": lambda name: "ia3_" in name,
    "oft": lambda name: "oft_" in name,
    "boft": lambda name: ".butterfly." in name,
    "layer_norms": lambda name: "ln_tuning_" in name,
    "houlsby": lambda name: ".adapter." in name,
    "pfeiffer": lambda name: ".adapter." in name,
    "prefix_tuning": lambda name: ".prefix." in name,
    "p_tuning_v2": lambda name: ".prefix." in name,
    "prompt_tuning": lambda name: name.startswith("soft_prompt."),
}
SMALL: dict[str, dict[str, object]] = {
    "oft": {"block_size": 8},
    "boft": {"block_size": 4},
    "adalora": {"every": 1, "initial_rank": 3, "rank": 2},
}
"""Settings that fit a tiny model."""


def origin(name: str) -> Origin:
    return Origin("{}", {}, "tiny", {}, 1, {"name": name, **SMALL.get(name, {})})


def small(name: str) -> Method:
    return METHODS[name](**SMALL.get(name, {}))


def learns(model: Model) -> bool:
    """Whether anything does: a head without weights leaves a linear probe nothing to learn."""
    return any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_only_the_claimed_weights_learn(name: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["tokens_casing"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, small(name))
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    run_steps(build_learner(model), build_material(task, encoder, examples), steps=4, rate=1e-2)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    allowed = {key for key in before if key in model.lacking or EXPECTED[name](key)}
    assert moved <= allowed
    assert {key for key in model.lacking if key.startswith("head")} <= moved
    if name != "gradual_unfreezing":  # four of twenty steps open the upper layers only
        assert all(value.requires_grad == (key in allowed) for key, value in model.named_parameters())


@pytest.mark.parametrize("name", LEARNING)
def test_the_loss_falls(name: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, small(name), dropout=0.0)
    steps = run_steps(build_learner(model), build_material(task, encoder, examples), steps=40, rate=5e-3, batch_size=8)
    assert sum(step.loss for step in steps[-5:]) < sum(step.loss for step in steps[:5])


@pytest.mark.parametrize(
    ("name", "case"), [(name, case) for name in LEARNING for case in TASK_CASES if applies(name, case)]
)
def test_logits_are_the_same_after_merge_save_and_load(
    name: str, case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    task, examples = TASK_CASES[case]
    method = small(name)
    model, task, encoder = build_model(folder_of(case, request), task, examples, method)
    if learns(model):
        learner = build_learner(model)
        run_steps(learner, build_material(task, encoder, examples), steps=3, rate=1e-2)
        learner.weights.finish()
    trained = Predictor(model.eval(), task, encoder)
    encoded = [task.encode(example, encoder) for example in examples]
    unmerged = trained.logits(encoded)
    method.merge(model)
    merged = trained.logits(encoded)
    save_artifact(tmp_path / "artifact", model, task, encoder, origin(name), "")
    loaded = Predictor.load(tmp_path / "artifact", device="cpu")
    for before, after, again in zip(unmerged, merged, loaded.logits(encoded), strict=True):
        torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-4)
        assert torch.equal(after, again)
    assert loaded.predict(examples) == trained.predict(examples)


FORMS = (
    *("single_label", "multi_label", "regression", "tokens_casing", "tokens_crf", "questions", "relations_mean"),
    *("pairs_cross", "pairs_bi", "masked_language", "prompts", "image_text", "packed", "translations", "words"),
)
"""One case of each form of output."""

INCOMPARABLE = ("tokens_crf", "pairs_bi", "words")
SEPARABLE = [case for case in FORMS if isinstance(TASK_CASES[case][0], Separable)]
WITH_VECTORS = ("single_label", "multi_label", "regression", "relations_mean", "pairs_cross", "image_text")
_WITHOUT_A_CLASS = [case for case in FORMS if case not in WITH_VECTORS or case in ("multi_label", "regression")]
REFUSED = {
    "dpo": [case for case in TASK_CASES if case != "preferences"],
    **dict.fromkeys(("smart", "vat", "cutoff", "distillation"), INCOMPARABLE),
    "r_drop": (*INCOMPARABLE, "packed"),  # the tiny Llama has no dropout
    **dict.fromkeys(("group_dro", "irm"), tuple(case for case in FORMS if case not in SEPARABLE)),
    "simcse": [case for case in FORMS if case not in WITH_VECTORS],
    "mixup": [case for case in FORMS if case not in WITH_VECTORS],
    **dict.fromkeys(("supcon", "stack"), _WITHOUT_A_CLASS),
}
"""The cases that an objective refuses; it learns from all others."""

STACKED = ("l2_sp", "freelb", "supcon")


def made(objective: str, teacher: Path) -> Objective:
    given: dict[str, dict[str, object]] = {"stack": {"parts": STACKED}, "distillation": {"teacher": str(teacher)}}
    return OBJECTIVES[objective](**given.get(objective, {}))


COMBINATIONS = [
    *itertools.product(LEARNING, ["task"], TASK_CASES, [False]),
    # In low precision and under other objectives, one case of each form of head.
    *itertools.product(LEARNING, ["fgm"], ["single_label", "tokens_casing"], [True]),
    *itertools.product(["full", "lora"], ["fgm", "dpo"], TASK_CASES, [True]),
    *itertools.product(["full"], OBJECTIVES, FORMS, [True]),
    *itertools.product(["lora", "prompt_tuning"], OBJECTIVES, ["single_label"], [True]),
]


@pytest.mark.parametrize(
    ("name", "objective", "case", "low"), sorted({one for one in COMBINATIONS if applies(one[0], one[2])})
)
def test_one_step_of_every_combination(
    name: str, objective: str, case: str, low: bool, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    task, examples = TASK_CASES[case]
    if objective == "distillation":
        learnt, prepared, reader = build_model(folder_of(case, request), task, examples)
        save_artifact(tmp_path / "teacher", learnt, prepared, reader, origin("full"), "")
    model, task, encoder = build_model(folder_of(case, request), task, examples, small(name))
    if case in REFUSED.get(objective, ()) or (objective in ("l2_sp", "stack") and name in ("lora", "prompt_tuning")):
        with pytest.raises(TrainingError) as refusal:
            made(objective, tmp_path / "teacher").check(model, task)
        assert refusal.value.where == "objective"
        assert refusal.value.to_do
        return
    if not learns(model):
        return
    learner = build_learner(model, made(objective, tmp_path / "teacher"), low=low)
    learning = learner.weights.learning()
    before = {key: value.detach().clone() for key, value in learning.items()}
    frozen = {key: value.detach().clone() for key, value in model.named_parameters() if not value.requires_grad}
    (step,) = run_steps(learner, build_material(task, encoder, examples), steps=1, rate=1e-2, batch_size=8)
    assert 0 < step.loss < 100
    assert any(not torch.equal(value, before[key]) for key, value in learning.items())
    assert all(torch.equal(value, frozen[key]) for key, value in model.named_parameters() if key in frozen)


@pytest.mark.parametrize("name", NOT_IN_AN_ENCODER_DECODER)
def test_a_method_without_a_place_in_an_encoder_decoder_says_so(name: str, tiny_bart_folder: Path) -> None:
    task, examples = TASK_CASES["translations"]
    with pytest.raises((RecipeError, ModelError), match="BartForConditionalGeneration"):
        build_model(tiny_bart_folder, task, examples, small(name))


def test_lora_on_an_unknown_layer_names_the_known_ones(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="No linear layer's name ends in 'q_proj'") as error:
        build_model(tiny_model_folder, task, examples, LoRA(targets=("q_proj",)))
    assert "query" in error.value.to_do


def test_more_top_layers_than_there_are_is_an_error(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    with pytest.raises(RecipeError, match="has 2 layers, not 3"):
        build_model(tiny_model_folder, task, examples, TopLayers(layers=3))


def test_head_only_trains_nothing_of_the_body(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, _, _ = build_model(tiny_model_folder, task, examples, HeadOnly())
    assert not any(parameter.requires_grad for parameter in model.body.parameters())


def test_with_method_none_nothing_learns(tiny_decoder_folder: Path) -> None:
    task, examples = TASK_CASES["prompts_causal"]
    model, _, _ = build_model(tiny_decoder_folder, task, examples, METHODS["none"]())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_with_method_none_weights_that_the_checkpoint_lacks_are_refused(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["prompts"]
    with pytest.raises(RecipeError, match=r"the new weights would stay random: body\.cls"):
        build_model(tiny_model_folder, task, examples, METHODS["none"]())
