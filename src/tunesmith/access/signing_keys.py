"""Keys that sign tokens: a shared secret, a public key, or a set of public keys (JWKS, RFC 7517)."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tunesmith.access.fetching import Fetch
from tunesmith.access.refusals import RefusedError
from tunesmith.errors import ResourceError, TunesmithError
from tunesmith.private_files import private_text, refused_reading

SYMMETRIC = ("HS256", "HS384", "HS512")
FAMILIES: Mapping[type, tuple[str, ...]] = {
    RSAPublicKey: ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    EllipticCurvePublicKey: ("ES256", "ES384", "ES512"),
    Ed25519PublicKey: ("EdDSA",),
}
"""Which algorithms a kind of public key is for."""

ASYMMETRIC = tuple(name for names in FAMILIES.values() for name in names)
MOST_KEYS = 50
MOST_BYTES = 262_144
_SHORTEST_SECRET = 32
_log = logging.getLogger(__name__)

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


@dataclass(frozen=True)
class SigningKey:
    """A key and the algorithms that it is for."""

    key: PublicKey | bytes
    algorithms: tuple[str, ...]


class SigningKeys(Protocol):
    """Where keys come from. Only `fetch` asks another machine, and so may block for seconds."""

    def find(self, id: str | None) -> SigningKey | None:
        """The key with an id (a token's `kid`), or the only one where no id is given; None where there is none.

        Raises:
            RefusedError: whether there is one cannot be told now (`signers_unavailable`).
        """

    def lacks(self, id: str | None) -> bool:
        """Whether the key is not among those at hand, and `fetch` may bring it."""

    def fetch(self) -> bool:
        """Fetch the keys anew where they are far away; whether all is well."""


@dataclass(frozen=True)
class OneKey:
    """A single key, whatever id a token names."""

    key: SigningKey

    def find(self, id: str | None) -> SigningKey | None:
        """The key."""
        return self.key

    def lacks(self, id: str | None) -> bool:
        """Never."""
        return False

    def fetch(self) -> bool:
        """There is nothing to fetch."""
        return True


class KeySetFile:
    """A file with a key set, read again when it was changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = -1
        self._keys: Mapping[str, SigningKey] = {}
        self.find(None)

    def find(self, id: str | None) -> SigningKey | None:
        """See `SigningKeys.find`."""
        with refused_reading(self._path):
            seen = self._path.stat().st_mtime_ns
            if seen != self._seen:
                self._keys = key_set(self._path.read_bytes(), str(self._path))
                self._seen = seen
        return _among(self._keys, id)

    def lacks(self, id: str | None) -> bool:
        """Never: a changed file is read by `find`."""
        return False

    def fetch(self) -> bool:
        """There is nothing to fetch."""
        return True


class KeySetAddress:
    """A key set from an https address, tried at most once in `pause` seconds.

    A service fetches it every some minutes, and on a thread when a token names an id that is not at hand, since signers
    change their keys; `pause` keeps senders of invented ids from causing more. Where it cannot be fetched the set so
    far holds for `grace` seconds and then no more.
    """

    def __init__(
        self,
        address: str,
        fetch: Fetch,
        now: Callable[[], float] = time.monotonic,
        *,
        pause: float = 30.0,
        grace: float = 86_400.0,
    ) -> None:
        if not address.startswith("https://"):
            raise TunesmithError(
                "The address of the key set is not https.",
                where="jwks_url",
                to_do="Give an https address, or jwks_file.",
            )
        self._address, self._fetch, self._now = address, fetch, now
        self._pause, self._grace = pause, grace
        # Both parts are put at once: `find` runs in the event loop while `fetch` runs on a thread.
        self._held: tuple[Mapping[str, SigningKey], float] = ({}, float("-inf"))
        self._tried, self._failed = float("-inf"), False
        self._lock = threading.Lock()

    def find(self, id: str | None) -> SigningKey | None:
        """See `SigningKeys.find`. A key that is unknown while the issuer is silent may be a new one of its."""
        found = self._usable(id)
        if found is None and (self._failed or not self._is_usable):
            wait = self._tried + self._pause - self._now()
            raise RefusedError("signers_unavailable", {"retry_after": max(1, math.ceil(wait)) if wait > 0 else 1})
        return found

    def lacks(self, id: str | None) -> bool:
        """See `SigningKeys.lacks`."""
        return self._is_due and self._usable(id) is None

    def fetch(self) -> bool:
        """See `SigningKeys.fetch`; whoever comes while another one fetches waits for it."""
        with self._lock:
            if self._is_due:
                self._refresh()
            return not self._failed

    @property
    def _is_due(self) -> bool:
        return self._now() - self._tried >= self._pause

    @property
    def _is_usable(self) -> bool:
        return self._now() - self._held[1] <= self._grace

    def _usable(self, id: str | None) -> SigningKey | None:
        return _among(self._held[0], id) if self._is_usable else None

    def _refresh(self) -> None:
        try:
            found = key_set(self._fetch(self._address), self._address)
            self._held, self._failed = (found, self._now()), False
        except (OSError, TunesmithError) as error:
            self._failed = True
            why = error.what if isinstance(error, TunesmithError) else type(error).__name__
            _log.warning("the key set of the token issuer could not be fetched: %s", why)
        self._tried = self._now()  # only now: until then others wait, instead of going on without the new keys


def secret_key(path: Path) -> SigningKey:
    """A shared secret of at least 32 bytes, for HMAC.

    Raises:
        ResourceError: others may read it, it is too short, or it is a public key.
    """
    secret = private_text(path).strip().encode("utf-8")
    if len(secret) < _SHORTEST_SECRET or b"-----BEGIN" in secret:
        raise ResourceError(
            f"The file holds no secret of at least {_SHORTEST_SECRET} characters.",
            where=str(path),
            to_do="Public keys go to public_key_file, with asymmetric algorithms.",
        )
    return SigningKey(secret, SYMMETRIC)


def public_key(path: Path) -> SigningKey:
    """A public key in PEM.

    Raises:
        ResourceError: the file holds none, or one of a kind that signs no tokens.
    """
    with refused_reading(path):
        raw = path.read_bytes()
    try:
        return _signing_key(load_pem_public_key(raw))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ResourceError(
            "The file holds no public key (PEM) of RSA from 2048 bits, an elliptic curve or Ed25519.",
            where=str(path),
            to_do="Give the issuer's public key, and never a private one.",
        ) from error


def key_set(raw: bytes, where: str) -> Mapping[str, SigningKey]:
    """The public keys of a key set by their ids; keys for encryption are passed over.

    Raises:
        ResourceError: it is no key set, is too large, or holds private or shared keys.
    """
    what = "This is no set of public keys (JWKS)."
    try:
        found = json.loads(raw) if len(raw) <= MOST_BYTES else None
        keys = found["keys"] if isinstance(found, dict) else None
        if not isinstance(keys, list) or not 0 < len(keys) <= MOST_KEYS:
            raise ValueError(what)
        made: dict[str, SigningKey] = {}
        for raw_key in keys:
            if not isinstance(raw_key, dict) or raw_key.get("kty") == "oct" or "d" in raw_key or "k" in raw_key:
                what = "The key set holds a key that is not public."
                raise ValueError(what)
            if raw_key.get("use", "sig") == "sig":
                key = _signing_key(jwt.PyJWK(raw_key).key, raw_key.get("alg"))
                if made.setdefault(str(raw_key.get("kid", "")), key) is not key:
                    what = "The key set holds an id twice."
                    raise ValueError(what)
    except (ValueError, KeyError, TypeError, RecursionError, jwt.PyJWTError, UnsupportedAlgorithm) as error:
        raise ResourceError(what, where=where, to_do="Give the address or file of the issuer's public keys.") from error
    return made


def _signing_key(key: object, algorithm: object = None) -> SigningKey:
    for kind, names in FAMILIES.items():
        if isinstance(key, kind) and isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey):
            if isinstance(key, RSAPublicKey) and key.key_size < 2048:
                break
            return SigningKey(key, names if algorithm is None else tuple(name for name in names if name == algorithm))
    raise ValueError("no key that signs tokens")


def _among(keys: Mapping[str, SigningKey], id: str | None) -> SigningKey | None:
    if id is not None:
        return keys.get(id)
    return next(iter(keys.values())) if len(keys) == 1 else None
