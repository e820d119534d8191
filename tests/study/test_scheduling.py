"""Which runs go at the same time, with runs that only pretend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tunesmith.experiment import Experiment
from tunesmith.machine import Machine, memory_limit
from tunesmith.study.plan import Run
from tunesmith.study.running import Outcome
from tunesmith.study.scheduling import Occupancy, Room, memory_of, schedule

GB = 1 << 30
RECIPE = Experiment.from_mapping({"task": "sequence_classification", "data": {"train": "a.csv"}})


def run_of(cell: str, seed: int = 1) -> Run:
    return Run(cell, seed, RECIPE, Path(cell) / f"seed-{seed}")


@dataclass
class Fake:
    """A run that ends after so many looks, and took so much memory."""

    run: Run
    looks: int
    peak: int
    failure: str = ""

    def outcome(self) -> Outcome | None:
        self.looks -= 1
        return Outcome(self.run, {"peak_memory_bytes": self.peak}, self.failure) if self.looks <= 0 else None


@dataclass
class Stage:
    """Begins fake runs, and remembers how many went at a time and what they took together."""

    looks: Callable[[Run], int] = lambda _run: 3
    peak: Callable[[Run], int] = lambda _run: GB
    running: list[Fake] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    together: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    failures: dict[str, list[str]] = field(default_factory=dict)

    def start(self, run: Run) -> Fake:
        failure = self.failures.get(run.cell, [])
        self.begun.append(run.cell)
        self.together.append(len(self.running) + 1)
        self.bytes.append(sum(one.peak for one in self.running) + self.peak(run))
        return Fake(run, self.looks(run), self.peak(run), failure.pop(0) if failure else "")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.study.scheduling._PAUSE", 0)


def in_turn(runs: Sequence[Run]) -> Callable[[Sequence[Outcome], Sequence[Run]], Run | None]:
    waiting: Iterator[Run] = iter(runs)
    return lambda _done, _running: next(waiting, None)


def all_of(stage: Stage, runs: Sequence[Run], room: Room, first: dict[str, int] | None = None) -> list[Outcome]:
    return list(schedule(in_turn(runs), stage.start, room, first or {}, stage.running))


def test_every_run_is_done_once_and_as_many_at_a_time_as_there_are_workers() -> None:
    stage = Stage()
    outcomes = all_of(stage, [run_of(f"c{n}") for n in range(9)], Room(3, 1, 0))
    assert sorted(one.run.cell for one in outcomes) == sorted(stage.begun) == [f"c{n}" for n in range(9)]
    assert stage.together == [1, 2, 3] * 3, "runs of one length begin and end by threes"
    stage = Stage(looks=lambda run: 40 if run.cell == "c0" else 2)
    all_of(stage, [run_of(f"c{n}") for n in range(9)], Room(2, 1, 0))
    assert stage.together == [1, *[2] * 8], "the short ones go beside the long one, one after the other"


def test_no_more_go_at_a_time_than_the_memory_holds() -> None:
    stage = Stage(peak=lambda run: 3 * GB)
    all_of(stage, [run_of(f"c{n}") for n in range(6)], Room(4, 1, 7 * GB), {f"c{n}": 3 * GB for n in range(6)})
    assert max(stage.together) == 2
    assert max(stage.bytes) <= 7 * GB


def test_what_earlier_runs_of_a_cell_took_decides() -> None:
    """The first estimate of 1 GB was wrong: once a run has shown 4 GB, only one goes at a time."""
    stage = Stage(peak=lambda run: 4 * GB)
    all_of(stage, [run_of("c", seed) for seed in range(6)], Room(2, 1, 6 * GB), {"c": GB})
    assert stage.together[:2] == [1, 2]
    assert set(stage.together[3:]) == {1}


def test_a_cell_without_runs_is_taken_to_need_the_most_that_any_took() -> None:
    done = [Outcome(run_of("a"), {"peak_memory_bytes": 2 * GB}), Outcome(run_of("b"), {"peak_memory_bytes": 4 * GB})]
    assert memory_of(run_of("a", 2), done, {}) == pytest.approx(2.2 * GB, rel=1e-6)
    assert memory_of(run_of("new"), done, {"new": GB}) == pytest.approx(4.4 * GB, rel=1e-6)
    assert memory_of(run_of("new"), done, {"new": 8 * GB}) == pytest.approx(8.8 * GB, rel=1e-6)
    assert memory_of(run_of("new"), [Outcome(run_of("new"), {}, "failed")], {"new": GB}) == int(1.1 * GB)


def test_one_run_goes_even_where_its_memory_is_not_there() -> None:
    stage = Stage()
    assert len(all_of(stage, [run_of("a"), run_of("b")], Room(2, 1, GB // 2), {"a": GB, "b": GB})) == 2
    assert stage.together == [1, 1]


def test_a_run_killed_beside_others_is_begun_once_more_and_alone() -> None:
    stage = Stage(failures={"b": ["it was stopped by signal 9 (see log)"]})
    outcomes = all_of(stage, [run_of(name) for name in "abc"], Room(3, 1, 0))
    assert stage.begun == ["a", "b", "c", "b"]
    assert stage.together[-1] == 1
    assert not any(one.failure for one in outcomes)
    stage = Stage(failures={"b": ["it was stopped by signal 9"] * 5})
    outcomes = all_of(stage, [run_of(name) for name in "abc"], Room(3, 1, 0))
    assert stage.begun.count("b") == 2
    assert [one.run.cell for one in outcomes if one.failure] == ["b"]


def test_a_run_that_failed_otherwise_is_not_begun_again() -> None:
    stage = Stage(failures={"a": ["DataError: ..."]})
    outcomes = all_of(stage, [run_of("a"), run_of("b")], Room(2, 1, 0))
    assert stage.begun == ["a", "b"]
    assert [one.failure for one in outcomes if one.failure] == ["DataError: ..."]


def test_a_source_that_waits_for_an_end_is_asked_again() -> None:
    """As a search does: the second run follows from the first one's end."""
    stage = Stage()
    asked: list[int] = []

    def source(done: Sequence[Outcome], running: Sequence[Run]) -> Run | None:
        asked.append(len(done))
        return run_of(f"c{len(done)}") if not running and len(done) < 3 else None

    assert len(list(schedule(source, stage.start, Room(2, 1, 0), {}, stage.running))) == 3
    assert stage.begun == ["c0", "c1", "c2"]


