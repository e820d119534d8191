"""How many replicas there should be, by what waits and by how busy those are that there are.

More of them as soon as too much waits for a while; one less when the others would be busy at most `EASY` of the time.
Both sides look at different things on purpose: what waits says nothing of whether fewer replicas would do, and a
service that goes by one number alone swings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

EASY = 0.7
"""The share of their time that replicas may be busy after one has left."""
_MEMORY = 5.0
"""Seconds over which busyness is averaged."""


@checked(frozen=True)
class Scaling:
    """Between which bounds, and how quickly, replicas come and go.

    Attributes:
        least, most: the bounds.
        waiting_each: texts in the queue and in work, per replica, above which more are wanted.
        up_after: seconds for which that must hold.
        down_after: seconds for which fewer must do.
    """

    least: Annotated[int, Field(ge=1)] = 1
    most: Annotated[int, Field(ge=1)] = 2
    waiting_each: Annotated[float, Field(gt=0)] = 8.0
    up_after: Annotated[float, Field(ge=0)] = 2.0
    down_after: Annotated[float, Field(ge=0)] = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do at one moment: texts that wait or are in work, replicas, and how many of those work."""

    texts: int
    replicas: int
    busy: int


class Scaler:
    """Looks at the load again and again, and says how many replicas there should be."""

    def __init__(self, scaling: Scaling) -> None:
        self._scaling = scaling
        self._much_since: float | None = None
        self._little_since: float | None = None
        self._busy = 0.0
        self._looked = 0.0

    def wanted(self, now: float, load: Load) -> int:
        """How many replicas there should be, at a time by a clock that never goes back."""
        share = 1 - math.exp(-max(0.0, now - self._looked) / _MEMORY) if self._looked else 1.0
        self._busy += share * (load.busy - self._busy)
        self._looked = now
        rules = self._scaling
        is_much = load.texts > rules.waiting_each * load.replicas and load.replicas < rules.most
        is_little = self._busy <= EASY * (load.replicas - 1) and load.replicas > rules.least and not is_much
        self._much_since = (self._much_since if self._much_since is not None else now) if is_much else None
        self._little_since = (self._little_since if self._little_since is not None else now) if is_little else None
        if self._much_since is not None and now - self._much_since >= rules.up_after:
            self._much_since = None
            return min(rules.most, max(load.replicas + 1, math.ceil(load.texts / rules.waiting_each)))
        if self._little_since is not None and now - self._little_since >= rules.down_after:
            self._little_since = None
            return load.replicas - 1
        return load.replicas
