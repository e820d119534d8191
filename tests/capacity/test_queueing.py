"""The queue that is played through, beside formulas where there are some."""

from __future__ import annotations

import math
import shlex
import statistics
from pathlib import Path

import pytest

from tunesmith import capacity_console, cli
from tunesmith.access.key_store import KeyStore
from tunesmith.capacity import measuring
from tunesmith.capacity.load import Reply
from tunesmith.capacity.measuring import Measured, Probe
from tunesmith.capacity.planning import Target, highest, plan
from tunesmith.capacity.queueing import Costs, Machine, ceiling, highest_rate, latencies, p99, quantile
from tunesmith.errors import TunesmithError

ONE_BY_ONE = Costs(front=0.0, fixed=0.01, each=0.0, way=0.0, spread=0.0, most=1)


def erlang_c(workers: int, load: float) -> float:
    """The chance to wait in M/M/c (Erlang 1917)."""
    terms = [load**k / math.factorial(k) for k in range(workers)]
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    return last / (sum(terms) + last)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.85])
def test_one_worker_without_batches_waits_as_pollaczek_and_khinchine_say(share: float) -> None:
    rate = share / 0.01
    found = statistics.mean(latencies(ONE_BY_ONE, Machine(1), rate, count=120_000))
    assert found == pytest.approx(0.01 + rate * 0.01**2 / (2 * (1 - share)), rel=0.06)


@pytest.mark.parametrize(("workers", "share"), [(2, 0.7), (4, 0.8)])
def test_workers_without_batches_wait_as_erlang_says(workers: int, share: float) -> None:
    # A log-normal whose standard deviation is its mean has an exponential's first two moments.
    costs = Costs(0.0, 0.0, 0.01, 0.0, spread=1.0, most=1)
    rate = share * workers / 0.01
    wait = erlang_c(workers, share * workers) * 0.01 / (workers * (1 - share))
    assert statistics.mean(latencies(costs, Machine(workers), rate, count=150_000)) - 0.01 == pytest.approx(
        wait, rel=0.12
    )


def test_batches_carry_a_load_under_which_one_by_one_would_drown() -> None:
    batched = Costs(0.0, 0.008, 0.002, 0.0, 0.0, most=8)
    assert ceiling(batched, Machine(1)) == pytest.approx(8 / 0.024)
    assert p99(batched, Machine(1), 250) < 0.1
    assert p99(Costs(0.0, 0.008, 0.002, 0.0, 0.0, most=1), Machine(1), 250) > 1


def test_a_lone_request_takes_what_its_parts_take() -> None:
    costs = Costs(0.001, 0.002, 0.003, 0.004, 0.0)
    assert quantile(latencies(costs, Machine(1), 0.1, count=200), 0.5) == pytest.approx(0.01)


def test_the_highest_rate_is_where_the_wish_ends() -> None:
    costs = Costs(0.0004, 0.001, 0.004, 0.0005)
    rate = highest_rate(costs, Machine(2), 0.05)
    assert p99(costs, Machine(2), rate) <= 0.05 < p99(costs, Machine(2), 1.05 * rate)
    assert highest_rate(costs, Machine(2), 0.001) == 0


def test_cores_that_front_and_workers_share_bound_the_rate() -> None:
    costs = Costs(0.001, 0.0, 0.002, 0.0, 0.0)
    assert ceiling(costs, Machine(2)) == pytest.approx(1000)
    assert ceiling(costs, Machine(2, cores=2)) == pytest.approx(2 / 0.003)
    assert ceiling(costs, Machine(2, cores=2, beside=0.5)) == pytest.approx(1.5 / 0.003)


def found(off: float = 1.2) -> Measured:
    costs = Costs(0.0004, 0.001, 0.003, 0.0005)
    return Measured(costs, Machine(2, 2), 0.005, 0.004, 450, 3.0, (Probe(200, 900, 0.02, 0.018, 0.03, 0.02),), off)


def test_a_small_rate_needs_one_process_and_a_large_one_machines() -> None:
    assert plan(found(), Target(100, 0.1)).verdict == "single"
    steady = plan(found(), Target(3000, 0.1, cores=4))
    assert steady.verdict == "copies"
    assert steady.copies * steady.workers_each >= steady.workers
    assert plan(found(), Target(3000, 0.1, cores=4, swing=4)).verdict == "ray"


def test_a_wish_below_what_the_model_takes_is_impossible() -> None:
    never = plan(found(), Target(100, 0.004))
    assert never.verdict == "impossible"
    assert "idle" in never.why


def test_more_headroom_and_more_doubt_never_need_fewer_workers() -> None:
    plain = plan(found(1.0), Target(2000, 0.05, headroom=0.0, cores=8)).workers
    assert plan(found(1.0), Target(2000, 0.05, headroom=0.5, cores=8)).workers > plain
    assert plan(found(2.0), Target(2000, 0.05, headroom=0.0, cores=8)).workers >= plain


def test_machines_are_planned_by_what_one_of_them_answers_and_not_by_the_front_of_all() -> None:
    costs = Costs(0.003, 0.005, 0.03, 0.004, 0.5, 8)
    slow = Measured(costs, Machine(2, 2), 0.04, 0.035, 45, 3.0, (), 1.0)
    rate, _, _ = highest(slow, 0.12)
    made = plan(slow, Target(900, 0.12, cores=2))
    assert made.workers_each == 2
    assert made.copies == pytest.approx(900 * 1.3 / rate, abs=1)
    assert made.rate_each == pytest.approx(rate)


@pytest.mark.parametrize(("front", "verdict"), [(0.003, "impossible: An idle"), (0.02, "ray: Machines with a service")])
def test_a_wish_that_machines_meet_only_when_all_but_idle_takes_no_huge_number_of_them(
    capsys: pytest.CaptureFixture[str], front: float, verdict: str
) -> None:
    costs = Costs(front, 0.005, 0.03, 0.004, 0.5, 8)
    slow = Measured(costs, Machine(2, 2), 0.04, 0.035, 45, 3.0, (), 1.0)
    target = Target(900, p99(costs, Machine(2, 2), 3.0), cores=2)
    made = plan(slow, target)
    assert made.copies == 0
    capacity_console.show(slow, highest(slow, target.wish), target, made)
    said = " ".join(capsys.readouterr().out.split())
    assert "not with this delay" in said
    assert verdict in said


def test_a_rate_beyond_one_pool_is_for_machines_of_their_own() -> None:
    far = plan(found(), Target(200_000, 0.1, cores=4))
    assert (far.verdict, far.workers) == ("copies", 0)
    assert "512" in far.why


def test_the_key_of_the_page_and_of_the_hint_may_ask_what_a_load_test_asks(tmp_path: Path) -> None:
    with pytest.raises(TunesmithError) as refused:
        measuring._good([Reply(200, 0.1), Reply(429, 0.1)])
    page = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
    for text in (page.partition("$ tunesmith ")[2].partition("\n")[0], refused.value.to_do.partition("tunesmith ")[2]):
        line = [*shlex.split(text), "--state", str(tmp_path)]
        assert cli.guarded(lambda line=line: cli.app(line, standalone_mode=False)) == 0  # type: ignore[misc]
    keys = KeyStore(tmp_path).keys()
    assert len(keys) == 2
    for key in keys:
        assert key.scopes == ("predict", "metrics")
        assert key.limits.requests_per_minute >= 60 * 10_000
        assert key.limits.tokens_per_minute >= 1000 * key.limits.requests_per_minute
