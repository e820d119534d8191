"""The secret of pseudonyms: a file for its owner alone, made on first use."""

from __future__ import annotations

import secrets
from pathlib import Path

from tunesmith.private_files import make_private
from tunesmith.remembered.refusals import StoreError

NAME = "pseudonyms.key"
BYTES = 32


def secret_of(state: Path, *, make: bool = True) -> bytes:
    """The secret under a state folder; losing it means that a person's rows cannot be found any more.

    Args:
        state: the folder.
        make: whether one is made where there is none; else the answer is empty.

    Raises:
        StoreError: the file is short, can be read by others, or cannot be read.
        ResourceError: it cannot be made.
    """
    path = state / NAME
    try:
        if not path.exists():
            if not make:
                return b""
            make_private(path, secrets.token_bytes(BYTES), to_do="Give another --state.")
        if path.stat().st_mode & 0o077:
            raise StoreError("The secret of pseudonyms can be read by others.", where=str(path), to_do="chmod 600 it.")
        secret = path.read_bytes()
    except OSError as error:
        raise StoreError(
            f"The secret of pseudonyms cannot be used: {error.strerror}.",
            where=str(path),
            to_do="Give another --state.",
        ) from error
    if len(secret) != BYTES:
        raise StoreError(
            f"The secret of pseudonyms has {len(secret)} bytes, not {BYTES}.",
            where=str(path),
            to_do="Put the file back that was there; a new one does not find people that the database knows.",
        )
    return secret
