"""What the verbs about signatures print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tunesmith.console import say, say_json
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
    say(f"Next:    tunesmith sign ARTIFACT --key {private}")


def show_signed(found: Sequence[tuple[Path, Seen]], *, as_json: bool) -> None:
    """Say which artifacts were signed."""
    if as_json:
        say_json(_plain(found))
        return
    for folder, seen in found:
        say(f"{folder}: signed by key {seen.key[:SHORT]}, manifest {seen.sha256[:SHORT]} of {seen.files} files")


def show_seen(found: Sequence[tuple[Path, Seen]], *, as_json: bool) -> None:
    """Say of artifacts that they are whole, and who signed them."""
    if as_json:
        say_json(_plain(found))
        return
    for folder, seen in found:
        if seen.is_trusted:
            who = f"signed by the trusted key {seen.key[:SHORT]}"
        elif seen.key:
            who = f"says to be signed by key {seen.key[:SHORT]}, which was not checked: give --trusted"
        else:
            who = "not signed"
        say(f"{folder}: {seen.files} files, all as its manifest says; {who}")


def _plain(found: Sequence[tuple[Path, Seen]]) -> list[dict[str, object]]:
    return [{"artifact": str(folder), **asdict(seen)} for folder, seen in found]
