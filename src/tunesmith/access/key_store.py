"""The keys of a service, in one file: made, revoked, rotated and recorded; presented ones looked up."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from tunesmith.access.audit import AuditLog
from tunesmith.access.keys import Clock, Key, compare_with_nobody, digest_of, id_in, new_id, new_secret, utc_now
from tunesmith.access.principal import Limits, Principal, known_scopes
from tunesmith.access.refusals import RefusedError
from tunesmith.errors import ResourceError, TunesmithError, nearest
from tunesmith.private_files import (
    locked,
    naming,
    private_text,
    refused_reading,
    secret_of,
    state_folder,
    write_private,
)

FILE = "keys.json"
PEPPER = "pepper"
USES = "keys-used.json"
FORMAT = 1
LONGEST_NAME = 80
_KEYS = TypeAdapter(list[Key])
_TIMES = TypeAdapter(dict[str, datetime])
_Seen = tuple[int, int, int]


class KeyStore:
    """The keys in a state folder.

    A look-up costs one `stat` and one HMAC; the file is read again when it is another one, so that a key which is
    revoked in one process holds in none from the next request on. Where the file cannot be read no key holds.
    """

    def __init__(self, folder: Path, now: Clock = utc_now) -> None:
        """Open the store of a folder, which is made with its pepper where there is none.

        Raises:
            ResourceError: the folder or the pepper cannot be used, or there are keys and their pepper is gone.
        """
        self.folder = state_folder(folder)
        self.audit = AuditLog(self.folder, now)
        self._now = now
        _see_pepper(self.folder)
        self._pepper = secret_of(self.folder / PEPPER)
        self._keys: dict[str, Key] = {}
        self._seen: _Seen | None = None
        self._used: dict[str, datetime] = {}

    def keys(self) -> list[Key]:
        """All keys, the oldest first."""
        self._look()
        return sorted(self._keys.values(), key=lambda key: (key.created, key.id))

    def admit(self, presented: str) -> Principal:
        """Who presents a key.

        Raises:
            RefusedError: `malformed_key`, `unknown_key`, `wrong_key`, `revoked_key` or `expired_key`.
            ResourceError: the file of keys cannot be read.
        """
        self._look()
        digest = digest_of(presented, self._pepper)
        id = id_in(presented)
        key = self._keys.get(id) if id is not None else None
        if id is None or key is None:
            compare_with_nobody(digest)
            raise RefusedError("malformed_key" if id is None else "unknown_key")
        now = self._now()
        principal = key.admitted(digest, now)
        self._used[id] = now.replace(minute=0, second=0)
        return principal

    def create(
        self, scopes: tuple[str, ...], limits: Limits, *, name: str, by: str, lifetime: timedelta | None
    ) -> tuple[Key, str]:
        """Make a key; the string is its only copy.

        Raises:
            TunesmithError: an unknown scope, a lifetime that is none, or too long a name.
        """
        if lifetime is not None and lifetime <= timedelta():
            raise TunesmithError("The key would have expired already.", where="--days", to_do="Give more than 0 days.")
        if len(name) > LONGEST_NAME or not name.isprintable():
            raise TunesmithError(
                f"The name is longer than {LONGEST_NAME} characters, or holds what cannot be printed.",
                where="--name",
                to_do="Give a short one.",
            )
        now = self._now()
        id = new_id()
        secret = new_secret(id)
        key = Key(
            *(id, name, digest_of(secret, self._pepper), known_scopes(scopes), limits, now),
            expires=None if lifetime is None else now + lifetime,
        )
        with self._lock():
            self._look()
            self._put(None, key, "key.create", by)
        return key, secret

    def revoke(self, id: str, *, by: str) -> Key:
        """Let a key hold no longer, in every process.

        Raises:
            TunesmithError: there is no such key, or it was revoked before.
        """
        with self._lock():
            key = self._holding(id)
            revoked = replace(key, revoked=self._now())
            self._put(key, revoked, "key.revoke", by)
        return revoked

    def rotate(self, id: str, *, by: str, overlap: timedelta) -> tuple[Key, str]:
        """Give a key a new secret; the one before holds for `overlap` (all before end with it at the latest).

        Raises:
            TunesmithError: there is no such key, or it was revoked or has expired.
        """
        if overlap < timedelta():
            raise TunesmithError("The overlap is below 0.", where="--overlap", to_do="Give 0 or more hours.")
        with self._lock():
            key = self._holding(id)
            secret = new_secret(id)
            rotated = key.rotated(digest_of(secret, self._pepper), self._now(), overlap)
            self._put(key, rotated, "key.rotate", by)
        return rotated, secret

    def last_used(self) -> dict[str, datetime]:
        """When each key was last used, to the hour, as far as it was saved."""
        path = self.folder / USES
        if not path.exists():
            return {}
        try:
            return _TIMES.validate_json(private_text(path))
        except ValidationError as error:
            raise _damaged(path, "Remove it: only the times of last use are lost.") from error

    def save_uses(self) -> None:
        """Write down which keys were used; a service does this every some minutes and when it stops.

        Raises:
            ResourceError: it cannot be written.
        """
        used, self._used = self._used, {}  # at once: keys are admitted meanwhile, on another thread
        if not used:
            return
        try:
            with self._lock():
                saved = self.last_used()
                for id, when in used.items():
                    saved[id] = max(when, saved.get(id, when))
                write_private(self.folder / USES, json.dumps({id: when.isoformat() for id, when in saved.items()}))
        except ResourceError:
            self._used = {**used, **self._used}
            raise

    def _lock(self) -> AbstractContextManager[None]:
        return locked(self.folder / ".keys.lock")

    def _put(self, before: Key | None, after: Key, what: str, by: str) -> None:
        """Write the keys with one of them changed or added, once the audit log holds that this is done."""
        told = None if before is None else before.told()
        with self.audit.recorded(by, what, after.id, before=told, after=after.told()):
            plain = _KEYS.dump_python([*({**self._keys, after.id: after}.values())], mode="json")
            write_private(
                self.folder / FILE, json.dumps({"format": FORMAT, "keys": plain}, ensure_ascii=False, indent=1)
            )

    def _holding(self, id: str) -> Key:
        self._look()
        key = self._keys.get(id)
        if key is None:
            raise TunesmithError(
                f"There is no key '{id}'.{nearest(id, self._keys)}",
                where=str(self.folder),
                to_do=f"See: tunesmith keys list{naming(self.folder)}",
            )
        if key.revoked is not None or (key.expires is not None and key.expires <= self._now()):
            state = "was revoked" if key.revoked is not None else "has expired"
            raise TunesmithError(
                f"The key '{id}' {state}.",
                where=str(self.folder),
                to_do=f"Make another: tunesmith keys create{naming(self.folder)}",
            )
        return key

    def _look(self) -> None:
        """Read the file where it is another than the one that was read last."""
        path = self.folder / FILE
        seen = _stamp(path)
        if seen != self._seen or seen is None:
            self._keys = {} if seen is None else _read(path)
            self._seen = seen


def has_keys(folder: Path) -> bool:
    """Whether keys were made in a state folder; to be asked before reading, since a store makes what it lacks."""
    return (folder / FILE).exists() or (folder.exists() and not folder.is_dir())  # a store says what is wrong


def _see_pepper(folder: Path) -> None:
    """A new pepper would silently end every key."""
    keys, pepper = folder / FILE, folder / PEPPER
    if keys.exists() and not pepper.exists() and not pepper.is_symlink():
        raise ResourceError(
            "There are keys, but the pepper is gone without which none of them holds.",
            where=str(pepper),
            to_do=f"Put the pepper back; or, if it is lost, remove {FILE} and make new keys.",
        )


def _stamp(path: Path) -> _Seen | None:
    """What tells one writing of a file from the next: each is a new file."""
    if not path.exists():
        return None
    with refused_reading(path):
        found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> dict[str, Key]:
    try:
        found = json.loads(private_text(path))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise _damaged(path, "Use the version of Tunesmith that wrote it, or put it back from a copy.")
        return {key.id: key for key in _KEYS.validate_python(found.get("keys"))}
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "Put it back from a copy; until then no key holds.") from error


def _damaged(path: Path, to_do: str) -> ResourceError:
    return ResourceError("The file is damaged, or of another version.", where=str(path), to_do=to_do)
