"""What every rewriter is: settings, and the same made ready to work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Opened(Protocol):
    """A rewriter that is ready: its program was found, its models are loaded."""

    @property
    def identity(self) -> str:
        """All that decides what it writes; its answers are kept under this name."""

    @property
    def at_once(self) -> int:
        """How many texts it is best given together; after so many the answers are kept."""

    @property
    def destination(self) -> str:
        """Where texts are sent; empty if they stay on this machine."""

    def rewritten(self, texts: Sequence[str]) -> list[str]:
        """What it makes of each text; empty where it makes nothing of one.

        Raises:
            TunesmithError: it failed as a whole.
        """


class Rewriter(Protocol):
    """Settings of what writes texts anew."""

    def opened(self) -> Opened:
        """The same, ready to work.

        Raises:
            TunesmithError: a program, a model or a key is missing.
        """
