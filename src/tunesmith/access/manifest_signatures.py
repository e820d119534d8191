"""Who vouches for an artifact: an Ed25519 signature (RFC 8032) of its manifest, which has the sha256 of every file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from tunesmith.errors import ResourceError, UntrustedError
from tunesmith.private_files import make_private, private_text, refused_reading
from tunesmith.writing import refused

ALGORITHM = "ed25519"
CONTEXT = "tunesmith-manifest-v1"
"""Stands before the manifest in what is signed, so that no signature made for something else holds here."""
LARGEST = 4096
"""Bytes of a signature's file, and of a public key's."""
_SIGN = (
    "Sign it with a trusted key: tunesmith sign ARTIFACT --key FILE. After an export or any other change sign it anew."
)
_PLACE = "Choose another place."


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signature's file says: the id of the key that made it, and its 64 bytes."""

    key: str
    content: bytes


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """The public keys of those whose artifacts are taken, 32 bytes each, by their id."""

    keys: Mapping[str, bytes]

    @classmethod
    def from_files(cls, files: Sequence[Path]) -> TrustedKeys:
        """The keys in these PEM files, one each.

        Raises:
            ResourceError: a file cannot be read, others may write to it, or it holds no public key for Ed25519.
        """
        found = [_public_key(file) for file in files]
        return cls({key_id(key): key for key in found})

    def see_signed(self, manifest: bytes, signature: bytes | None, where: str) -> str:
        """See that one of these keys has signed a manifest, and return that key's id.

        Raises:
            UntrustedError: none has, or the manifest is another one than was signed.
        """
        if signature is None:
            raise UntrustedError("The artifact is not signed.", where=where, to_do=_SIGN)
        told = read_signature(signature, where)
        if told.key not in self.keys:
            raise UntrustedError(
                "The artifact is signed by a key that is not trusted here.",
                where=f"{where}, key {told.key}",
                to_do="Sign it with a trusted key, or trust this one: --trusted FILE with its public key.",
            )
        try:
            Ed25519PublicKey.from_public_bytes(self.keys[told.key]).verify(told.content, _signed(manifest))
        except InvalidSignature as error:
            raise UntrustedError(
                "The artifact's signature does not fit its manifest: that was changed since, or is forged.",
                where=where,
                to_do=_SIGN,
            ) from error
        return told.key


def key_id(public: bytes) -> str:
    """What tells a key from others: the sha256 of its 32 bytes."""
    return hashlib.sha256(public).hexdigest()


def make_keys(private: Path) -> tuple[Path, str]:
    """Write a new private key to a file of mode 0600 and its public key beside it (.pub); that file and the key's id.

    Raises:
        ResourceError: something is there already, which is never replaced, there is no such folder, or the files cannot
            be written.
    """
    public = private.with_name(f"{private.name}.pub")
    key = Ed25519PrivateKey.generate()
    told = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with refused(private, to_do=_PLACE):
        private.parent.stat()  # which else would be made
    for file in (private, public):
        if file.is_symlink() or file.exists():
            raise _there(file)
    make_private(private, secret, to_do=_PLACE)
    if private_text(private) != secret.decode("ascii"):  # another process was quicker
        raise _there(private)
    try:
        with refused(public, to_do=_PLACE):
            descriptor = os.open(public, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(told)
    except ResourceError:
        private.unlink()
        raise
    return public, key_id(_raw(key.public_key()))


def sign(manifest: bytes, private: Path) -> str:
    """What a signature's file says of a manifest that is signed with the key in this file.

    Raises:
        ResourceError: others may read the file, or it holds no private key for Ed25519.
    """
    _see_no_public_key(private)  # which others may read, and that is no reason to make new secrets
    text = private_text(private)
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ResourceError(
            "The file holds no private key for Ed25519 without a password.",
            where=str(private),
            to_do="Make one: tunesmith signing-keys FILE.",
        )
    told = {
        "algorithm": ALGORITHM,
        "context": CONTEXT,
        "key": key_id(_raw(key.public_key())),
        "signature": base64.b64encode(key.sign(_signed(manifest))).decode("ascii"),
    }
    return json.dumps(told, indent=2) + "\n"


def _see_no_public_key(file: Path) -> None:
    with refused_reading(file):
        if not stat.S_ISREG(file.stat().st_mode):
            return
        with file.open("rb") as opened:
            content = opened.read(LARGEST)
    if b"PUBLIC KEY" in content and b"PRIVATE KEY" not in content:
        known = f": {file.with_suffix('')}" if file.suffix == ".pub" else ", which 'tunesmith signing-keys' wrote"
        raise ResourceError(
            "This is a public key; who signs needs the private one.", where=str(file), to_do=f"Give that one{known}."
        )


def read_signature(content: bytes, where: str) -> Signature:
    """What a signature's file says.

    Raises:
        UntrustedError: it says something else, or is made in another way than these are.
    """
    unfit = UntrustedError("The artifact's signature cannot be read.", where=where, to_do=_SIGN)
    try:
        told = json.loads(content) if len(content) <= LARGEST else None
        if not isinstance(told, dict) or set(told) != {"algorithm", "context", "key", "signature"}:
            raise unfit
        found = base64.b64decode(str(told["signature"]), validate=True)
    except (ValueError, RecursionError, binascii.Error) as error:
        raise unfit from error
    # Neither is chosen by the file: there is one way to sign, and what is said of it must be that.
    if (told["algorithm"], told["context"], len(found)) != (ALGORITHM, CONTEXT, 64):
        raise unfit
    if not re.fullmatch("[0-9a-f]{64}", str(told["key"])):  # it is shown
        raise unfit
    return Signature(str(told["key"]), found)


def _signed(manifest: bytes) -> bytes:
    return CONTEXT.encode("ascii") + b"\x00" + manifest


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _public_key(file: Path) -> bytes:
    try:
        mode = file.stat().st_mode
        content = file.read_bytes() if stat.S_ISREG(mode) and file.stat().st_size <= LARGEST else b""
    except OSError as error:
        raise ResourceError(
            f"The trusted key cannot be read: {error.strerror or error}.",
            where=str(file),
            to_do="Give the .pub file that 'tunesmith signing-keys' wrote.",
        ) from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ResourceError(
            "Others may write to the file of a trusted key, and so put their own into it.",
            where=str(file),
            to_do=f"chmod go-w {shlex.quote(str(file))}, and see that it is still the right key.",
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        secret = b"PRIVATE KEY" in content
        raise ResourceError(
            "This is a private key; who checks needs the public one." if secret else "This is no public Ed25519 key.",
            where=str(file),
            to_do="Give the .pub file that 'tunesmith signing-keys' wrote.",
        )
    return _raw(key)


def _there(file: Path) -> ResourceError:
    return ResourceError("Something is there already; keys are never replaced.", where=str(file), to_do=_PLACE)
