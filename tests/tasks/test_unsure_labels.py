"""Weights of examples and chances of labels: the loss equals a reference, 2 is twice, 0 is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.builders import CLASSES, SETS, SPANS, build_material, build_model
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.labelling.confident import Doubt
from tunesmith.suspects import Suspects
from tunesmith.tasks import Separable, SequenceClassification, Task, TokenClassification

CASES: dict[str, tuple[Task, list[Example]]] = {
    "single_label": (SequenceClassification(label_smoothing=0.1), CLASSES),
    "binary": (SequenceClassification(problem="binary"), CLASSES),
    "multi_label": (SequenceClassification(problem="multi_label"), SETS),
    "regression": (
        SequenceClassification(problem="regression"),
        [replace(e, label=float(len(e.text))) for e in CLASSES],
    ),
    "tokens": (TokenClassification(casing=False), SPANS),
    "tokens_crf": (TokenClassification(casing=False, crf=True), SPANS),
}


def loss_of(folder: Path, task: Task, known: Sequence[Example], examples: Sequence[Example]) -> float:
    torch.manual_seed(0)
    model, prepared, encoder = build_model(folder, task, known, dropout=0.0)
    material = build_material(prepared, encoder, examples)
    batch = material.batch(range(len(examples)))
    found = material.criterion(model.train(), batch)
    assert isinstance(prepared, Separable)
    total = (material.criterion.losses(model, model(batch), batch)).sum() / batch.units
    torch.testing.assert_close(found, total)
    return float(found.detach())


@pytest.mark.parametrize("case", CASES)
def test_a_weight_of_two_is_the_example_twice_and_of_zero_left_out(case: str, tiny_model_folder: Path) -> None:
    task, examples = CASES[case]
    weights = [2.0, 0.0, *[1.0] * (len(examples) - 2)]
    weighed = [replace(example, weight=weight) for example, weight in zip(examples, weights, strict=True)]
    twice = [examples[0], examples[0], *examples[2:]]
    found = loss_of(tiny_model_folder, task, examples, weighed)
    assert found == pytest.approx(loss_of(tiny_model_folder, task, examples, twice), rel=1e-5)
    assert found != pytest.approx(loss_of(tiny_model_folder, task, examples, examples), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 100.0])
def test_the_size_of_all_weights_together_does_not_matter(scale: float, tiny_model_folder: Path) -> None:
    task, examples = CASES["single_label"]
    weighed = [replace(example, weight=scale) for example in examples]
    plain = loss_of(tiny_model_folder, task, examples, examples)
    assert loss_of(tiny_model_folder, task, examples, weighed) == pytest.approx(plain, rel=1e-5)


def logits_of(folder: Path, task: Task, examples: Sequence[Example]) -> tuple[Tensor, float]:
    torch.manual_seed(0)
    model, prepared, encoder = build_model(folder, task, examples, dropout=0.0)
    material = build_material(prepared, encoder, examples)
    batch = material.batch(range(len(examples)))
    return model.train()(batch).detach(), float(material.criterion(model, batch).detach())


def test_chances_of_classes_are_learnt_by_their_cross_entropy(tiny_model_folder: Path) -> None:
    shares = [0.9, 0.6, 0.5, 0.2, 1.0, 0.0, 0.3, 0.7]
    examples = [
        replace(example, chances=({"good": share, "bad": 1 - share},))
        for example, share in zip(CLASSES, shares, strict=True)
    ]
    logits, loss = logits_of(tiny_model_folder, SequenceClassification(), examples)
    good = torch.tensor(shares)
    logs = logits.log_softmax(-1)  # bad, good
    assert loss == pytest.approx(float(-(good * logs[:, 1] + (1 - good) * logs[:, 0]).mean()), rel=1e-5)
    logits, loss = logits_of(tiny_model_folder, SequenceClassification(problem="binary"), examples)
    logs = functional.logsigmoid(torch.stack([-logits[:, 0], logits[:, 0]], 1))
    assert loss == pytest.approx(float(-(good * logs[:, 1] + (1 - good) * logs[:, 0]).mean()), rel=1e-5)


def test_chances_of_zero_and_one_are_the_labels_themselves(tiny_model_folder: Path) -> None:
    task = SequenceClassification(focal_gamma=2.0, label_smoothing=0.1, class_weights={"good": 2.0, "bad": 0.5})
    sure = [replace(example, chances=({str(example.label): 1.0},)) for example in CLASSES]
    losses = [logits_of(tiny_model_folder, task, examples)[1] for examples in (CLASSES, sure)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_chances_of_tags_are_learnt_by_their_cross_entropy(tiny_model_folder: Path) -> None:
    examples = [
        Example("a", "Anna went", (), ((0, 4), (5, 9)), chances=({"B-PER": 0.75, "O": 0.25}, {"O": 1.0})),
        Example("b", "we met Bell", (), ((0, 2), (3, 6), (7, 11)), chances=({"O": 1.0}, {"O": 1.0}, {"B-PER": 1.0})),
    ]
    logits, loss = logits_of(tiny_model_folder, TokenClassification(casing=False), examples)
    logs = logits.log_softmax(-1)  # O, B-PER, I-PER
    wanted = 0.75 * logs[0, 0, 1] + 0.25 * logs[0, 0, 0] + logs[0, 1, 0] + logs[1, 0, 0] + logs[1, 1, 0] + logs[1, 2, 1]
    assert loss == pytest.approx(float(-wanted / 5), rel=1e-5)


def test_a_crf_refuses_chances(tiny_model_folder: Path) -> None:
    example = Example("a", "Anna", (), ((0, 4),), chances=({"B-PER": 1.0},))
    with pytest.raises(RecipeError, match="not the chances of each"):
        build_model(tiny_model_folder, TokenClassification(crf=True), [example])


def test_weights_and_chances_are_read_for_training_alone_and_zero_leaves_out(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": "good", "w": n % 3, "p": {"good": 0.8, "bad": 0.2}} for n in range(30)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "test.csv").write_text("text,label\na,good\nb,bad\n", encoding="utf-8")
    data = Data(train=str(tmp_path / "train.jsonl"), test=str(tmp_path / "test.csv"), weight="w", chances="p")
    loaded = data.load("class", 13)
    assert {example.weight for example in loaded.splits.train} == {1.0, 2.0}
    assert all(example.chances == ({"good": 0.8, "bad": 0.2},) for example in loaded.splits.train)
    assert all(not e.chances and e.weight == 1 for e in (*loaded.splits.validation, *loaded.splits.test))
    said = {finding.code: finding for finding in loaded.findings}
    assert said["weight_zero"].count > 0
    assert said["held_out"].severity == "warning"


def test_what_suspects_writes_can_be_learnt_from(tmp_path: Path) -> None:
    found = Suspects(
        (Example("a", "good film", "bad"), Example("b", "bad film", "bad")),
        (Doubt(0, 0.9, True, "good", "why"), Doubt(1, 0.1, False, "bad", "")),
        "class",
        0.5,
    )
    path = tmp_path / "suspects.jsonl"
    path.write_text("\n".join(map(json.dumps, found.rows())), encoding="utf-8")
    data = Data(train=str(path), weight="weight", validation_share=0, test_share=0)
    assert [example.id for example in data.load("class", 13).splits.train] == ["b"]
