"""Whether a file of a million short texts is answered with flat memory, and goes on after `kill -9`.

Texts of three to eight words are cut from the training sentences of SST-2. `tunesmith predict` answers them in a
process of its own, which is killed by SIGKILL as often as --kills says, after even shares of the answers, and given
again. Its resident memory is looked at twice a second. Then the answers are counted, their texts compared with the
file's, and some of them with those of `Predictor`. Aims: nothing lost, twice or otherwise; no growth of memory.

Run it with: .venv/bin/python benchmarks/million_texts.py runs/sst2-int8
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunesmith.data.dataset import Data
from tunesmith.inference.predictor import Predictor

COMPARED = 2000
MEGABYTE = 1 << 20


@dataclass
class Watched:
    """One process that answered: seconds, answers at its end, and its memory in MB at each number of answers."""

    seconds: float
    answered: int
    memory: list[tuple[int, float]]


def main() -> None:
    """Answer the texts with interruptions, and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("artifact", type=Path)
    options.add_argument("--texts", type=int, default=1_000_000)
    options.add_argument("--kills", type=int, default=2)
    options.add_argument("--seed", type=int, default=13)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "texts.jsonl", Path(folder) / "answers.jsonl"
        write_texts(file, given.texts, given.seed)
        print(f"{given.texts:,} texts, {file.stat().st_size / MEGABYTE:.0f} MB; seed {given.seed}")
        for part in range(given.kills + 1):
            stop_at = given.texts * (part + 1) // (given.kills + 1) if part < given.kills else None
            show(watch(given.artifact, file, out, stop_at), "killed" if stop_at else "ended")
        check(given.artifact, file, out)


def write_texts(file: Path, count: int, seed: int) -> None:
    """Cut short texts out of SST-2's training sentences."""
    drawn = random.Random(seed)
    words = [example.content.split() for example in Data(name="sst2").load("class", seed).splits.train]
    long = [row for row in words if len(row) >= 8]
    with file.open("w", encoding="utf-8") as lines:
        for _ in range(count):
            row, length = drawn.choice(long), drawn.randint(3, 8)
            start = drawn.randint(0, len(row) - length)
            lines.write(json.dumps({"text": " ".join(row[start : start + length])}) + "\n")


def watch(artifact: Path, file: Path, out: Path, stop_at: int | None) -> Watched:
    """Answer the file until so many answers are kept, or to its end."""
    command = [sys.executable, "-m", "tunesmith", "predict", str(artifact), "--file", str(file), "--out", str(out)]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    found = Watched(0.0, 0, [])
    counted = Counted(out.with_name(out.name + ".part"))
    while process.poll() is None:
        found.answered = counted.lines()
        found.memory.append((found.answered, resident(process.pid)))
        if stop_at is not None and found.answered >= stop_at:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        time.sleep(0.5)
    assert process.returncode == (0 if stop_at is None else -signal.SIGKILL), process.returncode
    found.seconds = time.monotonic() - began
    return found


class Counted:
    """The lines of a file that grows, counted as they come."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self._lines = path, 0, 0

    def lines(self) -> int:
        """How many lines it has, or had when it was last there."""
        if self._path.is_file():
            with self._path.open("rb") as file:
                file.seek(self._read)
                more = file.read()
            self._read += len(more)
            self._lines += more.count(b"\n")
        return self._lines


def resident(process: int) -> float:
    """The memory of a process in MB; 0 once it is gone."""
    try:
        fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") / MEGABYTE if fields else 0.0


def show(found: Watched, how: str) -> None:
    """Print a process's answers, and its memory over its last two thirds, when all is loaded."""
    rows = np.array([row for row in found.memory if row[1] > 0])
    first, last = rows[0, 0], rows[-1, 0]
    late = rows[rows[:, 0] >= first + (last - first) / 3]
    slope = float(np.polyfit(late[:, 0] / 100_000, late[:, 1], 1)[0])
    print(
        f"{how} after {found.seconds:.0f} s at {found.answered:,} answers; memory {late[0, 1]:.0f} MB after a third, "
        f"{late[-1, 1]:.0f} MB at the end, most {rows[:, 1].max():.0f} MB; slope {slope:+.2f} MB per 100,000 texts",
        flush=True,
    )


def check(artifact: Path, file: Path, out: Path) -> None:
    """Compare the answers with the file's texts, and some with `Predictor`'s."""
    with file.open(encoding="utf-8") as texts, out.open(encoding="utf-8") as answers:
        pairs = [(json.loads(text)["text"], json.loads(answer)) for text, answer in zip(texts, answers, strict=True)]
    assert all(text == answer["text"] for text, answer in pairs), "an answer is to another text"
    some = pairs[:: max(1, len(pairs) // COMPARED)]
    again = Predictor.load(artifact).predict_texts([text for text, _ in some])
    differ = sum(answer["label"] != one.label for (_, answer), one in zip(some, again, strict=True))
    print(f"{len(pairs):,} answers in the order of the texts; {differ} of {len(some):,} differ from Predictor's")


if __name__ == "__main__":
    main()
