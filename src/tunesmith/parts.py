"""The packages that run with Tunesmith here: versions, licences, and which needs which."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from email.message import Message
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OURSELVES = "tunesmith"
DEVELOPMENT = "dev"
"""The extra of what builds and tests Tunesmith, and runs with no service."""
_LONGEST = 60
_OPERATOR = re.compile(r"\s+(?:AND|OR|WITH)\s+|[()]")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*-[0-9.]+[A-Za-z0-9.+-]*|MIT|MIT-CMU|Zlib|ISC|CNRI-Python|Unlicense|0BSD")
"""What an identifier of the SPDX list looks like: it ends in a version, but for a few."""


@dataclass(frozen=True, slots=True)
class Part:
    """An installed distribution.

    Attributes:
        name: as registries write it (PEP 503).
        version: as installed.
        licence: an SPDX expression or a name, as the distribution says; empty where it does not.
        is_optional: whether it is only here for an extra of Tunesmith.
        needs: the names of what it needs here, sorted.
    """

    name: str
    version: str
    licence: str
    is_optional: bool
    needs: tuple[str, ...]


def installed_parts(root: str = OURSELVES, extras: Collection[str] | None = None) -> tuple[Part, ...]:
    """`root`, all that it needs and what is installed of its extras, sorted by name.

    Without `extras` these are all of them, but for the one by which it is built.

    What is needed for an extra and not installed is left out: it does not run here.
    """
    base = _reached(root, frozenset())
    ours = distribution(root).metadata.get_all("Provides-Extra") or []
    every = _reached(root, frozenset(ours) - {DEVELOPMENT} if extras is None else frozenset(extras))
    return tuple(
        Part(name, found.version, licence_of(cast(Message, found.metadata)), name not in base, needs)
        for name, (found, needs) in sorted(every.items())
    )


def _reached(root: str, extras: frozenset[str]) -> dict[str, tuple[Distribution, tuple[str, ...]]]:
    """Name -> distribution and what it needs, of all that is reached with these extras of the root."""
    asked: dict[str, frozenset[str]] = {}
    found: dict[str, tuple[Distribution, tuple[str, ...]]] = {}
    waiting = deque([(root, extras)])
    while waiting:
        name, wanted = waiting.popleft()
        known = canonicalize_name(name)
        if known in asked and wanted <= asked[known]:
            continue
        asked[known] = asked.get(known, frozenset()) | wanted
        try:
            here = distribution(name)
        except PackageNotFoundError:
            continue
        needed = [one for one in map(Requirement, here.requires or ()) if _holds(one, asked[known])]
        found[known] = (here, tuple(sorted({canonicalize_name(one.name) for one in needed})))
        waiting.extend((one.name, frozenset(one.extras)) for one in needed)
    there = set(found)
    return {name: (one, tuple(need for need in needs if need in there)) for name, (one, needs) in found.items()}


def _holds(one: Requirement, extras: frozenset[str]) -> bool:
    return one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, ""))


def licence_of(metadata: Message) -> str:
    """The licence that a distribution's metadata states: its expression, its short name, or its classifier."""
    short = " ".join(str(metadata.get("License") or "").split())
    told = metadata.get_all("Classifier") or []
    classified = [str(one).rpartition(" :: ")[2] for one in told if str(one).startswith("License :: ")]
    for said in (str(metadata.get("License-Expression") or ""), short if len(short) <= _LONGEST else "", *classified):
        if said and said.upper() != "UNKNOWN":
            return said
    return ""


def identifiers(licence: str) -> tuple[str, ...]:
    """The licences that an expression names, each by itself; a name is one."""
    return tuple(one.strip() for one in _OPERATOR.split(licence) if one.strip())


def is_expression(licence: str) -> bool:
    """Whether a licence is written in SPDX's identifiers, as far as their form tells."""
    parts = identifiers(licence)
    return bool(parts) and all(_ID.fullmatch(one) or one.endswith("-exception") for one in parts)
