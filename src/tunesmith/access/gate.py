"""From the Authorization header of a request to a principal."""

from __future__ import annotations

from tunesmith.access.bearer_tokens import TokenVerifier
from tunesmith.access.key_store import KeyStore
from tunesmith.access.principal import Principal
from tunesmith.access.rate_limits import FailureLimiter
from tunesmith.access.refusals import RefusedError

LONGEST_CREDENTIAL = 8192
_COUNTED = {"invalid_key", "invalid_token", "expired_key", "revoked_key", "expired_token"}


class Gate:
    """Lets in who presents a key of the store, or a token where there is a verifier of tokens.

    What begins like a key is looked for among keys and nowhere else. `refused` counts refusals by their exact code.
    `admit` never waits for another machine. Tokens whose keys come from an address are let in by the keys at hand;
    where `lacks_key` says so, `fetch_keys` brings them first, outside of an event loop.
    """

    def __init__(
        self, keys: KeyStore, tokens: TokenVerifier | None = None, failures: FailureLimiter | None = None
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._failures = FailureLimiter() if failures is None else failures
        self.refused: dict[str, int] = {}

    def admit(self, authorization: str | None, source: str) -> Principal:
        """Who asks.

        Args:
            authorization: the header's value ("Bearer <key>"), or None.
            source: the address that the request comes from, as the socket says, or a proxy that is trusted.

        Raises:
            RefusedError: nobody who is known, or a source with too many wrong keys.
            ResourceError: the keys cannot be read; nobody is let in then.
        """
        try:
            self._failures.check(source)
            return self._known(authorization)
        except RefusedError as error:
            self.refused[error.code] = self.refused.get(error.code, 0) + 1
            if error.outside in _COUNTED:
                self._failures.note(source)
            raise

    def lacks_key(self, authorization: str | None) -> bool:
        """Whether this can only be judged after `fetch_keys`."""
        try:
            tokens, credential = self._tokens_for(authorization)
        except RefusedError:
            return False
        return tokens is not None and tokens.lacks_key(credential)

    def fetch_keys(self) -> bool:
        """Fetch the keys of those who sign tokens; whether that went well. This may block for some seconds."""
        return self._tokens is None or self._tokens.fetch_keys()

    def _known(self, authorization: str | None) -> Principal:
        tokens, credential = self._tokens_for(authorization)
        return self._keys.admit(credential) if tokens is None else tokens.admit(credential)

    def _tokens_for(self, authorization: str | None) -> tuple[TokenVerifier | None, str]:
        """What is presented, and what judges it: a verifier of tokens, or None for the store of keys."""
        scheme, _, credential = (authorization or "").strip().partition(" ")
        credential = credential.strip()
        if not credential or scheme.lower() != "bearer":
            raise RefusedError("missing_key")
        if len(credential) > LONGEST_CREDENTIAL:
            raise RefusedError("malformed_key")
        return (None if credential.startswith("ts_") else self._tokens), credential
