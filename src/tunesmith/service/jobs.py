"""Requests after their protocol was read: what they ask, what they may ask for, and what they are answered with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.access.body_limits import BodyLimits
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import Allowance
from tunesmith.guarding.messages import Language
from tunesmith.service.versions import Version


@dataclass(frozen=True, slots=True)
class Limits:
    """What a request may ask for at once.

    Attributes:
        body: its bytes, the depth of its JSON, its texts and their characters, looked at before anything is tokenised.
        tokens: of one question.
        deadline: seconds in which there must be an answer, unless the request names fewer.
        writing: seconds in which a text that is written must be at its end, unless the request names fewer.
        body_seconds: in which the whole body must have come.
        held_bytes: of all bodies that are held at once.
    """

    body: BodyLimits = field(default_factory=lambda: BodyLimits(2_000_000, items=64, characters=20_000))
    tokens: int = 4_096
    deadline: float = 20.0
    writing: float = 120.0
    body_seconds: float = 30.0
    held_bytes: int = 256_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request after its protocol was read.

    Attributes:
        id: the request's id.
        model: the name that is asked.
        questions: plain questions, as workers take them.
        who: who asks.
        version: the one that must answer; empty for whoever is due.
        seconds: in which there must be an answer; 0 for the service's own deadline.
        language: of fixed texts that may stand in the place of a written answer.
    """

    id: str
    model: str
    questions: Sequence[Mapping[str, Any]]
    who: Principal
    version: str = ""
    seconds: float = 0.0
    language: Language = "en"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was answered with, in the order of its questions."""

    version: Version
    rows: Sequence[Mapping[str, Any]]
    seconds: float
    allowance: Allowance


@dataclass(frozen=True, slots=True)
class Counted:
    """A question and its length in tokens."""

    question: Mapping[str, Any]
    tokens: int


Measured = Sequence[Counted]
