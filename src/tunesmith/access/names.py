"""Names that come from requests, and where they may lead: to what lies below a folder, and through no link."""

from __future__ import annotations

import re
from pathlib import Path

from tunesmith.access.refusals import RefusedError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def check_name(name: str, kind: str = "model") -> str:
    """The name of a model, version or adapter, which is no path, address or hub id.

    Raises:
        RefusedError: it is none (`bad_name`); the message does not repeat it.
    """
    if _NAME.fullmatch(name) is None:
        raise RefusedError("bad_name", {"kind": kind})
    return name


def path_below(root: Path, *names: str, kind: str = "model") -> Path:
    """The existing path of names below a folder.

    Raises:
        RefusedError: a part is no name (`bad_name`), or there is nothing, a link, or it lies elsewhere (`bad_path`).
    """
    place = root.resolve()
    for name in names:
        place = place / check_name(name, kind)
        if place.is_symlink() or not place.exists():
            raise RefusedError("bad_path", {"kind": kind})
    if not place.resolve().is_relative_to(root.resolve()):
        raise RefusedError("bad_path", {"kind": kind})
    return place
