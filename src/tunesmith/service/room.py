"""Whether one more version can be held: how many there are at once, and the memory that is free."""

from __future__ import annotations

from tunesmith.machine import free_memory
from tunesmith.service.refusals import NoAnswerError
from tunesmith.service.versions import Served, Version

MOST_VERSIONS = 6
"""Of one model at once: champion, canary, shadow, the one before, and two that are let go or looked at."""
_MEGABYTE = 1 << 20


def see_room(version: Version, served: Served, most: int, copies: int) -> None:
    """See that a version fits beside those that are loaded; `copies` of it will be held on this machine.

    Raises:
        NoAnswerError: there are as many as there may be, or they would not fit into memory.
    """
    if len(served.held) >= most:
        raise NoAnswerError("too_many_versions", limit=most)
    if not copies:
        return
    # Held beside its base an adapter takes little; for the trial the whole model is there once.
    needed = version.size if version.slot.base else version.size * (copies + 1)  # its file is read beside the first one
    free = free_memory()
    if free and needed > free:
        raise NoAnswerError("no_memory", given=-(-needed // _MEGABYTE), limit=free // _MEGABYTE)
