"""HTTP as it should not be, over raw sockets: the service lives, others are answered, nothing stays open for long."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.service.running import FakeEngine, Running, running
from tunesmith.access.body_limits import BodyLimits
from tunesmith.service.connections import Patience
from tunesmith.service.engine import Answers
from tunesmith.service.jobs import Limits
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version

PATIENCE = Patience(
    head_seconds=0.6, idle_seconds=1.2, write_seconds=0.8, unread=300_000, ahead=8, connections=24, every=0.1
)
LIMITS = Limits(BodyLimits(200_000, items=64, characters=20_000), body_seconds=0.8, held_bytes=500_000)
BODY = json.dumps({"inputs": ["a"]}).encode()
POST = b"POST /v1/models/classes/predict HTTP/1.1\r\nhost: a\r\n"
WHOLE = POST + b"content-length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture(scope="module")
def strict(artifacts: dict[str, Path]) -> Iterator[Running]:
    """A service with little patience, whose model answers at once."""
    settings = Settings(drain=3, limits=LIMITS, patience=PATIENCE)
    with running([read_version(artifacts["classes"])], FakeEngine(), settings) as found:
        yield found


def opened(service: Running) -> socket.socket:
    channel = socket.create_connection(("127.0.0.1", service.port), timeout=5)
    channel.settimeout(5)
    return channel


def rest(channel: socket.socket, seconds: float = 5) -> bytes:
    """All that comes until the other side closes; it must close in time."""
    channel.settimeout(seconds)
    parts = bytearray()
    with suppress(ConnectionError):
        while part := channel.recv(65_536):
            parts += part
    return bytes(parts)


def statuses(answer: bytes) -> list[int]:
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def sent(service: Running, content: bytes, seconds: float = 5) -> list[int]:
    """The statuses of what comes back until the service closes."""
    with closing(opened(service)) as channel:
        with suppress(ConnectionError):
            channel.sendall(content)
        return statuses(rest(channel, seconds))


def fine(service: Running) -> None:
    assert service.predict("classes", "a").status == 200


WRONG = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "no version, as in HTTP 0.9": (b"GET /livez\r\n\r\n", 200),
    "an unknown version": (b"GET /livez HTTP/9.9\r\nhost: a\r\n\r\n", 400),
    "a blank in a name": (b"GET /livez HTTP/1.1\r\nho st: a\r\n\r\n", 400),
    "a NUL in a value": (b"GET /livez HTTP/1.1\r\nx-a: a\0b\r\n\r\n", 400),
    "a folded header": (b"GET /livez HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n\t2\r\n\r\n", 400),
    "a lone line feed": (b"GET /livez HTTP/1.1\nhost: a\nx: 1\n\n", 400),
    "two lengths": (POST + b"content-length: 5\r\ncontent-length: 17\r\n\r\n" + BODY, 400),
    "a length and chunks": (POST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and more": (POST + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "a length below zero": (POST + b"content-length: -1\r\n\r\n", 400),
    "a length with a sign": (POST + b"content-length: +17\r\n\r\n" + BODY, 400),
    "a length beyond all": (POST + b"content-length: 99999999999999999999999\r\n\r\n", 400),
    "chunks of no size": (POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\n" + BODY, 400),
    "chunks that lie": (POST + b"transfer-encoding: chunked\r\n\r\n3\r\n" + BODY + b"\r\n0\r\n\r\n", 400),
    "a chunk beyond all": (POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n", 400),
    "CONNECT": (b"CONNECT a.example:443 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    "a large head": (b"GET /livez HTTP/1.1\r\nx-a: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "a large address": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
    "many headers": (b"GET /livez HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n", 431),
    "a body that does not come": (POST + b"content-length: 17\r\n\r\n" + BODY[:5], 408),
    "a chunk that does not come": (POST + b"transfer-encoding: chunked\r\n\r\n11\r\n" + BODY[:5], 408),
    "a large body": (POST + b"content-length: 250000\r\n\r\n" + b" " * 250_000, 413),
    "an endless body": (POST + b"transfer-encoding: chunked\r\n\r\n" + b"2000\r\n%b\r\n" % (b" " * 8192) * 80, 413),
    "a compressed body": (POST + b"content-encoding: gzip\r\ncontent-length: 17\r\n\r\n" + BODY, 415),
    "a head that does not end": (b"GET /livez HTTP/1.1\r\nhost: a\r\n", 408),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_good_http_is_refused_and_closed(case: str, strict: Running) -> None:
    content, status = WRONG[case]
    began = time.monotonic()
    found = sent(strict, content)
    assert found[:1] == [status] or (status == 431 and not found), found  # a reset may overtake the 431
    assert not any(code >= 500 for code in found)
    assert time.monotonic() - began < 4
    fine(strict)


def test_a_connection_that_says_nothing_is_closed(strict: Running) -> None:
    began = time.monotonic()
    assert sent(strict, b"") == []
    assert PATIENCE.idle_seconds - 0.3 < time.monotonic() - began < 4


def test_a_slow_head_and_a_slow_body_are_ended_though_bytes_come(strict: Running) -> None:
    for content in (b"GET /livez HTTP/1.1\r\nx-a: " + b"a" * 200, POST + b"content-length: 200\r\n\r\n" + b" " * 190):
        began = time.monotonic()
        with closing(opened(strict)) as channel:
            head = content.rpartition(b"\r\n")[0] + b"\r\n"
            channel.sendall(head)
            with suppress(ConnectionError):
                for byte in content[len(head) :]:
                    channel.sendall(bytes([byte]))
                    time.sleep(0.05)
                    assert time.monotonic() - began < 5
            assert statuses(rest(channel)) in ([408], [])
    fine(strict)


def test_a_large_body_may_come_whole_before_its_refusal_is_read(strict: Running) -> None:
    answer = strict.post("/v1/models/classes/predict", b" " * 240_000)
    assert (answer.status, answer.body["code"]) == (413, "body_too_large")


def test_100_continue_is_said_when_the_body_is_wanted(strict: Running) -> None:
    with closing(opened(strict)) as channel:
        channel.sendall(POST + b"expect: 100-continue\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(BODY))
        assert channel.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        channel.sendall(BODY)
        assert statuses(rest(channel)) == [200]


def test_requests_sent_ahead_are_answered_in_turn_up_to_a_number(strict: Running) -> None:
    last = WHOLE.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n")
    assert sent(strict, WHOLE * 5 + last) == [200] * 6
    assert len(sent(strict, WHOLE * 5000)) < 5000
    assert sent(strict, WHOLE + b"garbage\r\n\r\n")[-1] == 400
    fine(strict)


def test_an_upgrade_is_not_made(strict: Running) -> None:
    headers = b"connection: upgrade, close\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    found = sent(strict, b"GET /livez HTTP/1.1\r\nhost: a\r\n" + headers + b"sec-websocket-key: a\r\n\r\n")
    assert found == [200]


def test_idle_connections_make_room_for_new_ones(strict: Running) -> None:
    idle = [opened(strict) for _ in range(3 * PATIENCE.connections)]
    try:
        began = time.monotonic()
        fine(strict)
        assert time.monotonic() - began < 1
    finally:
        for channel in idle:
            channel.close()


def is_open(channel: socket.socket) -> bool:
    """Whether the other side has not closed it."""
    channel.setblocking(False)
    try:
        return bool(channel.recv(4096))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_of_idle_connections_those_that_idle_longest_are_closed(strict: Running) -> None:
    idle = [opened(strict) for _ in range(3 * PATIENCE.connections)]
    try:
        until = time.monotonic() + PATIENCE.idle_seconds / 2  # then all are closed, whatever their number
        while sum(map(is_open, idle)) > PATIENCE.connections:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert is_open(idle[-1]), "the newest stays"
    finally:
        for channel in idle:
            channel.close()


def test_where_no_connection_idles_a_new_one_is_told_to_come_again(strict: Running) -> None:
    busy = [opened(strict) for _ in range(PATIENCE.connections)]
    try:
        for channel in busy:
            channel.sendall(POST + b"content-length: %d\r\n\r\n" % len(BODY))
        time.sleep(0.1)
        with closing(opened(strict)) as late:
            answer = rest(late)
        assert statuses(answer) == [503]
        assert b"retry-after: 1\r\n" in answer
    finally:
        for channel in busy:
            channel.close()
    time.sleep(0.1)
    fine(strict)


def test_a_refused_body_is_not_taken_without_end(strict: Running) -> None:
    """It may come whole up to a size; beyond it the connection is ended, however much was promised."""
    size, part = 80_000_000, b" " * 65_536
    with closing(opened(strict)) as channel:
        channel.sendall(POST + b"content-length: %d\r\n\r\n" % size)
        taken = 0
        with suppress(ConnectionError):
            for _ in range(size // len(part)):
                channel.sendall(part)
                taken += len(part)
    assert taken < size / 2  # the limit is far lower; what the system buffers comes on top
    fine(strict)


class Talker(FakeEngine):
    """Says more than the system holds for a client that does not read."""

    async def answer(self, slot: str, questions: Sequence[Mapping[str, Any]]) -> Answers:
        return Answers([{"label": "a" * 16_000_000, "confidence": 1.0} for _ in questions], 1.0, 1, 0)


def test_a_client_that_does_not_read_is_cut_off(artifacts: dict[str, Path]) -> None:
    settings = Settings(drain=3, limits=LIMITS, patience=PATIENCE)
    with (
        running([read_version(artifacts["classes"])], Talker(), settings) as service,
        closing(socket.socket()) as channel,
    ):
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        channel.connect(("127.0.0.1", service.port))
        channel.sendall(WHOLE.replace(b"host: a\r\n", b"host: a\r\nconnection: close\r\n"))
        time.sleep(PATIENCE.write_seconds + 1)
        assert len(rest(channel)) < 16_000_000


def test_bodies_held_at_once_have_a_limit(strict: Running) -> None:
    part = POST + b"content-length: 199000\r\n\r\n" + b" " * 198_000
    held = [opened(strict) for _ in range(4)]
    try:
        for channel in held:
            channel.sendall(part)
        assert 429 in [status for channel in held for status in statuses(rest(channel))]
    finally:
        for channel in held:
            channel.close()
    fine(strict)


def test_broken_bytes_drawn_at_random_never_end_the_service(strict: Running) -> None:
    draw = random.Random(7)
    found: list[int] = []
    stop = threading.Event()
    others: list[int] = []

    def other() -> None:
        while not stop.is_set():
            others.append(strict.predict("classes", "a").status)
            time.sleep(0.01)

    thread = threading.Thread(target=other)
    thread.start()
    before = psutil.Process().memory_info().rss
    for _ in range(300):
        content = bytearray(draw.choice([WHOLE, WHOLE * 3, *(case for case, _ in WRONG.values())]))
        for _ in range(draw.randrange(1, 6)):
            place = draw.randrange(len(content))
            if draw.random() < 0.5:
                content[place] = draw.randrange(256)
            else:
                content[place : place + draw.randrange(1, 9)] = draw.randbytes(draw.randrange(4))
        with closing(opened(strict)) as channel, suppress(ConnectionError, TimeoutError):
            channel.sendall(content)
            channel.settimeout(0.02)  # then it leaves early
            found += statuses(channel.recv(65_536))
    stop.set()
    thread.join()
    assert not [status for status in found if status >= 500 and status not in {503, 504}]
    assert len(found) > 50
    assert set(others) == {200}
    assert psutil.Process().memory_info().rss - before < 200_000_000
    fine(strict)
