"""The key by which values are made into the same token each time, and tokens into values again."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shlex
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tunesmith.errors import ResourceError
from tunesmith.private_files import make_private

LENGTH = 64
"""Bytes of a key that is made here."""
_LEAST = 32


@dataclass(frozen=True)
class RedactionKey:
    """A secret of at least 32 bytes, from which one key for hashes and one for pseudonyms are derived.

    Pseudonyms are made by AES-SIV (RFC 5297) without a nonce: the same value of the same kind always gets the same
    token, and a token that was changed, or made under another key, does not open.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < _LEAST:
            raise ResourceError(
                f"The key has {len(self.secret)} bytes; at least {_LEAST} are needed.", to_do="Let tunesmith make one."
            )

    @classmethod
    def from_file(cls, path: Path, *, make: bool = False) -> Self:
        """The key of a file that only its owner can read; with `make`, one is made where there is none.

        Raises:
            ResourceError: there is none, others can read it, or it is no key.
        """
        if make and not path.exists():
            made = f"{secrets.token_hex(LENGTH)}\n".encode()
            make_private(path, made, to_do="Give --key or --state with a place that can be written.")
        try:
            mode, text = path.stat().st_mode, path.read_bytes()
        except OSError as error:
            raise ResourceError(
                f"The key cannot be read: {error.strerror or error}.",
                where=str(path),
                to_do="Give --key with the file that was made when the text was redacted.",
            ) from error
        if mode & 0o077:
            raise ResourceError(
                f"Others can read the key (mode {mode & 0o777:04o}).",
                where=str(path),
                to_do=f"Run: chmod 600 {shlex.quote(str(path))}",
            )
        try:
            return cls(bytes.fromhex(text.decode("ascii").strip()))
        except ValueError as error:
            raise ResourceError(
                "The file holds no key: it must be a line of hexadecimal digits.",
                where=str(path),
                to_do="Give another.",
            ) from error

    def digest(self, value: str, kind: str) -> str:
        """16 hexadecimal digits of an HMAC-SHA256 over the kind and the value."""
        said = f"{kind}\0{value}".encode(errors="surrogatepass")
        return hmac.new(self._derived("hash"), said, hashlib.sha256).hexdigest()[:16]

    def sealed(self, value: str, kind: str) -> str:
        """The value encrypted and authenticated together with its kind, in letters, digits, '-' and '_'."""
        said = AESSIV(self._derived("pseudonym")).encrypt(value.encode(errors="surrogatepass"), [kind.encode()])
        return urlsafe_b64encode(said).decode("ascii").rstrip("=")

    def opened(self, token: str, kind: str) -> str | None:
        """The value of a token; None for one that this key did not make for this kind."""
        try:
            said = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            if urlsafe_b64encode(said).decode("ascii").rstrip("=") != token:  # other spellings of the same bytes
                return None
            return AESSIV(self._derived("pseudonym")).decrypt(said, [kind.encode()]).decode(errors="surrogatepass")
        except (Error, InvalidTag, ValueError):
            return None

    def _derived(self, purpose: str) -> bytes:
        """64 bytes for one purpose (HKDF-Expand of RFC 5869 with SHA-512, whose first block this is)."""
        return hmac.new(self.secret, f"tunesmith {purpose} 1".encode() + b"\x01", hashlib.sha512).digest()
