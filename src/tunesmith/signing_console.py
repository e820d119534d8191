"""What the verbs about signatures print."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tunesmith.console import say, say_json
from tunesmith.errors import TunesmithError
from tunesmith.inference.signed import Seen

SHORT = 16
"""Characters of a key's id by which people tell it."""


def show_keys(private: Path, public: Path, key: str, *, as_json: bool) -> None:
    """Say where a new pair of keys is, and what each is for."""
    if as_json:
        say_json({"key": key, "private": str(private), "public": str(public)})
        return
    say(f"Private: {private}, for you alone. Who has it can sign as you; keep a copy apart from the artifacts.")
    say(f"Public:  {public}, key {key[:SHORT]}. Bring it to those who load artifacts by a way that they trust.")
    say(f"Next:    tunesmith sign ARTIFACT --key {shlex.quote(str(private))}")


def show_signed(found: Sequence[tuple[Path, Seen]], *, as_json: bool) -> None:
    """Say which artifacts were signed."""
    if as_json:
        say_json(_plain(found))
        return
    for folder, seen in found:
        say(f"{folder}: signed by key {seen.key[:SHORT]}, manifest {seen.sha256[:SHORT]} of {seen.files} files")


def show_seen(found: Sequence[tuple[Path, Seen | TunesmithError]], *, as_json: bool) -> None:
    """Say of artifacts that they are whole and who signed them, or what is wrong with them."""
    if as_json:
        say_json(_plain(found))
        return
    for folder, seen in found:
        if isinstance(seen, TunesmithError):
            say(f"{folder}: REFUSED: {seen.what}")
            continue
        if seen.is_trusted:
            who = f"signed by the trusted key {seen.key[:SHORT]}"
        elif seen.key:
            who = (
                f"NOTHING of its signature was checked, it may be of other files; it names key {seen.key[:SHORT]}: "
                "give --trusted"
            )
        else:
            who = "not signed"
        say(f"{folder}: {seen.files} files, all as its manifest says; {who}")


def _plain(found: Sequence[tuple[Path, Seen | TunesmithError]]) -> list[dict[str, object]]:
    return [{"artifact": str(folder), **_told(seen)} for folder, seen in found]


def _told(seen: Seen | TunesmithError) -> dict[str, object]:
    if isinstance(seen, TunesmithError):
        return {"fault": {"what": seen.what, "where": seen.where, "to_do": seen.to_do}}
    return asdict(seen)
