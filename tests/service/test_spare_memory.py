"""Memory that is free goes back to the system, though blocks in use lie between."""

from __future__ import annotations

import ctypes
import platform
import socket
from collections.abc import Iterator

import psutil
import pytest

from tunesmith.service import worker
from tunesmith.service.frames import packed, receive
from tunesmith.service.spare_memory import SpareMemory
from tunesmith.service.worker import Worker

BLOCK, COUNT, KEPT = 16_384, 8_000, 20
MEGABYTE = 1_000_000


@pytest.fixture
def fragments() -> Iterator[None]:
    """Blocks of 131 MB in all, of which one in twenty is in use: the heap can't end before the last of them."""
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    blocks = [library.malloc(BLOCK) for _ in range(COUNT)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for place, block in enumerate(blocks):
        if place % KEPT:
            library.free(block)
    yield
    for block in blocks[::KEPT]:
        library.free(block)


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc hands memory back when it is asked to")
def test_free_memory_between_blocks_in_use_is_handed_back(fragments: None) -> None:
    before = resident()
    SpareMemory(every=0.0).hand_back()
    assert before - resident() > 0.8 * BLOCK * COUNT


def test_nothing_is_handed_back_before_it_is_time(fragments: None) -> None:
    before = resident()
    SpareMemory(every=3600.0).hand_back()
    assert before - resident() < 5 * MEGABYTE


def test_where_the_library_cannot_nothing_happens(fragments: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    before = resident()
    SpareMemory(every=0.0).hand_back()
    assert before - resident() < 5 * MEGABYTE


def test_a_worker_does_it_once_its_answer_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, its = socket.socketpair()
    answered: list[object] = []

    class Watched:
        def hand_back(self) -> None:
            answered.append(receive(ours))

    monkeypatch.setattr(worker, "SpareMemory", Watched)
    ours.sendall(packed({"do": "answer", "id": 7, "slot": "unknown", "questions": []}))
    ours.shutdown(socket.SHUT_WR)
    Worker(its).run()
    assert [one["id"] for one in answered if isinstance(one, dict)] == [7]
    ours.close()
    its.close()
