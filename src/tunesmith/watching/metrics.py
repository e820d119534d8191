"""Metrics: what the service counts, in a registry of its own, with labels of which there are never many."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0
from prometheus_client.metrics_core import Metric

from tunesmith.watching.metric_table import METRIC_ROWS, PREFIX, MetricRow

LABELS_PER_MODEL = 100
RETIRED_KEPT = 10
WORDS_PER_LABEL = 64
OTHER = "other"
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_FAILURES = ("200", "429", "500", "503", "504")

Version = tuple[str, str]
"""The name of a model and of its version."""


class Metrics:
    """Counters, gauges and histograms of one service; call it from the front process, whose event loop needs no lock.

    A model and version that were not `loaded` or `swapped` in stand as "other", words that are none (too long, with
    blanks) too: what a client sends cannot make series. The texts and users of requests are never given to it. Of
    versions that were `retired`, the last ten keep their series.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(namespace=PREFIX.rstrip("_"), registry=self.registry)
        self._made = {row.name: _made(row, self.registry) for row in METRIC_ROWS}
        self._serving: dict[Version, tuple[str, str]] = {}
        self._retired: deque[Version] = deque()
        self._versions: set[Version] = set()
        self._models: set[str] = set()
        self._labels: dict[str, set[str]] = {}
        self._words: dict[str, set[str]] = {}
        self._bound: dict[tuple[str, ...], Counter | Gauge | Histogram] = {}

    def request(self, *, task: str, model: str, version: str, code: int, seconds: float) -> None:
        """Count a request that was answered with an HTTP status after so many seconds, whatever the answer."""
        model, version = self._known(model, version)
        task = self._word("task", task)
        status = str(code) if 100 <= code <= 599 else OTHER
        if ("requests_total", task, model, version, status) not in self._bound:
            for usual in _FAILURES:  # a series that begins at 1 hides its first failure from rate()
                self._counter("requests_total", task, model, version, usual)
        self._counter("requests_total", task, model, version, status).inc()
        self._histogram("request_duration_seconds", model).observe(seconds)

    def batch(
        self,
        *,
        model: str,
        texts: int,
        tokens: int,
        padding: int,
        queue_seconds: Sequence[float],
        inference_seconds: float,
    ) -> None:
        """Count a batch: its texts, tokens without padding, tokens of padding, each text's wait, the model's time."""
        model = self._known_model(model)
        self._histogram("batch_size", model).observe(texts)
        self._histogram("batch_tokens", model).observe(tokens)
        self._counter("tokens_total", model).inc(tokens)
        self._counter("padding_tokens_total", model).inc(padding)
        waits = self._histogram("queue_seconds", model)
        for wait in queue_seconds:
            waits.observe(wait)
        self._histogram("inference_seconds", model).observe(inference_seconds)

    def answer(self, *, model: str, version: str, labels: Sequence[str], confidence: float | None = None) -> None:
        """Count an answer by the labels of the model's own schema that it gives; never give text as a label."""
        model, version = self._known(model, version)
        for label in labels:
            self._counter("predictions_total", model, version, self._label(model, label)).inc()
        if confidence is not None:
            self._histogram("confidence", model).observe(confidence)

    def generated(self, model: str, tokens: int) -> None:
        """Count tokens that a model wrote."""
        self._counter("generated_tokens_total", self._known_model(model)).inc(tokens)

    def entered(self) -> None:
        """A request came in."""
        self._gauge("inflight").inc()

    def left(self) -> None:
        """It was answered, or its client left."""
        self._gauge("inflight").dec()

    def queue(self, model: str, length: int) -> None:
        """So many texts wait for a batch."""
        self._gauge("queue_length", self._known_model(model)).set(length)

    def shed(self, reason: str) -> None:
        """A request was turned away because of load."""
        self._counter("shed_total", self._word("shed", reason)).inc()

    def limit_refused(self, reason: str) -> None:
        """A request was over what its key may have."""
        self._counter("limit_refusals_total", self._word("limit", reason)).inc()

    def guard(self, guard: str, action: str) -> None:
        """A guard acted."""
        self._counter("guard_actions_total", self._word("guard", guard), self._word("action", action)).inc()

    def personal_data(self, kind: str, action: str, count: int = 1) -> None:
        """Items of personal data were found, and this was done with them."""
        self._counter("pii_found_total", self._word("kind", kind), self._word("done", action)).inc(count)

    def shadowed(self, model: str, version: str, result: str, count: int = 1) -> None:
        """A shadow was asked beside what answered, which makes none of the series of answers: as `rows.agreement`."""
        self._counter("shadow_answers_total", *self._known(model, version), self._word("result", result)).inc(count)

    def swapped(self, model: str, version: str, sha256: str, form: str, seconds: float) -> None:
        """A version answers from now on; `seconds` is from the start of its loading."""
        self.loaded(model, version, sha256, form)
        self._histogram("model_swap_seconds", model).observe(seconds)

    def shares(self, model: str, version: str, share: float) -> None:
        """A loaded version answers this share of the requests that name no version."""
        self._gauge("version_share", *self._known(model, version)).set(share)

    def loaded(self, model: str, version: str, sha256: str, form: str) -> None:
        """A version is loaded: from now on it stands by its name."""
        before = self._serving.pop((model, version), None)
        if before is not None:
            self._remove("model_info", model, version, *before)
        if (model, version) in self._retired:
            self._retired.remove((model, version))
        self._serving[model, version] = (sha256, form)
        self._gauge("model_info", model, version, sha256, form).set(1)
        self._count_versions()

    def retired(self, model: str, version: str) -> None:
        """A version was let go. Its counts stay until ten more have been retired."""
        found = self._serving.pop((model, version), None)
        if found is None:
            return
        self._remove("model_info", model, version, *found)
        self._remove("version_share", model, version)
        self._retired.append((model, version))
        oldest = self._retired.popleft() if len(self._retired) > RETIRED_KEPT else None
        self._count_versions()
        if oldest is not None:
            self._forget(*oldest)

    def workers(self, alive: int) -> None:
        """So many processes that hold models are alive."""
        self._gauge("workers").set(alive)

    def restarted(self, reason: str) -> None:
        """Such a process was started again."""
        self._counter("worker_restarts_total", self._word("restart", reason)).inc()

    def feedback(self, verdict: str) -> None:
        """A user judged an answer."""
        self._counter("feedback_total", self._word("verdict", verdict)).inc()

    def dropped(self, count: int = 1) -> None:
        """Answers could not be remembered."""
        self._counter("answers_dropped_total").inc(count)

    def text(self) -> tuple[bytes, str]:
        """What `/metrics` answers, and its content type."""
        return generate_latest(_WithoutBirths(self.registry)), CONTENT_TYPE_PLAIN_1_0_0

    def _known(self, model: str, version: str) -> Version:
        pair = (model, version)
        return pair if pair in self._versions else (self._known_model(model), OTHER)

    def _known_model(self, model: str) -> str:
        return model if model in self._models else OTHER

    def _count_versions(self) -> None:
        self._versions = {*self._serving, *self._retired}
        self._models = {model for model, _ in self._versions}
        self._gauge("models_ready").set(len(self._serving))

    def _label(self, model: str, label: str) -> str:
        known = self._labels.setdefault(model, set())
        if label in known:
            return label
        if len(known) >= LABELS_PER_MODEL or len(label) > WORDS_PER_LABEL:
            return OTHER
        known.add(label)
        return label

    def _word(self, kind: str, word: str) -> str:
        known = self._words.setdefault(kind, set())
        if word in known:
            return word
        if len(known) >= WORDS_PER_LABEL or _WORD.fullmatch(word) is None:
            return OTHER
        known.add(word)
        return word

    def _counter(self, name: str, *labels: str) -> Counter:
        found = self._child(name, *labels)
        assert isinstance(found, Counter)
        return found

    def _gauge(self, name: str, *labels: str) -> Gauge:
        found = self._child(name, *labels)
        assert isinstance(found, Gauge)
        return found

    def _histogram(self, name: str, *labels: str) -> Histogram:
        found = self._child(name, *labels)
        assert isinstance(found, Histogram)
        return found

    def _child(self, *place: str) -> Counter | Gauge | Histogram:
        # labels() of prometheus_client makes strings and takes a lock, for a child that stays the same.
        if (found := self._bound.get(place)) is None:
            parent = self._made[place[0]]
            found = self._bound[place] = parent.labels(*place[1:]) if place[1:] else parent
        return found

    def _remove(self, *place: str) -> None:
        if self._bound.pop(place, None) is not None:
            self._made[place[0]].remove(*place[1:])

    def _forget(self, model: str, version: str) -> None:
        """Drop the series of a version; those of the model too when no version of it is left."""
        rows = {row.name: row.labels for row in METRIC_ROWS}
        gone = {"model": model} if model not in self._models else {"model": model, "version": version}
        for place in list(self._bound):
            labels = dict(zip(rows[place[0]], place[1:], strict=True))
            if all(labels.get(name) == value for name, value in gone.items()):
                self._remove(*place)
        if "version" not in gone:
            self._labels.pop(model, None)


class _WithoutBirths:
    """A registry without the times at which its counters were made, which double the number of series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _made(row: MetricRow, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if row.kind == "histogram":
        return Histogram(row.full_name, row.help, row.labels, registry=registry, buckets=row.buckets)
    kind = Counter if row.kind == "counter" else Gauge
    return kind(row.full_name, row.help, row.labels, registry=registry)
