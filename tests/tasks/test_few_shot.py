"""Few-shot classification: pairs as they are specified, a head at its optimum, and runs that come back the same."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from tests.builders import CLASSES, build_material, build_model, run_steps, write_recipe
from tests.builders import build_learner as learner_of
from tunesmith import pipeline, run_folder
from tunesmith.data.records import Example
from tunesmith.errors import LabelError, RecipeError, TrainingError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import file_hash
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.preparation import prepare
from tunesmith.tasks import FewShotClassification
from tunesmith.tasks.contrastive_pairs import DIFFERENT, SAME, cosine_loss, paired
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.logistic_head import LogisticHead, fit_logistic

THREE = [Example(str(n), f"text {n} of {'abc'[n % 3]}", "abc"[n % 3]) for n in range(12)]
CHINESE = [
    Example(str(n), text, label)
    for n, (text, label) in enumerate(
        [("张三在北京", "人"), ("李四在上海", "人"), ("今天天气好", "天"), ("天气不好", "天")] * 2
    )
]


def test_each_text_is_paired_as_often_with_its_class_as_with_others() -> None:
    labels = {example.text: example.label for example in THREE}
    pairs = paired(THREE, 20, seed=1)
    assert len(pairs) == 12 * 20 * 2
    assert set(Counter((pair.text, pair.label) for pair in pairs).values()) == {20}
    for pair in pairs:
        assert (labels[pair.text] == labels[pair.second]) == (pair.label == SAME)


def test_partners_are_drawn_with_equal_chances_the_text_itself_among_them() -> None:
    pairs = [pair for pair in paired(THREE, 2000, seed=1) if pair.text == THREE[0].text]
    of_class = Counter(pair.second for pair in pairs if pair.label == SAME)
    of_others = Counter(pair.second for pair in pairs if pair.label == DIFFERENT)
    assert (len(of_class), len(of_others)) == (4, 8)
    assert all(count == pytest.approx(500, abs=80) for count in of_class.values())
    assert all(count == pytest.approx(250, abs=60) for count in of_others.values())


def test_pairs_are_a_function_of_the_seed() -> None:
    assert paired(THREE, 3, seed=1) == paired(THREE, 3, seed=1)
    assert paired(THREE, 3, seed=1) != paired(THREE, 3, seed=2)


def test_a_class_of_one_text_is_paired_with_itself_which_is_said() -> None:
    examples = [*THREE[:2], Example("x", "alone", "d"), Example("y", "with a", "a")]
    pairs = paired(examples, 5, seed=1)
    assert all(pair.second == "alone" for pair in pairs if pair.text == "alone" and pair.label == SAME)
    arranged, single = FewShotClassification().announcements(examples, pairs)
    assert "40 pairs: 20 of one class" in arranged.message
    assert (single.code, single.count, single.examples) == ("classes_of_one", 2, ("b", "d"))


def test_copies_with_different_labels_are_no_text_and_itself() -> None:
    examples = [Example("a", "one text", "a"), Example("b", "one text", "b")]
    (arranged, _) = FewShotClassification().announcements(examples, paired(examples, 1, seed=1))
    assert "2 of one class (2 of them a text and itself), 2 of two" in arranged.message


def test_a_text_without_words_has_an_answer_and_a_second_text_is_not_read(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, FewShotClassification(), CLASSES, METHODS["none"]())
    build_material(task, encoder, CLASSES).settle(model)
    alone, beside, empty = Predictor(model, task, encoder).predict(
        [Example("1", "good film"), Example("2", "good film", second="bad film"), Example("3", "")]
    )
    assert alone.scores == pytest.approx(beside.scores)
    assert empty.label in task.labels


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_the_head_is_what_scikit_learn_fits(classes: int, penalty: float) -> None:
    generator = np.random.default_rng(3)
    targets = np.arange(24) % classes
    vectors = generator.normal(size=(24, 10)) + targets[:, None]
    weight, bias = fit_logistic(torch.from_numpy(vectors), torch.from_numpy(targets), classes, penalty)
    reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(vectors, targets)
    ours = (torch.from_numpy(vectors) @ weight.T + bias).softmax(-1)
    np.testing.assert_allclose(ours.numpy(), reference.predict_proba(vectors), atol=1e-5)


def test_the_head_lies_where_the_slope_is_zero() -> None:
    vectors = torch.randn(30, 16, generator=torch.Generator().manual_seed(1)).double() * 3
    targets = torch.arange(30) % 3
    weight, bias = fit_logistic(vectors, targets, 3, 0.5)
    missed = (vectors @ weight.T + bias).softmax(-1) - torch.nn.functional.one_hot(targets, 3)
    assert float((missed.T @ vectors + 0.5 * weight).abs().max()) < 1e-6
    assert float(missed.sum(0).abs().max()) < 1e-6


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(TrainingError, match="not finite"):
        fit_logistic(torch.tensor([[1.0], [float("nan")]]), torch.tensor([0, 1]), 2, 1.0)


def test_a_vector_of_zeros_has_a_finite_loss_and_slope() -> None:
    first = torch.zeros(2, 4, requires_grad=True)
    loss = cosine_loss(first, torch.ones(2, 4), torch.tensor([1.0, 0.0]))
    loss.backward()
    assert float(loss.detach()) == 0.5
    assert first.grad is not None
    assert bool(first.grad.isfinite().all())


def test_the_loss_is_the_squared_error_of_the_cosine_of_mean_vectors(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, FewShotClassification(iterations=1), CLASSES, max_length=24)
    model.eval()
    long = Example("x", " ".join(["good day"] * 20), "good")
    pairs = task.arranged([long, *CLASSES[1:3]], 1)
    batch = task.collate([task.encode(pair, encoder) for pair in pairs], 0)
    assert len(batch.input_ids) > 2 * len(pairs)  # windows
    loss = task.loss(model.head, model(batch), batch)

    def vector(text: str) -> torch.Tensor:
        pieces = task.encode(Example("1", text), encoder).pieces
        of_windows = []
        for piece in pieces:
            alone = task.collate([Encoded((piece,), None)], 0)
            of_windows.append(model.hidden(alone)[0].mean(0))
        return torch.stack(of_windows).mean(0)

    errors = []
    for pair in pairs:
        cosine = torch.nn.functional.cosine_similarity(vector(pair.text), vector(pair.second), dim=0)
        errors.append((cosine - float(pair.label == SAME)) ** 2)
    torch.testing.assert_close(loss, torch.stack(errors).mean(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("normalize", [False, True])
def test_settling_fits_the_training_texts_and_nothing_else_changes(normalize: bool, tiny_model_folder: Path) -> None:
    given = FewShotClassification(penalty=0.01, normalize=normalize)
    model, task, encoder = build_model(tiny_model_folder, given, CHINESE, METHODS["none"]())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert isinstance(model.head, LogisticHead)
    before = {name: value.clone() for name, value in model.body.state_dict().items()}
    task.settle(model, ())
    assert not bool(model.head.weight.any())
    build_material(task, encoder, CHINESE).settle(model)
    assert all(torch.equal(value, before[name]) for name, value in model.body.state_dict().items())
    answers = Predictor(model, task, encoder).predict(CHINESE)
    assert [answer.label for answer in answers] == [example.label for example in CHINESE]


def test_learning_draws_classes_together(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, FewShotClassification(iterations=5), CLASSES, dropout=0.0)
    material = build_material(task, encoder, CLASSES)
    assert len(material.encoded) == 80
    steps = run_steps(learner_of(model), material, steps=40, rate=3e-3, batch_size=8)
    assert sum(step.loss for step in steps[-5:]) < 0.5 * sum(step.loss for step in steps[:5])


def test_one_class_is_not_enough_and_none_may_be_without_text(tiny_model_folder: Path) -> None:
    with pytest.raises(LabelError, match="only the class 'good'"):
        build_model(tiny_model_folder, FewShotClassification(), CLASSES[:1])
    with pytest.raises(LabelError, match="no class"):
        build_model(tiny_model_folder, FewShotClassification(), [])
    with pytest.raises(LabelError, match="has the label 'odd'"):
        build_model(tiny_model_folder, FewShotClassification(labels=("good", "bad", "odd")), CLASSES)


@pytest.mark.parametrize("settings", [{"iterations": 0}, {"penalty": 0.0}, {"penalty": float("inf")}])
def test_settings_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(RecipeError):
        FewShotClassification(**settings)  # type: ignore[arg-type]


RECIPE: dict[str, object] = {
    "task": {"name": "few_shot_classification", "iterations": 2},
    "training": {"epochs": 1, "learning_rate": 1e-3},
}


@pytest.mark.parametrize("method", ["none", "lora"])
def test_a_run_without_validation_is_saved_and_answers_as_it_was_judged(method: str, place: Path) -> None:
    recipe = write_recipe(place, **RECIPE, method=method)
    changes = ["data.per_class=8", "data.validation=none"]
    result = pipeline.run(Experiment.from_yaml(recipe, changes), place / "run", quiet=True)
    codes = {finding.code for finding in result.report.findings}
    assert "limited" in codes
    assert "rare_labels" not in codes, "few of each class is what the recipe asks for"
    assert ("arranged" in codes) == (method != "none")  # without steps there are no pairs
    assert result.report.sizes == {"train": 16, "test": 16}
    predictor = Predictor.load(result.artifact)
    assert isinstance(predictor.model.head, LogisticHead)
    assert bool(predictor.model.head.weight.any())
    rows = (place / "run" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [row for row in map(json.loads, rows) if row["split"] == "test"]
    again = predictor.predict([Example(row["id"], row["text"]) for row in kept])
    assert [answer.label for answer in again] == [row["label"] for row in kept]


def test_a_run_that_is_resumed_comes_to_the_same_bits(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place, **RECIPE), ["training.checkpoint_every=3"])
    whole = pipeline.run(experiment, place / "whole", quiet=True)
    prepared = prepare(experiment)
    folder = place / "stopped"
    run_folder.begin(folder, experiment.to_yaml(), 0, overwrite=False)
    model = pipeline.rehearse(experiment, prepared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tunesmith.training.fitting.Fitting._validate", _stop)
        with pytest.raises(KeyboardInterrupt):
            pipeline.fit(experiment, prepared, model, folder, quiet=True)
    assert list((folder / "checkpoints").iterdir())
    resumed = pipeline.resume(folder, quiet=True)
    weights = [result.artifact / "model.safetensors" for result in (whole, resumed)]
    assert file_hash(weights[0]) == file_hash(weights[1])


def _stop(*_given: object) -> None:
    raise KeyboardInterrupt
