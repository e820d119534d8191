"""What the service notes of batches, answers and versions: as metrics and parts of traces, none of it text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.service.batching import Waiting
from tunesmith.service.engine import Answers, Part
from tunesmith.service.protection import Protection
from tunesmith.service.tracing import note_writing
from tunesmith.service.versions import Registry, Served, Version
from tunesmith.watching.metrics import Metrics


class Notes:
    """Takes note of what batcher and switch do."""

    def __init__(self, metrics: Metrics, registry: Registry, protection: Protection) -> None:
        self._metrics = metrics
        self._registry = registry
        self._protection = protection

    def answered(self, slot: str, batch: Sequence[Waiting], answers: Answers) -> None:
        """A batch was answered."""
        version = self._registry.by_slot(slot)
        now = time.monotonic()
        self._metrics.batch(
            model=version.model,
            texts=len(batch),
            tokens=answers.tokens,
            padding=answers.padding,
            queue_seconds=[max(0.0, now - one.since - answers.seconds) for one in batch],
            inference_seconds=answers.seconds,
        )
        for one, row in zip(batch, answers.rows, strict=True):
            # Golden examples and shadows would bend what is seen of the traffic.
            if "label" in row and not one.question.keys() & {"golden", "shadow"}:
                self._metrics.answer(
                    model=version.model,
                    version=version.id,
                    labels=labels_of(row, version.label_kind),
                    confidence=row.get("confidence"),
                )

    def wrote(self, slot: str, times: tuple[float, float], last: Part) -> None:
        """A text was written; it is counted part by part, elsewhere."""
        note_writing(self._registry.by_slot(slot), times, last)

    def waits(self, slot: str, length: int) -> None:
        """So many texts wait for a model."""
        self._metrics.queue(slot.partition("@")[0], length)

    def spared(self, reason: str) -> None:
        """A text was not asked any more."""
        self._metrics.shed(reason)

    def restarted(self, reason: str) -> None:
        """A worker ended and is started again."""
        self._metrics.restarted(reason)

    def alive(self, workers: int) -> None:
        """So many workers are there."""
        self._metrics.workers(workers)

    def loaded(self, version: Version) -> None:
        """A version can be asked from now on."""
        self._metrics.loaded(version.model, version.id, version.sha256, version.form)

    def switched(self, served: Served, seconds: float) -> None:
        """Who answers what is so from now on."""
        version = served.champion
        self._protection.known(version)
        self._metrics.swapped(version.model, version.id, version.sha256, version.form, seconds)
        for one in served.held.values():
            self._metrics.shares(one.model, one.id, served.share_of(one))

    def released(self, version: Version) -> None:
        """A version was let go."""
        self._metrics.retired(version.model, version.id)


def labels_of(row: Mapping[str, Any], kind: str) -> list[str]:
    """The labels of the model's own schema that an answer gives; none where answers are free."""
    label = row["label"]
    if kind == "class":
        return [str(label)]
    if kind == "classes":
        return [str(one) for one in label]
    return [str(span["label"]) for span in label] if kind == "spans" else []
