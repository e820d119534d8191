"""Debian's promtool, prometheus and alertmanager, for tests that need the real ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """The path of a program; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt install {package})")
    return found


def promtool(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    command = [program("promtool", "prometheus"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def check_rules(path: Path) -> None:
    """Fail with what promtool complains of."""
    done = promtool("check", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr
