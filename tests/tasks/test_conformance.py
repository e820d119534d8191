"""What every task must do: give back the label that its own targets say, wherever it stands in the text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders import TASK_CASES, WITHIN_A_BATCH, build_model, folder_of
from tunesmith.data.records import Example, Span
from tunesmith.tasks import (
    FewShotClassification,
    FewShotTagging,
    MultimodalClassification,
    PromptClassification,
    QuestionAnswering,
    Recommendation,
    RelationClassification,
    SentencePairs,
    SequenceClassification,
    SequenceToSequence,
    Task,
    TextGeneration,
    TokenClassification,
    ZeroShotClassification,
)
from tunesmith.tasks.answers import Answer
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.writing import Written


def perfect_logits(task: Task, encoded: Encoded) -> torch.Tensor:
    """Logits that say exactly what the targets say."""
    target = torch.from_numpy(encoded.target)
    if isinstance(task, PromptClassification):
        return torch.nn.functional.one_hot(target[0, 1].long(), len(task.labels)).float() * 40 - 20
    if isinstance(task, MultimodalClassification):
        return torch.nn.functional.one_hot(target.long(), len(task.labels)).float()[None] * 40 - 20
    if isinstance(task, QuestionAnswering):
        lengths = [len(piece.unit_positions) for piece in encoded.pieces]
        rows = [torch.nn.functional.one_hot(row.long(), size).T for row, size in zip(target, lengths, strict=True)]
        return torch.cat(rows).float() * 40 - 20
    if isinstance(task, SentencePairs) and task.problem != "classification":
        return target.reshape(-1)[:1].float()
    if isinstance(task, Recommendation):
        return torch.nn.functional.one_hot(target[-1].long(), len(task.item_texts)).float() * 40 - 20
    if isinstance(task, SequenceToSequence):
        return Written(len(target), -1.0, tuple(target.long().tolist()), -1.0).packed()
    if isinstance(task, FewShotClassification | RelationClassification | SentencePairs):
        return torch.nn.functional.one_hot(target.long(), len(task.labels)).float() * 40 - 20
    if isinstance(task, TextGeneration):
        first = encoded.pieces[0]
        end = len(first.input_ids) - 1  # without the end token
        begins = first.unit_positions[[True, *(first.unit_positions[1:] - first.unit_positions[:-1] > 1)]][-1]
        return Answer(((1, -1.0), (1, -2.0)), first.input_ids[begins + 1 : end].tolist(), -1.0).packed()
    if isinstance(task, ZeroShotClassification):
        one_hot = target if task.multi_label else torch.nn.functional.one_hot(target.long(), len(task.labels))
        return one_hot.float() * 40 - 20
    assert isinstance(task, FewShotTagging | TokenClassification | SequenceClassification)
    if isinstance(task, FewShotTagging | TokenClassification):
        return torch.nn.functional.one_hot(target.long(), len(task.tags)).float() * 40 - 20
    if task.problem == "single_label":
        return torch.nn.functional.one_hot(target.long(), len(task.labels)).float() * 40 - 20
    if task.problem == "regression":
        return target.reshape(1).float()
    return target.float() * 40 - 20


@pytest.mark.parametrize("case", [name for name, (task, _) in TASK_CASES.items() if task.label_kind])
def test_perfect_logits_decode_to_the_label(case: str, request: pytest.FixtureRequest) -> None:
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples)
    encoded = [task.encode(example, encoder) for example in examples]
    answers = task.decode(model, encoder, examples, encoded, [perfect_logits(task, item) for item in encoded])
    for example, answer in zip(examples, answers, strict=True):
        if task.label_kind == "number":
            assert answer.label == pytest.approx(example.label, rel=1e-5)
        else:
            assert task.is_correct(example, answer)
            if task.label_kind != "answers":
                assert answer.label == example.label
            assert (answer.label == ()) == (example.label == ())
        assert answer.id == example.id


@pytest.mark.parametrize("crf", [False, True])
def test_entities_beyond_the_first_window_come_back(crf: bool, tiny_model_folder: Path) -> None:
    text = " ".join(["the day was good"] * 30 + ["Anna Bell"] + ["bad work"] * 20 + ["Rome"])
    start = text.index("Anna")
    example = Example("long", text, (Span(start, start + 9, "PER"), Span(len(text) - 4, len(text), "LOC")))
    model, task, encoder = build_model(
        tiny_model_folder, TokenClassification(crf=crf, stride=8), [example], max_length=32
    )
    encoded = task.encode(example, encoder)
    assert len(encoded.pieces) > 3
    assert len(encoded.units) == len(text.split())
    (answer,) = task.decode(model, encoder, [example], [encoded], [perfect_logits(task, encoded)])
    assert answer.label == example.label


def test_every_word_is_judged_in_exactly_one_window(tiny_model_folder: Path) -> None:
    text = " ".join(["good day"] * 60)
    _, task, encoder = build_model(
        tiny_model_folder, TokenClassification(labels=("PER",), casing=False, stride=12), [], max_length=40
    )
    encoded = task.encode(Example("x", text, ()), encoder)
    assert sum(len(piece.unit_positions) for piece in encoded.pieces) == 120
    for piece in encoded.pieces[1:-1]:
        # A word in a middle window has context on both sides: it never stands at the window's border.
        assert piece.unit_positions.min() > 2
        assert piece.unit_positions.max() < len(piece.input_ids) - 3


def test_long_texts_pool_the_logits_of_their_windows(tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(tiny_model_folder, task, examples, max_length=16)
    model.eval()
    long = Example("x", " ".join(["good day"] * 20), "good")
    batch = task.collate([task.encode(long, encoder), task.encode(examples[0], encoder)], 0)
    with torch.inference_mode():
        together = model(batch)
        pieces = [task.collate([Encoded((piece,), None)], 0) for piece in task.encode(long, encoder).pieces]
        alone = torch.cat([model(piece) for piece in pieces]).mean(0)
    assert together.shape == (2, 2)
    torch.testing.assert_close(together[0], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", TASK_CASES)
def test_padding_changes_neither_loss_nor_logits(case: str, request: pytest.FixtureRequest) -> None:
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples)
    model.eval()
    encoded = [task.encode(example, encoder) for example in examples]
    for item, row in zip(encoded, task.infer(model, task.collate(encoded, 0)), strict=True):
        torch.testing.assert_close(task.infer(model, task.collate([item], 0))[0], row, atol=1e-5, rtol=1e-4)
    if case in WITHIN_A_BATCH:
        return
    learning = [task.encode(example, encoder) for example in task.arranged(examples, 1)]
    together, total = task.collate(learning, 0), 0.0
    for item in learning:
        alone = task.collate([item], 0)
        total += float(task.loss(model.head, model(alone), alone).detach()) * alone.units
    assert float(task.loss(model.head, model(together), together).detach()) == pytest.approx(
        total / together.units, rel=1e-4
    )
