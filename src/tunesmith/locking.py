"""Files that one process holds at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any

from tunesmith.errors import ResourceError


def hold(file: IO[Any], path: Path, busy: ResourceError) -> None:
    """Hold an opened file until it is closed, and see that it is still the one at its path.

    Who held it before may have moved or removed it between its opening and now; what is written would then be lost, or
    be appended to what is finished.

    Raises:
        ResourceError: `busy`, where another process holds it, or held it until now.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError) as error:
        raise busy from error
    if not is_there:
        raise busy
