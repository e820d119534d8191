"""Poison: requests on which a model fails stand among others in its batches, and only they are refused."""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.asking import NEAR, bound, gap, path, texts
from benchmarks.broken_models import poisoned
from benchmarks.load import Reply, closed, statuses
from benchmarks.served import Service, serving

from tunesmith.inference.predictor import Predictor

SHARE = 8
"""One request of so many is poisonous."""
CLIENTS = 48


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of one text or four, and the place of the one that is poisonous; -1 where none is."""

    inputs: tuple[str, ...]
    poison: int = -1


def mixed(given: Sequence[str], count: int, word: str, draw: random.Random) -> list[Asked]:
    """Requests of one text or four, short and long; a share of them has the word in one of its texts."""
    pool = [" ".join(draw.choices(given, k=draw.choice((1, 1, 2)))) for _ in given]
    found = []
    for _ in range(count):
        inputs = draw.choices(pool, k=draw.choice((1, 1, 1, 4)))
        place = draw.randrange(len(inputs)) if draw.random() < 1 / SHARE else -1
        if place >= 0:
            words = inputs[place].split()
            words.insert(draw.randint(0, len(words)), word)
            inputs[place] = " ".join(words)
        found.append(Asked(tuple(inputs), place))
    return found


def is_refused(reply: Reply, asked: Asked) -> bool:
    """Whether a poisonous request got its own error, which names the text."""
    where = f"inputs[{asked.poison}]" if len(asked.inputs) > 1 else ""
    told = (reply.status, reply.body.get("code"), reply.body.get("where", ""))
    return told == (422, "unanswerable", where)


def poison(arguments: argparse.Namespace) -> None:
    """Batches full of mixed requests, of which a share makes the model fail: the others are answered as if alone."""
    given, draw = texts(400, arguments.seed), random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "poisoned"
        word = poisoned(Path(arguments.artifact), place, given)
        asked = mixed(given, arguments.requests, word, draw)
        alone = _alone(place, asked)
        with serving([f"m={place}"], "--workers", "2") as service:
            workers = {one.pid for one in service.workers}
            replies, seconds = asyncio.run(
                closed(service.target(path("m")), [{"inputs": one.inputs} for one in asked], clients=CLIENTS)
            )
            lost_workers = len(workers - {one.pid for one in service.workers})
            size = texts_per_batch(service)
    _tell(asked, replies, alone)
    print(f"{len(asked) / seconds:.0f} requests/s; {size:.1f} texts in an answered batch; {lost_workers} workers lost")


def _alone(place: Path, asked: Sequence[Asked]) -> dict[str, Any]:
    """What the model answers to each text that is not poisonous, asked by itself."""
    predictor = Predictor.load(place)
    wanted = dict.fromkeys(text for one in asked if one.poison < 0 for text in one.inputs)
    return {text: predictor.predict_texts([text])[0] for text in wanted}


def _tell(asked: Sequence[Asked], replies: Sequence[Reply], alone: dict[str, Any]) -> None:
    pairs = list(zip(asked, replies, strict=True))
    bad = [(one, reply) for one, reply in pairs if one.poison >= 0]
    good = [(one, reply) for one, reply in pairs if one.poison < 0]
    refused = sum(is_refused(reply, one) for one, reply in bad)
    lost = sum(reply.status != 200 for _, reply in good)
    gaps = [
        gap(answer, alone[text])
        for one, reply in good
        if reply.status == 200
        for text, answer in zip(one.inputs, reply.body["answers"], strict=True)
    ]
    codes = Counter(f"{reply.status} {reply.body.get('code', '')}".strip() for _, reply in bad)
    print(f"{len(asked)} requests, {len(bad)} of them poisonous: {statuses(replies)}")
    print(f"poisonous: {', '.join(f'{code}: {count}' for code, count in codes.items())}; with its own place: {refused}")
    wrong = sum(one >= NEAR for one in gaps)
    print(
        f"others lost: {bound(lost, len(good))}; their texts answered otherwise than alone: {bound(wrong, len(gaps))}"
    )
    print(f"largest difference of a confidence from the one alone: {max(gaps, default=float('nan')):.1e}")


def texts_per_batch(service: Service) -> float:
    """How many texts an answered batch had in the mean."""
    asked = Request(f"http://127.0.0.1:{service.port}/metrics", headers={"authorization": f"Bearer {service.key}"})
    with urlopen(asked, timeout=60) as answer:
        text = answer.read().decode()
    total, count = (re.findall(rf"^tunesmith_batch_size_{end}{{.*}} (\S+)$", text, re.M) for end in ("sum", "count"))
    return sum(map(float, total)) / max(1.0, sum(map(float, count)))
