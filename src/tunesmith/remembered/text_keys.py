"""Raw texts encrypted, each bound to its row, under keys of a file for its owner alone."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shlex
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tunesmith.private_files import locked, make_private, naming, private_text, write_private
from tunesmith.remembered.refusals import StoreError

NAME = "texts.keys"
SEALED = "sealed:1:"
"""What an encrypted value begins with; behind it stand the key's id, ":", and nonce and ciphertext in base64url."""
BYTES, NONCE, ID = 32, 12, 8
"""Bytes of a key (AES-256) and of a nonce (96 bits, NIST SP 800-38D, sec. 8.2.2); hexadecimal digits of a key's id."""
_PUT_BACK = "Put the file back from a copy, or give the --state of the service that wrote the database."
_State = tuple[int, int, int]


@dataclass(slots=True)
class TextKeys:
    """The keys of texts: a file of one line of 64 hexadecimal digits for each, the newest last, which encrypts.

    All of them decrypt. The file is read again when it has changed, so a running service encrypts under a key that was
    added meanwhile. A file that is gone is an error then, since what is written under its keys could never be read.
    AES-GCM with nonces by chance is safe for 2^32 values of a key (NIST SP 800-38D, sec. 8.3).

    Attributes:
        place: the file.
        named: the options by which a verb that is shown finds them and their database; see `options`.
    """

    place: Path
    named: str = ""
    _read: tuple[_State, dict[str, AESGCM]] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, state: Path, store: str = "") -> Self:
        """The keys of a state folder and the database that --store names; nothing is read or made yet."""
        return cls(state / NAME, options(store, state))

    def made(self) -> Self:
        """The same, with a first key where there is none yet.

        Raises:
            ResourceError: it cannot be made.
        """
        if not self.place.is_symlink() and not self.place.exists():
            make_private(self.place, _new_line().encode(), to_do="Give another --state.")
        return self

    def add(self) -> str:
        """Make a further key, under which texts are encrypted from now on, and give its id; the others still decrypt.

        Raises:
            StoreError: there is no file, or it is damaged.
            ResourceError: others may read it, or it cannot be written.
        """
        with locked(self.place.with_name(f".{NAME}.lock")):
            self._keys()
            write_private(self.place, private_text(self.place).rstrip("\n") + "\n" + _new_line())
        return self.newest()

    def newest(self) -> str:
        """The id of the key that encrypts.

        Raises:
            StoreError, ResourceError: see `add`.
        """
        return next(reversed(self._keys()))

    def holds(self, key: str) -> bool:
        """Whether there is a key of this id."""
        return self.place.exists() and key in self._keys()

    def sealed(self, text: str, *row: str | int) -> str:
        """A text encrypted under the newest key for one place: the row's identity and its column.

        Raises:
            StoreError, ResourceError: see `add`.
        """
        keys = self._keys()
        key, nonce = next(reversed(keys)), os.urandom(NONCE)
        said = nonce + keys[key].encrypt(nonce, text.encode(), _identity(row))
        return f"{SEALED}{key}:{urlsafe_b64encode(said).decode('ascii')}"

    def opened(self, value: str, *row: str | int) -> str:
        """The text of a value of this place; a value that was written in the clear is the text.

        Raises:
            StoreError: its key is not there, it belongs to another place, or it was changed.
            ResourceError: others may read the file of keys, or it cannot be read.
        """
        if not is_sealed(value):
            return value
        key, _, rest = value.removeprefix(SEALED).partition(":")
        if not self.holds(key):
            raise lost(key[:ID], self)
        try:
            said = urlsafe_b64decode(rest)
            return self._keys()[key].decrypt(said[:NONCE], said[NONCE:], _identity(row)).decode()
        except (Error, InvalidTag, ValueError):
            raise StoreError(
                f"A kept text was changed, or belongs to another row: {', '.join(map(str, row))}.",
                where=str(self.place),
                to_do=f"Restore the database, or run: {_drop(self)}",
            ) from None

    def _keys(self) -> dict[str, AESGCM]:
        try:
            found = self.place.stat()
        except OSError as error:
            raise StoreError(
                f"The keys of raw texts cannot be read: {error.strerror}.", where=str(self.place), to_do=_PUT_BACK
            ) from error
        state = (found.st_ino, found.st_ctime_ns, found.st_size)
        if self._read is None or self._read[0] != state:
            self._read = (state, _keys_in(private_text(self.place), self.place))
        return self._read[1]


def is_sealed(value: object) -> bool:
    """Whether a stored value is encrypted."""
    return isinstance(value, str) and value.startswith(SEALED)


def lost(key: str, keys: TextKeys | None) -> StoreError:
    """What is said where texts were encrypted under a key that is not there."""
    return StoreError(
        f"Raw texts were encrypted under key {key}, which is not in the file of keys.",
        where=str(keys.place) if keys else NAME,
        to_do=f"{_PUT_BACK} If it is lost, so are the texts: {_drop(keys)}",
    )


def options(store: str, state: Path) -> str:
    """The options by which a verb that is shown finds the same database and state; an address may hold a password."""
    at = "" if not store else " --store STORE" if "://" in store else f" --store {shlex.quote(store)}"
    return at + naming(state)


def _drop(keys: TextKeys | None) -> str:
    return f"tunesmith feedback encrypt --drop-unreadable{keys.named if keys else ''}"


def _identity(row: tuple[str | int, ...]) -> bytes:
    """The associated data of a value: it opens in its own row and column alone."""
    return json.dumps([SEALED, *row], ensure_ascii=False).encode()


def _new_line() -> str:
    return f"{secrets.token_hex(BYTES)}\n"


def _keys_in(text: str, place: Path) -> dict[str, AESGCM]:
    keys: dict[str, AESGCM] = {}
    for number, line in enumerate(text.split("\n"), 1):
        try:
            key = bytes.fromhex(line.strip())
        except ValueError:
            key = b"\0"
        if len(key) not in (0, BYTES):
            raise StoreError(
                f"Line {number} of the keys of raw texts is no {2 * BYTES} hexadecimal digits.",
                where=str(place),
                to_do=_PUT_BACK,
            )
        if key:
            keys[hashlib.sha256(b"tunesmith text key\0" + key).hexdigest()[:ID]] = AESGCM(key)
    if not keys:
        raise StoreError("The file of keys of raw texts is empty.", where=str(place), to_do=_PUT_BACK)
    return keys
