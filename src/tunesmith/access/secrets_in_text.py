"""Text without what looks like a secret: keys, tokens, credentials of headers and addresses, private keys."""

from __future__ import annotations

import re

LONGEST = 20_000
"""So many characters are looked at; what lies behind is cut off."""

# Each pattern has bounded or possessive repeats, so the time grows with the length alone.
_KEY = re.compile(r"ts(_|%5[Ff])([A-Za-z0-9]{1,64})(?:_|%5[Ff])[A-Za-z0-9_\-]{8,}+")
_RUN = re.compile(r"[A-Za-z0-9_\-.%=~+]{12,}+")
_OTHERS = (
    re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[A-Za-z0-9+/=\s\\]*+(?:-----END [A-Z ]{0,40}-----)?"),
    re.compile(r"(?<=://)[^\s/@:]{0,200}:[^\s/@]{1,200}(?=@)"),
)
_CREDENTIAL = re.compile(r"\b(Bearer|Basic|Token)(\s{1,4})[A-Za-z0-9_\-.~+/=]{8,}+", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """The text with "<secret>" in the place of secrets; a key's id, which is none, stays.

    What lies behind the first `LONGEST` characters is cut off, and how much that was is said.
    """
    kept = text[:LONGEST]
    kept = _KEY.sub(r"ts_\2_<secret>", kept)
    kept = _RUN.sub(_without_token, kept)
    for pattern in _OTHERS:
        kept = pattern.sub("<secret>", kept)
    kept = _CREDENTIAL.sub(r"\1\2<secret>", kept)
    return kept if len(text) <= LONGEST else f"{kept} <{len(text) - LONGEST} more characters>"


def _without_token(run: re.Match[str]) -> str:
    """A run of characters, which is a signed token where it has a dot and the beginning of an encoded JSON object."""
    return "<secret>" if "eyJ" in run[0] and "." in run[0] else run[0]
