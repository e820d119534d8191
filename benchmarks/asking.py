"""What is asked of a service that is measured, and how its answers compare with the model's own."""

from __future__ import annotations

import lzma
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import Reply, quantile

NEAR = 1e-3
"""How far confidences of one version may be apart, where sums depend on the batch a little."""


def labelled(split: str) -> list[tuple[str, str]]:
    """The sentences of a split of SST-2 with their labels, "0" or "1"."""
    root = Path(os.environ.get("TUNESMITH_DATA", "../shared/data"))
    with lzma.open(root / "sst" / f"stsa.binary.{split}.xz", "rt", encoding="utf-8") as file:
        return [(line[2:].strip(), line[0]) for line in file.read().splitlines()]


def texts(count: int, seed: int) -> list[str]:
    """Sentences of SST-2's training split, drawn by a seed."""
    sentences = [text for text, _ in labelled("train")]
    draw = random.Random(seed)
    return [draw.choice(sentences) for _ in range(count)]


def bodies(given: Sequence[str]) -> list[dict[str, Any]]:
    """A request for each text."""
    return [{"inputs": [text]} for text in given]


def path(model: str) -> str:
    """The route of a model's answers."""
    return f"/v1/models/{model}/predict"


def like(reply: Reply, answer: Any) -> bool:
    """Whether a reply to one text is what the model answers to it."""
    return gap(reply.body["answers"][0], answer) < NEAR


def is_of(scored: Mapping[str, Sequence[Any]], reply: Reply) -> bool:
    """Whether an answer to a text is of the artifact that its version's id, the digest of its files, stands for."""
    version = reply.body["version"]
    return version in scored and like(reply, scored[version][reply.number])


def gap(found: Any, answer: Any) -> float:
    """How far an answer of the service is from the model's own, by the confidence of the latter's label."""
    return float(abs(found["scores"][answer.label] - answer.confidence))


def spread(replies: Sequence[Reply]) -> str:
    """The milliseconds of replies."""
    half, most, longest = (quantile(replies, share) for share in (0.5, 0.99, 1.0))
    return f"median {half:.1f}, 99 % {most:.1f}, longest {longest:.1f}"


def bound(bad: int, count: int) -> str:
    """A share of bad ones with what it means."""
    return f"{bad} of {count}" + (f" (at most {3 / count:.2e} with 95 % confidence)" if not bad and count else "")
