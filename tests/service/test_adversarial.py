"""Texts and JSON made against the service: refused or answered, never a 5xx, in time that grows with the length."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from tests.service.running import Running

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
TEXTS = {
    "a million letters": "a" * 1_000_000,
    "a short and a mark": "a:" * 16_000,
    "joined emoji": FAMILY * 2_000,
    "from right to left": "\u202e\u0645\u0631\u062d\u0628\u0627 " * 1_000,
    "NUL": "a\0b" * 1_000,
    "no blanks": "张三在北京" * 1_500,
    "combining marks": "e" + "\u0301" * 5_000,
    "nothing but blanks": " " * 10_000,
    "controls": "".join(map(chr, range(32))) * 100,
    "the last character": "\U0010ffff\ufffe\ufeff",
    "half of a pair": "a \ud800 b",
}
BODIES = {
    "deep arrays": b'{"inputs": ' + b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000,
    "a million elements": b'{"inputs": [' + b"1," * 900_000 + b"1]}",
    "a long key": b'{"' + b"k" * 500_000 + b'": 1}',
    "many keys": json.dumps({f"k{number}": 1 for number in range(20_000)}).encode(),
    "beyond all numbers": b'{"inputs": [1e999], "share": 1e999, "temperature": 1e999, "n": 1e999}',
    "a long number": b'{"inputs": [' + b"9" * 100_000 + b"]}",
    "no number": b'{"inputs": [NaN]}',
    "half of a pair in a key": b'{"\\ud800": "\\udfff"}',
    "two of one key": b'{"inputs": ["a"], "inputs": ["b"]}',
    "UTF-16": '{"inputs": ["a"]}'.encode("utf-16"),
    "no UTF-8": b'{"inputs": ["\xff\xfe"]}',
    "nothing": b"",
    "many wrong values": b'{"inputs": [' + b"1," * 40_000 + b"1]}",
}


def requests(text: str) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
    return {
        "/v1/models/classes/predict": {"inputs": [text]},
        "/v1/models/spans/predict": {"inputs": [text]},
        "/v1/models/questions/predict": {"inputs": [{"text": text, "second": "who?"}]},
        "/v1/models/items/predict": {"inputs": [{"history": [text]}]},
        "/v2/models/classes/infer": {"id": text[:9], "inputs": [tensor]},
        "/predict": {"inputs": text},
        "/embed?model=classes": {"inputs": [text]},
        "/v1/embeddings": {"model": "classes", "input": text},
        "/v1/chat/completions": {
            "model": "chat",
            "max_tokens": 2,
            "messages": [{"role": "user", "content": text}],
        },
    }


ROUTES = [*requests(""), "/admin/models/classes:canary"]


@pytest.mark.parametrize("case", TEXTS)
def test_texts_are_answered_or_refused_on_every_route(case: str, service: Running) -> None:
    for path, body in requests(TEXTS[case]).items():
        began = time.monotonic()
        answer = service.post(path, json.dumps(body).encode())
        assert answer.status < 500, (path, answer.text[:300])
        assert time.monotonic() - began < 20, path
        if case in {"a million letters", "half of a pair"}:
            assert answer.status >= 400, path


@pytest.mark.parametrize("case", BODIES)
def test_bodies_are_refused_on_every_route(case: str, service: Running) -> None:
    for path in ROUTES:
        began = time.monotonic()
        answer = service.post(path, BODIES[case])
        assert 400 <= answer.status < 500, (path, answer.status, answer.text[:300])
        assert time.monotonic() - began < 10, path
        assert len(answer.text) < 2_000, path


@pytest.mark.parametrize("piece", ["a", "a:", FAMILY, "张", "\u0301"])
def test_time_in_the_front_grows_with_the_length(piece: str, service: Running) -> None:
    """The processor's time per character of a text twelve times as long is at most four times that of a short one."""

    def cost(count: int) -> float:
        spent = []
        for _ in range(5):
            began = sum(os.times()[:2])
            for _ in range(4):
                service.predict("classes", piece * (count // len(piece)))
            spent.append(sum(os.times()[:2]) - began)
        return min(spent) / 4

    fixed = cost(1)
    short, long = cost(1_600) - fixed, cost(19_200) - fixed
    assert long / 12 < 4 * max(short, 0.005), (fixed, short, long)
