"""Every metric of the service: its name, kind, labels and meaning. The metrics, the docs and the rules read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "tunesmith_"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
TOKENS = (16, 64, 256, 1024, 4096, 16384, 65536)
CONFIDENCES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class MetricRow:
    """A metric: `name` without prefix, as it is exposed; buckets are upper bounds in the metric's unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()

    @property
    def full_name(self) -> str:
        """The name that Prometheus sees."""
        return PREFIX + self.name

    def series(self) -> dict[str, tuple[str, ...]]:
        """The names of its series in PromQL, each with its labels."""
        if not self.buckets:
            return {self.full_name: self.labels}
        return {
            f"{self.full_name}_bucket": (*self.labels, "le"),
            f"{self.full_name}_sum": self.labels,
            f"{self.full_name}_count": self.labels,
        }


METRIC_ROWS = (
    MetricRow("requests_total", "counter", ("task", "model", "version", "code"), "Requests answered, by HTTP status."),
    MetricRow("request_duration_seconds", "histogram", ("model",), "From request to answer.", SECONDS),
    MetricRow("queue_seconds", "histogram", ("model",), "A text's wait for its batch.", SECONDS),
    MetricRow("inference_seconds", "histogram", ("model",), "The model's time for a batch.", SECONDS),
    MetricRow("batch_size", "histogram", ("model",), "Texts in a batch.", TEXTS),
    MetricRow("batch_tokens", "histogram", ("model",), "Tokens in a batch, without padding.", TOKENS),
    MetricRow("tokens_total", "counter", ("model",), "Tokens read, without padding."),
    MetricRow("padding_tokens_total", "counter", ("model",), "Tokens of padding, computed for nothing."),
    MetricRow("generated_tokens_total", "counter", ("model",), "Tokens written by models that write."),
    MetricRow("inflight", "gauge", (), "Requests being worked on."),
    MetricRow("queue_length", "gauge", ("model",), "Texts that wait for a batch."),
    MetricRow("shed_total", "counter", ("reason",), "Requests turned away because of load."),
    MetricRow("limit_refusals_total", "counter", ("reason",), "Requests over a key's rate or size."),
    MetricRow("predictions_total", "counter", ("model", "version", "label"), "Answers, by the label given."),
    MetricRow("confidence", "histogram", ("model",), "Confidence of answers, 0 to 1.", CONFIDENCES),
    MetricRow("guard_actions_total", "counter", ("guard", "action"), "What guards did to requests and answers."),
    MetricRow("pii_found_total", "counter", ("kind", "action"), "Items of personal data found."),
    MetricRow(
        "shadow_answers_total", "counter", ("model", "version", "result"), "A shadow's answers beside those given."
    ),
    MetricRow("models_ready", "gauge", (), "Versions of models that are loaded and can be asked."),
    MetricRow("model_info", "gauge", ("model", "version", "sha256", "form"), "1 for each version that is loaded."),
    MetricRow("version_share", "gauge", ("model", "version"), "Share of requests that it answers now, 0 to 1."),
    MetricRow("model_swap_seconds", "histogram", ("model",), "From loading a version to its answering.", SECONDS),
    MetricRow("workers", "gauge", (), "Processes that hold models and are alive."),
    MetricRow("worker_restarts_total", "counter", ("reason",), "Such processes started again."),
    MetricRow("feedback_total", "counter", ("verdict",), "Verdicts of users on answers."),
    MetricRow("answers_dropped_total", "counter", (), "Answers that could not be remembered."),
)
"""All metrics of our own."""

PROCESS_ROWS = (
    MetricRow("process_cpu_seconds_total", "counter", (), "Processor time of the front process."),
    MetricRow("process_resident_memory_bytes", "gauge", (), "Memory of the front process."),
    MetricRow("process_virtual_memory_bytes", "gauge", (), "Address space of the front process."),
    MetricRow("process_start_time_seconds", "gauge", (), "When the front process started, Unix time."),
    MetricRow("process_open_fds", "gauge", (), "Files and sockets that it holds open."),
    MetricRow("process_max_fds", "gauge", (), "How many it may hold open."),
)
"""Those of the process, on Linux only, from prometheus_client."""


def known_series() -> dict[str, tuple[str, ...]]:
    """Name and labels of every series, and of `up`, which whoever scrapes makes; scraping adds `job` and `instance`."""
    found: dict[str, tuple[str, ...]] = {"up": ()}
    for row in (*METRIC_ROWS, *PROCESS_ROWS):
        found |= row.series()
    return {name: (*labels, "job", "instance") for name, labels in found.items()}


def markdown_table() -> str:
    """The table of docs/watching.md."""
    rows = [
        f"| `{row.full_name}` | {row.kind} | {', '.join(row.labels) or '-'} | {row.help} |\n"
        for row in (*METRIC_ROWS, *PROCESS_ROWS)
    ]
    return "| Metric | Kind | Labels | What it counts |\n|---|---|---|---|\n" + "".join(rows)
