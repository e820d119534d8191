"""The versions of what decides a result."""

from __future__ import annotations

import platform
from importlib.metadata import packages_distributions, version

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


def versions(*modules: str) -> dict[str, str]:
    """Package -> installed version, and Python's; further modules by the packages that they are installed from."""
    further = {module: _sources(module) for module in modules}
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}, **further}


def _sources(module: str) -> str:
    # One module may come from any of several packages, as onnxruntime does from onnxruntime-gpu.
    found = sorted(set(packages_distributions().get(module, ())))
    return ", ".join(f"{package} {version(package)}" for package in found)
