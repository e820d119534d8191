"""What the metrics cost: processor time per request with all calls of the front, and per scrape.

    python benchmarks/watching_cost.py

Prints one line. A request is a batch's share (8 texts per batch), an answer, and the request itself; 20 models serve.
"""

from __future__ import annotations

import time

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


if __name__ == "__main__":
    main()
