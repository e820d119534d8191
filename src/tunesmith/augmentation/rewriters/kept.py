"""What was written anew, kept on disk: nothing is asked twice, and what was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from tunesmith.writing import refused


class Kept:
    """Answers by the text that was asked, in a file of JSON lines for each rewriter.

    A line has the text's sha256 and the answer. Lines are only added, so that a run that is killed loses what it was
    about to write; a line that was cut short is passed over.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._path = folder / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.jsonl"
        self._known: dict[str, str] = {}
        for line in self._lines():
            try:
                row = json.loads(line)
                self._known[str(row["key"])] = str(row["text"])
            except (ValueError, KeyError, TypeError):  # cut short when its run was killed
                continue

    def _lines(self) -> list[str]:
        if not self._path.is_file():
            return []
        return self._path.read_text(encoding="utf-8", errors="replace").split("\n")

    def __contains__(self, text: str) -> bool:
        return _key(text) in self._known

    def __getitem__(self, text: str) -> str:
        return self._known[_key(text)]

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Keep texts with their answers; they are on the disk when this returns.

        Raises:
            ResourceError: the disk does not take them.
        """
        rows = []
        for text, answer in pairs:
            self._known[_key(text)] = answer
            rows.append(json.dumps({"key": _key(text), "text": answer}, ensure_ascii=False))
        with refused(self._path, to_do="Free disk space, or name another folder in $TUNESMITH_CACHE."):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._path.open("a", encoding="utf-8") as file:
                # After a line that was cut short the next one begins anew.
                file.write("\n" + "\n".join(rows) + "\n")
                file.flush()
                os.fsync(file.fileno())


def _key(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
