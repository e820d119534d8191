"""Artifacts that are signed: the signature lies beside the manifest, which holds the sha256 of every other file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tunesmith.access.manifest_signatures import LARGEST, TrustedKeys, read_signature, sign
from tunesmith.errors import ArtifactError
from tunesmith.inference.artifact import MANIFEST, SIGNATURE, verify
from tunesmith.inference.folder import no_artifact, read_json
from tunesmith.writing import written


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found of an artifact.

    Attributes:
        sha256: the digest of its manifest.
        files: how many files the manifest lists; all are as it says.
        key: the id of the key that is said to have signed it; empty without signature.
        is_trusted: whether that is a trusted key and its signature holds.
    """

    sha256: str
    files: int
    key: str
    is_trusted: bool


def sign_artifact(folder: Path, private: Path) -> Seen:
    """Sign an artifact that is whole; a signature before it is replaced.

    Raises:
        ArtifactError: it is no artifact, or was damaged or changed.
        ResourceError: the key cannot be used, or the signature cannot be written.
    """
    seen = look_at(folder)
    manifest = (folder / MANIFEST).read_bytes()
    if hashlib.sha256(manifest).hexdigest() != seen.sha256:
        raise ArtifactError("The artifact was changed just now.", where=str(folder), to_do="Give the command again.")
    signature = sign(manifest, private)
    with written(folder / SIGNATURE, to_do="Free disk space, or make the artifact's folder writable.") as file:
        file.write(signature)
    return Seen(seen.sha256, seen.files, read_signature(signature.encode(), str(folder)).key, is_trusted=True)


def look_at(folder: Path, trusted: TrustedKeys | None = None) -> Seen:
    """See that an artifact is whole and, where keys are trusted, that one of these has signed it.

    Raises:
        ArtifactError: it is no artifact, or was damaged or changed.
        UntrustedError: no trusted key has signed it, or its signature cannot be read.
    """
    sha256 = see_signed(folder, trusted)[0] if trusted is not None else ""
    verify(folder)
    manifest, signature = _read(folder)
    found = hashlib.sha256(manifest).hexdigest()
    if sha256 and found != sha256:
        raise ArtifactError("The artifact was changed just now.", where=str(folder), to_do="Give the command again.")
    key = read_signature(signature, str(folder)).key if signature is not None else ""
    return Seen(found, len(read_json(folder / MANIFEST)), key, is_trusted=trusted is not None)


def see_signed(folder: Path, trusted: TrustedKeys) -> tuple[str, str]:
    """See that a trusted key has signed an artifact's manifest: the manifest's sha256, and the key's id.

    Raises:
        ArtifactError: it has no manifest.
        UntrustedError: none has.
    """
    manifest, signature = _read(folder)
    return hashlib.sha256(manifest).hexdigest(), trusted.see_signed(manifest, signature, str(folder))


def _read(folder: Path) -> tuple[bytes, bytes | None]:
    """The manifest, and the signature where there is one."""
    place = folder / SIGNATURE
    if not (folder / MANIFEST).is_file():
        raise no_artifact(folder, MANIFEST)
    try:
        manifest = (folder / MANIFEST).read_bytes()
        if place.is_symlink() or not place.is_file():
            return manifest, None
        with place.open("rb") as file:
            return manifest, file.read(LARGEST + 1)
    except OSError as error:
        raise ArtifactError(
            f"The artifact's manifest or signature cannot be read: {error.strerror or error}.",
            where=str(folder),
            to_do="See that you may read the files in this folder.",
        ) from error
