"""What watching costs: processor time per request, per scrape, and of traces where nobody asked for any.

    python benchmarks/watching_cost.py

Prints two lines. A request is a batch's share (8 texts per batch), an answer, and the request itself; 20 models serve.
"""

from __future__ import annotations

import asyncio
import time
from typing import cast

from tunesmith.service.batching import Waiting
from tunesmith.service.tracing import note_batches
from tunesmith.service.versions import Version
from tunesmith.watching.metrics import Metrics

BATCHES, TEXTS = 5000, 8


def answer_batch(metrics: Metrics) -> None:
    """All that the front counts for a batch of eight requests."""
    metrics.queue("model3", TEXTS)
    waits = [0.002] * TEXTS
    metrics.batch(model="model3", texts=TEXTS, tokens=256, padding=20, queue_seconds=waits, inference_seconds=0.03)
    for _ in range(TEXTS):
        metrics.entered()
        metrics.guard("size", "pass")
        metrics.answer(model="model3", version="v1", labels=["positive"], confidence=0.97)
        metrics.request(task="sequence_classification", model="model3", version="v1", code=200, seconds=0.03)
        metrics.left()


def main() -> None:
    """Measure and print."""
    metrics = Metrics()
    for number in range(20):
        metrics.swapped(f"model{number}", "v1", "a" * 64, "torch", 1.2)
    for _ in range(200):
        answer_batch(metrics)
    begin = time.process_time()
    for _ in range(BATCHES):
        answer_batch(metrics)
    per_request = (time.process_time() - begin) / BATCHES / TEXTS
    begin = time.process_time()
    for _ in range(20):
        body, _ = metrics.text()
    per_scrape = (time.process_time() - begin) / 20
    print(
        f"{per_request * 1e6:.1f} us of processor time per request over {BATCHES * TEXTS} requests; "
        f"a scrape of {len(body)} bytes takes {per_scrape * 1e3:.1f} ms"
    )
    print(f"{untraced() * 1e6:.2f} us per request for traces where nobody traces")


def untraced() -> float:
    """Seconds per request of what the way of a request has for traces, without a tracer."""

    async def measured() -> float:
        loop = asyncio.get_running_loop()
        texts = [Waiting({}, 32, 0.0, loop.create_future()) for _ in range(TEXTS)]
        version = cast(Version, None)  # it is not looked at where nobody traces
        begin = time.process_time()
        for _ in range(BATCHES):
            begun = ended = time.monotonic()
            for one in texts:
                one.begun, one.ended, one.beside = begun, ended, TEXTS
                note_batches(version, [one])
        return (time.process_time() - begin) / BATCHES / TEXTS

    return asyncio.run(measured())


if __name__ == "__main__":
    main()
