"""Metrics: what is counted, that labels stay few, that no text gets in, that what is exposed is well formed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.watching.prometheus_tools import program
from tunesmith.watching.history import Sample
from tunesmith.watching.metric_table import METRIC_ROWS, PROCESS_ROWS, known_series, markdown_table
from tunesmith.watching.metrics import LABELS_PER_MODEL, Metrics
from tunesmith.watching.scraping import samples_of

SECRET = "my card is 4111 1111 1111 1111 张伟"


def busy() -> Metrics:
    """Metrics of a service in which everything happened once."""
    metrics = Metrics()
    metrics.swapped("news", "v1", "a" * 64, "torch", 1.5)
    metrics.shares("news", "v1", 1.0)
    metrics.shadowed("news", "v1", "same", 2)
    metrics.entered()
    metrics.queue("news", 3)
    waits = [0.002, 0.004]
    metrics.batch(model="news", texts=2, tokens=30, padding=10, queue_seconds=waits, inference_seconds=0.02)
    metrics.answer(model="news", version="v1", labels=["sport"], confidence=0.9)
    metrics.request(task="sequence_classification", model="news", version="v1", code=200, seconds=0.03)
    metrics.generated("news", 7)
    metrics.shed("queue_full")
    metrics.limit_refused("tokens_per_minute")
    metrics.guard("language", "refuse")
    metrics.personal_data("email", "mask", 2)
    metrics.workers(2)
    metrics.restarted("killed")
    metrics.feedback("wrong")
    metrics.dropped(4)
    return metrics


def values(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Each exposed sample, without the job that scraping adds."""
    return {(name, frozenset(labels) - {("job", "tunesmith")}): value for name, labels, value in exposed(metrics)}


def exposed(metrics: Metrics) -> list[Sample]:
    return samples_of(metrics.text()[0].decode())


def count(metrics: Metrics, name: str, **labels: str) -> float:
    return values(metrics)[f"tunesmith_{name}", frozenset(labels.items())]


def test_each_call_counts_what_it_says() -> None:
    metrics = busy()
    one = {"task": "sequence_classification", "model": "news", "version": "v1"}
    assert count(metrics, "requests_total", **one, code="200") == 1
    assert count(metrics, "requests_total", **one, code="500") == 0, "the first failure must be visible to rate()"
    assert count(metrics, "request_duration_seconds_sum", model="news") == pytest.approx(0.03)
    assert count(metrics, "request_duration_seconds_bucket", model="news", le="0.025") == 0
    assert count(metrics, "request_duration_seconds_bucket", model="news", le="0.05") == 1
    assert count(metrics, "queue_seconds_count", model="news") == 2
    assert count(metrics, "inference_seconds_sum", model="news") == pytest.approx(0.02)
    assert count(metrics, "batch_size_sum", model="news") == 2
    assert count(metrics, "batch_tokens_sum", model="news") == 30
    assert count(metrics, "tokens_total", model="news") == 30
    assert count(metrics, "padding_tokens_total", model="news") == 10
    assert count(metrics, "generated_tokens_total", model="news") == 7
    assert count(metrics, "queue_length", model="news") == 3
    assert count(metrics, "predictions_total", model="news", version="v1", label="sport") == 1
    assert count(metrics, "confidence_sum", model="news") == pytest.approx(0.9)
    assert count(metrics, "shed_total", reason="queue_full") == 1
    assert count(metrics, "limit_refusals_total", reason="tokens_per_minute") == 1
    assert count(metrics, "guard_actions_total", guard="language", action="refuse") == 1
    assert count(metrics, "pii_found_total", kind="email", action="mask") == 2
    assert count(metrics, "model_info", model="news", version="v1", sha256="a" * 64, form="torch") == 1
    assert count(metrics, "model_swap_seconds_sum", model="news") == pytest.approx(1.5)
    assert count(metrics, "shadow_answers_total", model="news", version="v1", result="same") == 2
    assert count(metrics, "version_share", model="news", version="v1") == 1
    assert count(metrics, "models_ready") == 1
    assert count(metrics, "workers") == 2
    assert count(metrics, "worker_restarts_total", reason="killed") == 1
    assert count(metrics, "feedback_total", verdict="wrong") == 1
    assert count(metrics, "answers_dropped_total") == 4
    assert count(metrics, "inflight") == 1
    metrics.left()
    assert count(metrics, "inflight") == 0


def test_what_is_exposed_is_what_the_table_says() -> None:
    known = known_series()
    found: dict[str, set[str]] = {}
    for name, labels, _ in exposed(busy()):
        found.setdefault(name, set()).update(label for label, _ in labels)
    for name, seen in found.items():
        assert name in known, f"{name} is not in the table"
        assert seen <= set(known[name]), f"{name} has labels {seen}"
    process = {row.full_name for row in PROCESS_ROWS}
    expected = {name for row in METRIC_ROWS for name in row.series()} | {"up"}
    assert set(found) - process == expected
    if Path("/proc/self/stat").exists():
        assert process <= set(found)


def test_the_page_holds_the_table() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "watching.md"
    assert markdown_table() in page.read_text(encoding="utf-8"), "put markdown_table() into docs/watching.md"


def test_names_follow_the_conventions_of_prometheus() -> None:
    for row in METRIC_ROWS:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row.name)
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert bool(row.buckets) == (row.kind == "histogram")
        assert not {"user", "key", "text", "ip", "request_id"} & set(row.labels)


