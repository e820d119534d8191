"""Texts that are tokenised together are read as each alone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.builders import TASK_CASES, build_model, folder_of
from tunesmith.data.records import Prediction
from tunesmith.inference.form_parity import changed_places, float_tolerance, near_numbers
from tunesmith.inference.parity import difference
from tunesmith.inference.predictor import CPU_TOKENS, Predictor


@pytest.mark.parametrize("case", sorted(TASK_CASES))
def test_texts_read_together_are_the_pieces_of_each_alone(case: str, request: pytest.FixtureRequest) -> None:
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(folder_of(case, request), task, examples)
    twice = [*examples, examples[0]]  # the same text again
    together = Predictor(model, task, encoder).encode(twice)
    for example, found in zip(twice, together, strict=True):
        alone = task.encode(example if task.reads_labels else replace(example, label=None), encoder)
        assert (found.units, found.unknown) == (alone.units, alone.unknown)
        for one, other in zip(found.pieces, alone.pieces, strict=True):
            assert np.array_equal(one.input_ids, other.input_ids)
            assert np.array_equal(one.unit_positions, other.unit_positions)


def test_batches_on_a_cpu_are_small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    task, examples = TASK_CASES["single_label"]
    model, task, encoder = build_model(folder_of("single_label", request), task, examples)
    predictor, seen = Predictor(model, task, encoder), []
    real = predictor.answering.infer

    class Watching:
        decode = staticmethod(predictor.answering.decode)

        @staticmethod
        def infer(batch):
            seen.append(batch.input_ids.numel())
            return real(batch)

    watched = Predictor(model, task, encoder, answering=Watching())
    watched.predict([replace(examples[0], id=str(number)) for number in range(400)])
    assert len(seen) > 1
    assert max(seen) <= CPU_TOKENS


def test_what_is_infinite_in_both_is_alike() -> None:
    one = torch.tensor([1.0, float("-inf"), 2.0])
    assert difference(one, one.clone()) == 0
    assert difference(one, torch.tensor([1.0, float("-inf"), 2.5])) == 0.5
    assert difference(one, torch.tensor([1.0, 0.0, 2.0])) == float("inf")
    assert difference(one, torch.tensor([1.0, float("nan"), 2.0])) == float("inf")
    assert float_tolerance([one]) == 1e-4
    assert float_tolerance([one * 50]) == pytest.approx(1e-3)


def test_numbers_are_alike_within_a_share_of_their_spread() -> None:
    answers = [Prediction(str(number), float(number), math.nan) for number in range(8)]
    near = near_numbers(answers, is_exact=False)
    assert near == pytest.approx(0.05 * np.std(range(8), ddof=1))
    assert changed_places(answers, [replace(answers[0], label=0.9 * near), *answers[1:]], near) == []
    assert changed_places(answers, [replace(answers[0], label=1.1 * near), *answers[1:]], near) == [0]
