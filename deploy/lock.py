"""Pin each file that the image holds: from pip's report on standard input to requirements.lock (see `make lock`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LOCK = Path(__file__).with_name("requirements.lock")
OURSELVES = "tunesmith"
HEAD = """\
# What the image holds, by the sum of each file: Python {python}, {system} on {machine}. Made anew by: make lock
"""


def main() -> None:
    """Write the lock; whoever reads the report's files beside has the same sums or installs nothing."""
    report = json.load(sys.stdin)
    where = report["environment"]
    head = HEAD.format(python=where["python_version"], system=where["sys_platform"], machine=where["platform_machine"])
    LOCK.write_text(head + "".join(pins(report["install"])), encoding="utf-8")


def pins(parts: list[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each distribution but our own, by name."""
    for part in sorted(parts, key=lambda one: one["metadata"]["name"].lower()):
        name, version = part["metadata"]["name"], part["metadata"]["version"]
        if name != OURSELVES:
            yield f"{name}=={version} --hash=sha256:{part['download_info']['archive_info']['hashes']['sha256']}\n"


if __name__ == "__main__":
    main()
