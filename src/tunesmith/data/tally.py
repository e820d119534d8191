"""What a reader or a check saw, counted, with the first three examples of each kind."""

from __future__ import annotations

from collections import defaultdict

from tunesmith.data.records import Finding

SHOWN = 3
"""Examples kept per finding."""


class Tally:
    """Counts things by code; each becomes one finding whose message may say {count}."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        self._counts: dict[str, int] = defaultdict(int)
        self._examples: dict[str, list[str]] = defaultdict(list)

    def add(self, code: str, severity: str, message: str, example: str = "") -> None:
        """Count one more of `code`; the first message of a code is the one that is shown."""
        self._kinds.setdefault(code, (severity, message))
        self._counts[code] += 1
        if example and len(self._examples[code]) < SHOWN:
            self._examples[code].append(example)

    def put(self, code: str, severity: str, message: str, count: int) -> None:
        """Note something that was counted elsewhere."""
        self._kinds[code] = (severity, message)
        self._counts[code] = count

    def findings(self) -> list[Finding]:
        """One finding per code, in the order of their first occurrence."""
        return [
            Finding(
                code,
                severity,
                message.replace("{count}", f"{self._counts[code]:,}"),
                self._counts[code],
                tuple(self._examples[code]),
            )
            for code, (severity, message) in self._kinds.items()
        ]


def shorten(text: str, most: int = 80) -> str:
    """A text on one line, cut to `most` characters for display."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
