"""Who asks: an id, what it may do, how much."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tunesmith.access.refusals import RefusedError
from tunesmith.errors import TunesmithError, nearest

SCOPES: Mapping[str, str] = {
    "predict": "ask models for answers, written ones too",
    "embed": "ask models for vectors",
    "feedback": "say which answers were right or wrong",
    "metrics": "read the service's metrics",
    "admin": "load, swap and remove models; read what was remembered",
}
"""What a key may be for. None holds another: a key for `admin` alone cannot ask for answers."""


@dataclass(frozen=True)
class Limits:
    """How much may be asked within a minute, and at once after a minute of rest."""

    tokens_per_minute: int = 200_000
    requests_per_minute: int = 600

    def __post_init__(self) -> None:
        for name, value in (
            ("tokens_per_minute", self.tokens_per_minute),
            ("requests_per_minute", self.requests_per_minute),
        ):
            if value < 1:
                raise TunesmithError(f"{name} is {value}.", where=name, to_do="Give a whole number above 0.")


@dataclass(frozen=True)
class Principal:
    """Who asks. `id` is the key's, or stands for a token's subject; it may be logged."""

    id: str
    scopes: frozenset[str]
    limits: Limits = field(default_factory=Limits)

    def need(self, scope: str) -> None:
        """Go on only with a scope.

        Raises:
            RefusedError: it is lacking (`missing_scope`).
        """
        if scope not in self.scopes:
            raise RefusedError("missing_scope", {"scope": scope})


def known_scopes(names: Iterable[str], where: str = "--scopes") -> tuple[str, ...]:
    """The names in the order of `SCOPES`, each once.

    Raises:
        TunesmithError: there is none, or one is unknown (the nearest is named).
    """
    given = set(names)
    for name in sorted(given - set(SCOPES)):
        raise TunesmithError(
            f"Unknown scope '{name}'.{nearest(name, SCOPES)}", where=where, to_do=f"Use some of: {', '.join(SCOPES)}."
        )
    if not given:
        raise TunesmithError("No scope is given.", where=where, to_do=f"Use some of: {', '.join(SCOPES)}.")
    return tuple(name for name in SCOPES if name in given)
