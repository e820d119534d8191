"""Signed tokens (JWT, RFC 7519) of another issuer, such as an OpenID provider, as principals.

The rules follow RFC 8725: algorithms are named beforehand, belong to one kind of key, and are never taken from the
token; issuer, audience and expiry must be there and fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jwt

from tunesmith.access.fetching import WELL_KNOWN, Fetch, by_discovery, fetch_https
from tunesmith.access.principal import SCOPES, Limits, Principal, known_scopes
from tunesmith.access.refusals import RefusedError
from tunesmith.access.signing_keys import (
    ASYMMETRIC,
    SYMMETRIC,
    KeySetAddress,
    KeySetFile,
    OneKey,
    SigningKey,
    SigningKeys,
    public_key,
    secret_key,
)
from tunesmith.components import from_settings
from tunesmith.errors import RecipeError, nearest
from tunesmith.recipes import read_recipe

LONGEST_TOKEN = 8192
LONGEST_LEEWAY = 300
_FORM = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired_token"),
    (jwt.ImmatureSignatureError, "token_not_yet_valid"),
    (jwt.InvalidAudienceError, "wrong_audience"),
    (jwt.InvalidIssuerError, "wrong_issuer"),
    (jwt.MissingRequiredClaimError, "missing_claim"),
    (jwt.InvalidSignatureError, "bad_signature"),
    (jwt.InvalidAlgorithmError, "algorithm_refused"),
    (jwt.DecodeError, "malformed_token"),
)


@dataclass(frozen=True)
class TokenRules:
    """Whose tokens are taken, and what they allow. Of the four places of keys one is given at most.

    Where none is, the issuer is an OpenID provider at an https address, whose own description says where its keys are.

    Attributes:
        issuer: what `iss` must be.
        audience: what `aud` must be or hold: this service's name at the issuer.
        algorithms: those that are accepted; all of one kind, that of the key.
        public_key_file: a public key in PEM.
        jwks_file: a set of public keys.
        jwks_url: the same at an https address.
        secret_file: a shared secret, for HS256 and its kin; mode 0600.
        leeway: seconds by which clocks may differ.
        scopes_claim: the claim that holds scopes, as words in a text or as a list.
        scopes: what the issuer calls a scope -> a scope of ours. Ours by their own names where it is left out.
        limits: what each subject may ask for.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    public_key_file: str = ""
    jwks_file: str = ""
    jwks_url: str = ""
    secret_file: str = ""
    leeway: int = 30
    scopes_claim: str = "scope"
    scopes: Mapping[str, str] = field(default_factory=lambda: {name: name for name in SCOPES})
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not self.issuer or not self.audience:
            raise RecipeError("issuer and audience must be given.", where="issuer, audience", to_do="Name both.")
        places = [self.public_key_file, self.jwks_file, self.jwks_url, self.secret_file]
        if sum(map(bool, places)) > 1:
            raise RecipeError(
                f"{sum(map(bool, places))} places of keys are given, not one.",
                where="public_key_file, jwks_file, jwks_url, secret_file",
                to_do="Give one of them.",
            )
        if not any(places) and not self.issuer.startswith("https://"):
            raise RecipeError(
                "The issuer is no https address, so it cannot be asked where its keys are.",
                where=f"issuer: {self.issuer}",
                to_do="Give its https address, or one of public_key_file, jwks_file, jwks_url and secret_file.",
            )
        usable = SYMMETRIC if self.secret_file else ASYMMETRIC
        for name in self.algorithms or ("",):
            if name not in usable:
                kind = "a shared secret" if self.secret_file else "public keys"
                raise RecipeError(
                    f"The algorithm '{name}' is not one for {kind}.{nearest(name, usable)}",
                    where="algorithms",
                    to_do=f"Name some of: {', '.join(usable)}.",
                )
        if not 0 <= self.leeway <= LONGEST_LEEWAY:
            raise RecipeError(
                f"The leeway is {self.leeway} seconds.", where="leeway", to_do=f"Give 0 to {LONGEST_LEEWAY}."
            )
        known_scopes(self.scopes.values(), "scopes")

    @classmethod
    def from_file(cls, path: Path) -> TokenRules:
        """Read the rules from a YAML file; its paths are seen from its folder.

        Raises:
            RecipeError: a key or a value is wrong.
        """
        given = read_recipe(path, "file of token rules")
        for name in ("public_key_file", "jwks_file", "secret_file"):
            if isinstance(place := given.get(name), str) and place:
                given[name] = str(path.parent / place)
        return from_settings(cls, given, str(path))

    def signing_keys(self, fetch: Fetch = fetch_https) -> SigningKeys:
        """The keys, looked at now where they lie in a file.

        Raises:
            TunesmithError: the file holds none.
        """
        if self.jwks_url:
            return KeySetAddress(self.jwks_url, fetch)
        if self.jwks_file:
            return KeySetFile(Path(self.jwks_file))
        if not self.secret_file and not self.public_key_file:
            return KeySetAddress(self.issuer.rstrip("/") + WELL_KNOWN, by_discovery(self.issuer, fetch))
        made = secret_key(Path(self.secret_file)) if self.secret_file else public_key(Path(self.public_key_file))
        if not set(made.algorithms) & set(self.algorithms):
            raise RecipeError(
                f"The key is for {', '.join(made.algorithms)}, and the algorithms are {', '.join(self.algorithms)}.",
                where="algorithms",
                to_do="Name those of the key.",
            )
        return OneKey(made)


