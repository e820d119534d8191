"""What lies in an artifact's folder, and what its JSON files say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tunesmith.errors import ArtifactError, nearest_file

_CODE = {".py", ".so", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".npy", ".npz"}
_TENSORS = ".safetensors"
_ZIP = b"PK\x03\x04"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def no_artifact(folder: Path, manifest: str) -> ArtifactError:
    """What is said where no folder is, or none with this manifest; where it is a run's, its artifact is named."""
    if not folder.exists():
        to_do = "Correct the path; an artifact is the 'artifact' folder of a run."
        return ArtifactError(f"There is no such folder.{nearest_file(folder)}", where=str(folder), to_do=to_do)
    of_run = folder / "artifact"
    known = f"Give {of_run}." if (of_run / manifest).is_file() else "Give the 'artifact' folder of a run."
    return ArtifactError("This is no artifact: it has no manifest.", where=str(folder), to_do=known)


def names_in(folder: Path, listed: Sequence[str] | None = None) -> set[str]:
    """The names of all that lies in a folder and in its folders, as seen from it, without following links.

    With `listed`, folders that hold none of these files are named themselves.
    """
    names = set()
    for path in folder.iterdir():
        is_folder = path.is_dir() and not path.is_symlink()
        below = None if listed is None else [n.partition("/")[2] for n in listed if n.startswith(f"{path.name}/")]
        if is_folder and below != []:
            names |= {f"{path.name}/{name}" for name in names_in(path, below)}
        else:
            names.add(path.name)
    return names


def could_run_code(path: Path) -> bool:
    """Whether a file is code, or is read by running code: by its name, or since it begins as a pickle or a zip does.

    PyTorch's files are zips that hold a pickle. Safetensors begin with a length, which may look like anything, and
    their reader runs nothing.
    """
    if path.suffix.lower() in _CODE:
        return True
    with path.open("rb") as file:
        return path.suffix != _TENSORS and file.read(4).startswith((_ZIP, *_PICKLES))


def read_json(path: Path) -> dict[str, object]:
    """The object that a file holds.

    Raises:
        ArtifactError: it is not readable JSON, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            "The file is not readable JSON.", where=str(path), to_do="Copy the artifact again from where it was made."
        ) from error
    if not isinstance(value, dict):
        raise ArtifactError(
            "The file does not hold a JSON object.",
            where=str(path),
            to_do="Copy the artifact again from where it was made.",
        )
    return value