MACHINE = Machine("p", 8, 32 * GB, 16 * GB, False, False, "none", 0)


def test_the_room_is_a_run_per_core_but_one_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.study.scheduling.memory_limit", lambda: 0)
    assert Room.of(MACHINE) == Room(8, 1, int(0.85 * 16 * GB))
    assert Room.of(MACHINE, 2) == Room(2, 4, int(0.85 * 16 * GB))
    assert Room.of(replace(MACHINE, accelerator="H100")).workers == 1
    accelerated = replace(MACHINE, accelerator="H100", accelerator_memory_bytes=80 * GB)
    assert Room.of(accelerated, 3) == Room(3, 0, int(0.85 * 80 * GB))
    monkeypatch.setattr("tunesmith.study.scheduling.memory_limit", lambda: 4 * GB)
    assert Room.of(MACHINE).memory == int(0.85 * 4 * GB)


def test_a_groups_limit_is_what_is_left_of_it(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert memory_limit(tmp_path) == 0
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory_limit(tmp_path) == 995
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 3\nactive_file 1\n")
    assert memory_limit(tmp_path) == 998, "files that were read are given back when memory is asked for"


def test_the_room_that_was_used_is_counted_until_the_last_run_begins() -> None:
    now = 0.0
    occupancy = Occupancy(2, lambda: now)
    assert occupancy.share() == 1.0
    # of two places one is taken from 1 to 3 and both from 3 to 4; the last run begins at 8, after a pause of 4
    for moment, running, begins in (
        (1, 1, True),
        (3, 2, True),
        (4, 1, False),
        (4, 0, False),
        (8, 1, True),
        (20, 0, False),
    ):
        now = float(moment)
        occupancy.now(running, begins=begins)
    assert occupancy.share() == pytest.approx((2 * 1 + 1 * 2) / (8 * 2))
