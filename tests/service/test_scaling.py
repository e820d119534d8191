"""When replicas come and go: pure decisions over a clock that the tests turn."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from pydantic import ValidationError

from tunesmith.service.scaling import Load, Scaler, Scaling


def run(scaling: Scaling, loads: list[tuple[float, int, float]], replicas: int = 1, every: float = 0.5) -> list[int]:
    """The replicas after each look, for stretches of (seconds, texts, share of the replicas that work)."""
    scaler, now, seen = Scaler(scaling), 100.0, []
    for seconds, texts, busy in loads:
        for _ in range(int(seconds / every)):
            now += every
            replicas = scaler.wanted(now, Load(texts, replicas, round(busy * replicas)))
            seen.append(replicas)
    return seen


def test_much_that_waits_for_a_while_brings_replicas_and_little_takes_them_away() -> None:
    seen = run(Scaling(1, 4, 8.0, up_after=2.0, down_after=10.0), [(1.5, 30, 1), (30, 2, 0)])
    assert set(seen) == {1}
    seen = run(Scaling(1, 4, 8.0, up_after=2.0, down_after=10.0), [(2.5, 30, 1), (120, 0, 0)])
    assert max(seen) == 4
    assert seen[-1] == 1
    downs = [number for number, (a, b) in enumerate(pairwise(seen)) if b < a]
    assert all(b - a >= 20 for a, b in pairwise(downs))  # 10 s at two looks a second


def test_bounds_hold() -> None:
    assert set(run(Scaling(2, 2), [(60, 500, 1), (600, 0, 0)], replicas=2)) == {2}
    assert max(run(Scaling(1, 3, 1.0), [(60, 500, 1)])) == 3


def test_replicas_stay_while_the_others_could_not_do_the_work() -> None:
    # Nothing waits, yet two replicas work 90 % of the time: one alone would drown.
    assert set(run(Scaling(1, 2, 8.0, down_after=5.0), [(120, 3, 0.9)], replicas=2)) == {2}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_a_steady_load_does_not_make_the_number_swing(share: float) -> None:
    """Each look sees working replicas drawn from a queue whose load is a share of one replica's strength."""
    draw, scaler, replicas, changes = random.Random(4), Scaler(Scaling(1, 3, 8.0, 2.0, 10.0)), 1, 0
    for look in range(4000):
        busy = sum(draw.random() < share / replicas for _ in range(replicas))
        waiting = busy + (int(draw.expovariate((1 - share) / share)) if replicas == 1 else 0)
        now = scaler.wanted(1 + 0.5 * look, Load(waiting, replicas, busy))
        changes += now != replicas
        replicas = now
    assert changes <= 4


@pytest.mark.parametrize("wrong", [{"least": 0}, {"most": 0}, {"waiting_each": 0}, {"up_after": -1}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Scaling(**wrong)  # type: ignore[arg-type]