def test_promtool_finds_no_fault_with_what_is_exposed() -> None:
    done = subprocess.run(
        [program("promtool", "prometheus"), "check", "metrics"],
        input=busy().text()[0],
        capture_output=True,
        timeout=60,
        check=False,
    )
    faults = [
        line for line in (done.stdout + done.stderr).decode().splitlines() if "tunesmith_process" not in line and line
    ]
    assert not faults, faults


def test_metrics_stand_apart_from_those_of_other_libraries() -> None:
    busy()
    Metrics()  # a second one in the same process
    assert not [metric.name for metric in REGISTRY.collect() if metric.name.startswith("tunesmith")]


def test_a_model_that_does_not_serve_makes_no_series() -> None:
    metrics = busy()
    before = len(exposed(metrics))
    for number in range(1000):
        metrics.request(task="t", model=f"{SECRET} {number}", version=str(number), code=404, seconds=0.001)
        metrics.answer(model=f"m{number}", version="1", labels=[str(number)], confidence=0.5)
        metrics.queue(f"m{number}", 1)
    assert len(exposed(metrics)) < before + 200  # of "other" with at most 100 labels
    assert count(metrics, "request_duration_seconds_count", model="other") == 1000
    assert SECRET not in metrics.text()[0].decode()


def test_labels_of_a_model_are_bounded_and_none_is_lost() -> None:
    metrics = busy()
    for number in range(500):
        metrics.answer(model="news", version="v1", labels=[f"label{number}"], confidence=None)
    found = [(dict(labels), value) for name, labels, value in exposed(metrics) if name == "tunesmith_predictions_total"]
    assert len(found) == LABELS_PER_MODEL + 1
    assert sum(value for _, value in found) == 501
    assert next(value for labels, value in found if labels["label"] == "other") == 401


@given(st.lists(st.text(max_size=80), max_size=200))
@settings(max_examples=30, deadline=None)
def test_words_that_are_none_stand_as_other(words: list[str]) -> None:
    metrics = Metrics()
    for word in (*words, SECRET):
        metrics.shed(word)
        metrics.limit_refused(word)
        metrics.guard(word, word)
        metrics.personal_data(word, word, 1)
        metrics.restarted(word)
        metrics.feedback(word)
        metrics.request(task=word, model=word, version=word, code=200, seconds=0.1)
    for name, labels, _ in exposed(metrics):
        for label, value in labels:
            assert re.fullmatch(r"[A-Za-z0-9_.:+-]{1,64}", value), (name, label, value)
    shed = [value for name, _, value in exposed(metrics) if name == "tunesmith_shed_total"]
    assert sum(shed) == len(words) + 1


def test_words_are_bounded_in_number() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.shed(f"reason{number}")
    assert len([name for name, _, _ in exposed(metrics) if name == "tunesmith_shed_total"]) == 65


def test_versions_come_and_go_without_growing_the_page() -> None:
    metrics = Metrics()
    sizes = []
    for number in range(100):
        version = f"v{number}"
        metrics.swapped("news", version, f"{number:064x}", "torch", 0.5)
        metrics.retired("news", f"v{number - 1}")
        metrics.request(task="t", model="news", version=version, code=200, seconds=0.1)
        metrics.answer(model="news", version=version, labels=["a", "b"], confidence=0.5)
        sizes.append(len(exposed(metrics)))
    assert sizes[-1] == sizes[20], "series of versions that are long gone stay"
    assert count(metrics, "models_ready") == 1
    infos = [dict(labels)["version"] for name, labels, _ in exposed(metrics) if name == "tunesmith_model_info"]
    assert infos == ["v99"]
    assert count(metrics, "requests_total", task="t", model="news", version="v95", code="200") == 1
    assert count(metrics, "request_duration_seconds_count", model="news") == 100


def test_an_answer_that_is_late_still_counts_for_its_retired_version() -> None:
    metrics = busy()
    metrics.retired("news", "v1")
    metrics.retired("news", "v1")
    metrics.request(task="t", model="news", version="v1", code=200, seconds=0.1)
    assert count(metrics, "requests_total", task="t", model="news", version="v1", code="200") == 1
    assert count(metrics, "models_ready") == 0


def test_a_model_that_is_gone_takes_its_series_along() -> None:
    metrics = busy()
    metrics.retired("news", "v1")
    for number in range(11):
        metrics.swapped(f"m{number}", "v1", "a", "torch", 0.1)
        metrics.retired(f"m{number}", "v1")
    assert not [name for name, labels, _ in exposed(metrics) if ("model", "news") in labels]


def test_a_loaded_version_stands_by_its_name_and_its_share_goes_with_it() -> None:
    metrics = busy()
    metrics.loaded("news", "v2", "b" * 64, "torch")
    metrics.shares("news", "v2", 0.25)
    metrics.answer(model="news", version="v2", labels=["sport"])
    assert count(metrics, "predictions_total", model="news", version="v2", label="sport") == 1
    assert count(metrics, "version_share", model="news", version="v2") == 0.25
    assert count(metrics, "models_ready") == 2
    metrics.retired("news", "v2")
    shares = [dict(labels)["version"] for name, labels, _ in exposed(metrics) if name == "tunesmith_version_share"]
    assert shares == ["v1"]


def test_a_version_put_back_is_the_same_again() -> None:
    metrics = busy()
    metrics.retired("news", "v1")
    metrics.swapped("news", "v1", "b" * 64, "onnx", 0.1)
    assert count(metrics, "model_info", model="news", version="v1", sha256="b" * 64, form="onnx") == 1
    metrics.swapped("news", "v1", "c" * 64, "onnx", 0.1)
    infos = [dict(labels)["sha256"] for name, labels, _ in exposed(metrics) if name == "tunesmith_model_info"]
    assert infos == ["c" * 64]
    assert count(metrics, "models_ready") == 1
