"""The plan of steps: every example once per epoch, like lengths together, pairs of a few texts mixed."""

from __future__ import annotations

from collections import Counter

import numpy as np

from tunesmith.tasks.encoding import Encoded, plain_piece
from tunesmith.training.batching import StepPlan

LENGTHS = [5 + number // 32 for number in range(256)]
"""Eight lengths, each of 32 examples."""


def plan(*, by_length: bool, epochs: int = 1) -> list[list[int]]:
    encoded = [Encoded((plain_piece(list(range(length))),), np.array(0.0)) for length in LENGTHS]
    steps = StepPlan(encoded, epochs, 16, 1, 4096, seed=3, by_length=by_length).steps()
    return [[index for micro in step.micro_batches for index in micro] for step in steps]


def test_each_example_is_seen_once_per_epoch() -> None:
    for by_length in (True, False):
        steps = plan(by_length=by_length, epochs=2)
        for epoch in (steps[:16], steps[16:]):
            assert sorted(index for step in epoch for index in step) == list(range(256))
        assert steps[:16] != steps[16:]


def test_examples_of_like_length_share_a_step_unless_they_are_to_be_mixed() -> None:
    sorted_steps, mixed_steps = (
        [len({LENGTHS[index] for index in step}) for step in plan(by_length=by_length)] for by_length in (True, False)
    )
    assert sorted_steps == [1] * 16
    assert min(mixed_steps) >= 4


def test_balanced_epochs_show_each_subgroup_alike_and_its_examples_in_turn() -> None:
    encoded = [Encoded((plain_piece([1, 2, 3]),), np.array(0.0)) for _ in range(12)]
    members = ((0, 1), tuple(range(2, 12)))
    made = StepPlan(encoded, 3, 4, 1, 4096, seed=1, members=members)
    for epoch in range(3):
        shown = [n for step in made.steps() if step.epoch == epoch for batch in step.micro_batches for n in batch]
        counts = Counter(shown)
        assert len(shown) == 12
        assert [counts[0], counts[1]] == [3, 3]
        assert max(counts[n] for n in range(2, 12)) == 1
    assert list(made.steps(4)) == list(made.steps())[4:]
