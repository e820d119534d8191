"""Pictures and recordings made in code, for tests."""

from __future__ import annotations

import atexit
import shutil
import struct
import tempfile
import wave
import zlib
from pathlib import Path

import numpy as np

from tunesmith.data.records import Example

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220)}

FOLDER = Path(tempfile.mkdtemp(prefix="tunesmith-tests-"))
"""Where the files of examples that are made at import lie; it goes with the process."""
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def write_png(path: Path, pixels: np.ndarray) -> Path:
    """A PNG of pixels [H, W, 3], in ten lines so that no test of data needs Pillow to write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels.astype(np.uint8))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )
    return path


def write_picture(path: Path, colour: str, seed: int = 0, size: int = 16) -> Path:
    """A picture of one colour with a little noise, so that no two are the same."""
    noise = np.random.default_rng(seed).integers(-20, 20, (size, size, 3))
    return write_png(path, np.clip(np.array(COLOURS[colour]) + noise, 0, 255))


def write_tone(path: Path, hertz: float, seconds: float = 0.2, rate: int = 8000, width: int = 2) -> Path:
    """A WAV file of one tone."""
    signal = np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    whole = np.round(signal * (2 ** (8 * width - 1) - 1)).astype("<i4")
    raw = whole[:, None].view(np.uint8).reshape(len(whole), 4)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes((raw ^ 0x80 if width == 1 else raw).tobytes())
    return path


def with_media(examples: list[Example], modality: str) -> list[Example]:
    """The same examples with pictures or recordings; the second lacks its file, and the third its text."""
    found = []
    for number, example in enumerate(examples):
        path = FOLDER / f"{modality}-{number}.{'png' if modality == 'image' else 'wav'}"
        if modality == "image":
            write_picture(path, ("red", "blue")[number % 2], seed=number)
        else:
            write_tone(path, 300 + 100 * number, seconds=0.1 + 0.04 * number)
        media = {} if number == 1 else {modality: str(path)}
        found.append(Example(example.id, "" if number == 2 else example.text, example.label, media=media))
    return found
