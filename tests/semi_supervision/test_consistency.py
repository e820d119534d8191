"""FixMatch and UDA against ten-line references; the texts of a step are a function of the seed and its number."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from tests.builders import CLASSES, SPANS, build_learner, build_material, build_model
from tunesmith.data.records import Example
from tunesmith.errors import RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.semi_supervision import SEMI_SUPERVISION, UDA, FixMatch, Texts
from tunesmith.semi_supervision.consistency import sharpened
from tunesmith.semi_supervision.views import changed
from tunesmith.tasks import SequenceClassification, Task, TokenClassification
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.training.batching import StepPlan
from tunesmith.training.criterion import Criterion
from tunesmith.training.loop import Scheduled, train
from tunesmith.training.optimizer import Schedule

TEXTS = [Example(str(n), f"the {('good', 'bad', 'long')[n % 3]} day of week {n} was very old") for n in range(10)]


def beside(encoder: TextEncoder, labelled: list[Example], **limits: int) -> Texts:
    return Texts(TEXTS, (), labelled, encoder, 4, limits.get("batch_size", 8), limits.get("max_tokens", 4096), seed=5)


def test_each_text_is_seen_once_per_pass_in_an_order_of_its_own(tiny_model_folder: Path) -> None:
    _, _, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES)
    texts = beside(encoder, CLASSES)
    seen = [one for step in range(5) for one in texts.of_step(step, 4)]
    assert Counter(number for number, _ in seen) == {0: 10, 1: 10}
    passes = [[example.id for number, example in seen if number == wanted] for wanted in (0, 1)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(example.id for example in TEXTS)
    assert passes[0] != passes[1]
    assert texts.of_step(3, 4) == seen[12:16], "without what came before"
    assert len(texts.of_step(0, 25)) == 25, "a step may see a text again"


@pytest.mark.parametrize("limits", [{}, {"batch_size": 1}, {"max_tokens": 30}])
def test_fixmatch_is_the_loss_of_confident_copies_over_all_texts(
    tiny_model_folder: Path, limits: dict[str, int]
) -> None:
    model, task, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES, dropout=0.0)
    model.train()
    answers = Predictor(model, task, encoder).predict(TEXTS)
    middle = sorted(answer.confidence for answer in answers)[5]
    use = FixMatch(ratio=2, threshold=middle, weight=3.0, strong=("delete_words",))
    texts = beside(encoder, CLASSES, **limits)
    made = use.beside(texts)
    assert made is not None
    parts = list(made.losses(model, Criterion(task), 1))
    wanted, counted = 0.0, 0
    for number, text in texts.of_step(1, 8):
        (answer,) = Predictor(model, task, encoder).predict([text])
        if answer.confidence >= middle:
            key = f"5 strong {number} {text.id}"
            copy = changed(Example(text.id, text.text, answer.label), texts.fitted(use.strongly), key)
            assert copy.text != text.text
            batch = task.collate([task.encode(copy, encoder)], 0)
            wanted += 3.0 * float(-model(batch).detach().log_softmax(-1)[0, task.labels.index(str(answer.label))]) / 8
            counted += 1
    assert 0 < counted < 8
    assert sum(part.texts for part in parts) == counted
    assert sum(float(part.loss.detach()) for part in parts) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("problem", ["single_label", "binary"])
def test_uda_is_the_divergence_from_the_sharpened_answer(tiny_model_folder: Path, problem: str) -> None:
    task0 = SequenceClassification(problem=problem)  # type: ignore[arg-type]
    model, task, encoder = build_model(tiny_model_folder, task0, CLASSES, dropout=0.0)
    use = UDA(ratio=1, threshold=0.0, temperature=0.5, strong=("swap_words",))
    texts = beside(encoder, CLASSES)
    made = use.beside(texts)
    assert made is not None
    found = sum(float(part.loss.detach()) for part in made.losses(model, Criterion(task), 0))
    wanted = 0.0
    for number, text in texts.of_step(0, 4):
        copy = changed(text, texts.fitted(use.strongly), f"5 strong {number} {text.id}")
        q, p = (list(one.scores.values()) for one in Predictor(model, task, encoder).predict([text, copy]))
        sharp = [value**2 / sum(other**2 for other in q) for value in q]
        wanted += sum(a * (torch.tensor(a).log() - torch.tensor(b).log()).item() for a, b in zip(sharp, p, strict=True))
    assert found == pytest.approx(wanted / 4, abs=1e-5)


def test_sharpening_keeps_distributions_and_one_changes_nothing() -> None:
    chances = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    assert torch.allclose(sharpened(chances, 1.0), chances, atol=1e-6)
    assert torch.allclose(sharpened(chances, 0.4).sum(-1), torch.ones(2))


def test_annealing_leaves_out_what_is_too_sure_and_keeps_one(tiny_model_folder: Path) -> None:
    """The shares of sec. 3.2: from 1 / classes to 1."""
    model, task, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES, dropout=0.0)
    for course, half in (("linear", 0.75), ("log", 0.9590), ("exp", 0.5410)):
        use = UDA(annealing=course, strong=("swap_words",))  # type: ignore[arg-type]
        assert use.limit(2, 5, 10) == pytest.approx(half, abs=1e-4)
    made = UDA(annealing="linear", strong=("swap_words",)).beside(beside(encoder, CLASSES))
    assert made is not None
    answers = Predictor(model, task, encoder).predict(CLASSES)
    shares = [answer.scores[str(example.label)] for example, answer in zip(CLASSES, answers, strict=True)]
    kept = list(made.kept(model, Criterion(task), CLASSES, 0, 10))
    assert kept == [n for n, share in enumerate(shares) if share <= 0.5] or len(kept) == 1
    assert list(made.kept(model, Criterion(task), CLASSES, 10, 10)) == list(range(len(CLASSES)))


@pytest.mark.parametrize("name", [name for name in SEMI_SUPERVISION if name in ("fixmatch", "uda")])
@pytest.mark.parametrize("kind", ["classes", "spans"])
def test_steps_learn_from_texts_beside_the_labelled_ones(tiny_model_folder: Path, name: str, kind: str) -> None:
    task0: Task = TokenClassification(casing=False) if kind == "spans" else SequenceClassification()
    examples = SPANS if kind == "spans" else CLASSES
    use = SEMI_SUPERVISION[name](threshold=0.0, strong=("swap_words",))  # type: ignore[call-arg]
    if (name, kind) == ("uda", "spans"):
        with pytest.raises(RecipeError, match="one distribution over classes"):
            use.check(task0, ())
        return
    model, task, encoder = build_model(tiny_model_folder, task0, examples)
    use.check(task, ())
    material = replace(build_material(task, encoder, examples), beside=use.beside(beside(encoder, examples)))
    plan = StepPlan(material.encoded, 1, 4, 1, 4096, seed=3)
    rate = Scheduled(0.001, Schedule("constant", 0.0), plan.total)
    steps = list(train(build_learner(model), material, plan.steps(), rate, Accelerator(cpu=True)))
    assert [step.beside for step in steps] == [1.0, 1.0]


def test_spans_of_a_changed_text_are_refused_as_answers() -> None:
    use = FixMatch(strong=("swap_words",), weak=("swap_words",))
    with pytest.raises(RecipeError, match="not those of the text itself"):
        use.check(TokenClassification(), ())
    with pytest.raises(RecipeError, match="one class, or with spans"):
        FixMatch(strong=("swap_words",)).check(SequenceClassification(problem="regression"), ())
