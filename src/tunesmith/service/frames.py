"""Messages between the front and a model worker: JSON with its length before it, over a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

_LENGTH = struct.Struct(">I")
LARGEST = 1 << 28
"""Bytes of one message: far more than the limits of a request let through."""


def content(message: Mapping[str, object]) -> bytes:
    """A message as bytes."""
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


def packed(message: Mapping[str, object]) -> bytes:
    """A message as bytes, with its length before it."""
    held = content(message)
    return _LENGTH.pack(len(held)) + held


def unpacked(held: bytes) -> dict[str, Any]:
    """The message that bytes hold."""
    told: dict[str, Any] = json.loads(held.decode("utf-8", "surrogatepass"))
    return told


def receive(channel: socket.socket) -> dict[str, Any] | None:
    """The next message; None once the other side is gone."""
    head = _exactly(channel, _LENGTH.size)
    if head is None:
        return None
    held = _exactly(channel, _LENGTH.unpack(head)[0])
    return None if held is None else unpacked(held)


async def awaited(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next message of a stream; None once the other side is gone."""
    try:
        head = await reader.readexactly(_LENGTH.size)
        return unpacked(await reader.readexactly(_LENGTH.unpack(head)[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _exactly(channel: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part = channel.recv(min(size - len(parts), 1 << 16))
        except ConnectionError:
            return None
        if not part:
            return None
        parts += part
    return bytes(parts)