class TokenVerifier:
    """Tokens by the rules of one issuer."""

    def __init__(self, rules: TokenRules, keys: SigningKeys | None = None) -> None:
        self._rules = rules
        self._keys = rules.signing_keys() if keys is None else keys

    def admit(self, token: str) -> Principal:
        """Who presents a token, by the keys at hand; see `lacks_key`.

        The principal's id is made of issuer and subject by SHA-256, so that logs hold no name or address of a person.

        Raises:
            RefusedError: `expired_token`, a code that is `invalid_token` outside, or `signers_unavailable`.
        """
        key, algorithm = self._key_for(token)
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=self._rules.leeway,
                options={"require": ["exp", "aud", "iss", "sub"], "enforce_minimum_key_length": True},
            )
        except jwt.PyJWTError as error:
            code = next((code for kind, code in _REASONS if isinstance(error, kind)), "bad_claim")
            raise RefusedError(code) from None
        subject = claims["sub"]
        sum = hashlib.sha256(f"{self._rules.issuer}\n{subject}".encode("utf-8", "surrogatepass")).hexdigest()
        return Principal(f"jwt-{sum[:16]}", self._scopes(claims), self._rules.limits)

    def lacks_key(self, token: str) -> bool:
        """Whether this token can only be judged after `fetch_keys`; never so for what the rules refuse anyway."""
        try:
            return self._keys.lacks(self._header(token)[1])
        except RefusedError:
            return False

    def fetch_keys(self) -> bool:
        """Fetch the issuer's keys anew, where they are at an address; whether that went well. This may block."""
        return self._keys.fetch()

    def _key_for(self, token: str) -> tuple[SigningKey, str]:
        """The key of a token and the algorithm, which the rules and the key must both allow."""
        algorithm, id = self._header(token)
        key = self._keys.find(id)
        if key is None:
            raise RefusedError("unknown_signer")
        if algorithm not in key.algorithms:
            raise RefusedError("algorithm_refused")
        return key, algorithm

    def _header(self, token: str) -> tuple[str, str | None]:
        """A token's algorithm and key id, where the rules allow them; nothing is proven yet."""
        if len(token) > LONGEST_TOKEN or _FORM.fullmatch(token) is None:
            raise RefusedError("malformed_token")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            raise RefusedError("malformed_token") from None
        algorithm, id = header.get("alg"), header.get("kid")
        if algorithm not in self._rules.algorithms:
            raise RefusedError("algorithm_refused")
        # Extensions that must be understood are not (RFC 7515, section 4.1.11).
        if "crit" in header or "b64" in header or not isinstance(id, str | None):
            raise RefusedError("malformed_token")
        return algorithm, id

    def _scopes(self, claims: Mapping[str, object]) -> frozenset[str]:
        """Our scopes among the issuer's; other words are for other services."""
        given = claims.get(self._rules.scopes_claim, "")
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        return frozenset(
            self._rules.scopes[word] for word in words if isinstance(word, str) and word in self._rules.scopes
        )
