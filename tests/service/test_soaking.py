"""What is told of a soak, also of one whose requests were not all answered, or that was interrupted."""

from __future__ import annotations

from collections import Counter

from benchmarks.soaking import Row, progress, told


def row(seconds: float, megabytes: float, late: int = 0) -> Row:
    return seconds, Counter({200: 500 - late, 504: late}), {"all": megabytes, "open files": 60, "threads": 12}


def test_late_answers_are_counted_and_the_slope_is_told_nevertheless() -> None:
    rows = [row(60, 500, late=3), row(1800, 1000), row(3600, 1010, late=1), row(5400, 1020)]
    assert told(rows) == [
        "2000 requests in 5400 s: 200: 1996, 504: 4; after the first third:",
        "memory of all: 1000 -> 1020 MB, slope 20.0 MB per hour",
        "open files 60 -> 60",
        "threads 12 -> 12",
    ]


def test_a_soak_that_was_interrupted_early_tells_what_it_has() -> None:
    assert told([]) == ["Nothing was measured."]
    assert "slope unknown" in told([row(60, 500)])[1]
    assert progress([row(60, 500, late=3)]) == "60 s; 200: 497, 504: 3; all 500, open files 60, threads 12"
