"""The versions of what decides a result."""

from __future__ import annotations

import platform
from importlib.metadata import version

PACKAGES = (
    "tunesmith",
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "safetensors",
    "numpy",
    "scipy",
    "scikit-learn",
)


def versions() -> dict[str, str]:
    """Package -> installed version, and Python's."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}
