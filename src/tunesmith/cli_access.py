"""The verbs about who may ask a service: keys, and the log of what was changed."""

from __future__ import annotations

import os
import pwd
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import access_console
from tunesmith.access.audit import AuditLog
from tunesmith.access.key_store import KeyStore, has_keys
from tunesmith.access.keys import utc_now
from tunesmith.access.principal import SCOPES, Limits
from tunesmith.arguments import AsJson
from tunesmith.errors import ResourceError
from tunesmith.private_files import STATE, naming

keys = typer.Typer(no_args_is_help=True, help="Make, list, revoke and rotate the keys of a service.")
audit = typer.Typer(no_args_is_help=True, help="Look at the log of what was changed, and whether it holds.")
verbs = typer.Typer()
verbs.add_typer(keys, name="keys")
verbs.add_typer(audit, name="audit")

State = Annotated[Path, typer.Option(help="The folder with the service's keys and logs.")]
KeyId = Annotated[str, typer.Argument(help="The part of the key between its underscores.")]


@keys.command()
def create(
    scopes: Annotated[str, typer.Option(help=f"What it is for, parted by commas: {', '.join(SCOPES)}.")] = "predict",
    name: Annotated[str, typer.Option(help="What or whom it is for, in a few words.")] = "",
    days: Annotated[float, typer.Option(help="How long it holds; 0 for without end.", min=0)] = 90,
    tokens_per_minute: Annotated[int, typer.Option(help="The most tokens in a minute.", min=1)] = 200_000,
    requests_per_minute: Annotated[int, typer.Option(help="The most requests in a minute.", min=1)] = 600,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Make a key; it is printed this one time."""
    store = KeyStore(state.expanduser())
    names = tuple(part.strip() for part in scopes.split(",") if part.strip())
    limits = Limits(tokens_per_minute, requests_per_minute)
    lifetime = timedelta(days=days) if days else None
    access_console.show_key(*store.create(names, limits, name=name, by=user(), lifetime=lifetime), as_json=as_json)


@keys.command("list")
def list_keys(state: State = STATE, as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    if not has_keys(state.expanduser()):  # who reads makes no folder and no pepper
        access_console.show_keys([], {}, utc_now(), named=naming(state), as_json=as_json)
        return
    store = KeyStore(state.expanduser())
    access_console.show_keys(store.keys(), store.last_used(), utc_now(), named=naming(state), as_json=as_json)


@keys.command()
def revoke(id: KeyId, state: State = STATE, as_json: AsJson = False) -> None:
    """Let a key hold no longer, in running services too."""
    access_console.show_revoked(store_in(state).revoke(id, by=user()), as_json=as_json)


@keys.command()
def rotate(
    id: KeyId,
    overlap: Annotated[float, typer.Option(help="Hours for which the secret before still holds.", min=0)] = 24,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret; the one before holds for some hours. With --overlap 0 it ends at once."""
    changed = store_in(state).rotate(id, by=user(), overlap=timedelta(hours=overlap))
    access_console.show_key(*changed, as_json=as_json, is_rotated=True)


@audit.command()
def verify(
    head: Annotated[str, typer.Option(help="A head that an earlier look printed, and that was kept elsewhere.")] = "",
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """See whether the log holds; exit code 1 when a line was changed, removed, added or moved."""
    found = log_in(state).verify(head)
    access_console.show_verified(found, as_json=as_json)
    if found.broken is not None:
        raise typer.Exit(1)


@audit.command()
def show(
    last: Annotated[int, typer.Option(help="How many lines, counted from the end.", min=1)] = 20,
    state: State = STATE,
    as_json: AsJson = False,
) -> None:
    """Show the last lines of the log: who changed what and when."""
    access_console.show_records(list(deque(log_in(state).records(), maxlen=last)), as_json=as_json)


def store_in(state: Path) -> KeyStore:
    """The store of a state folder in which keys were made.

    Raises:
        ResourceError: none were.
    """
    folder = state.expanduser()
    if not has_keys(folder):
        raise ResourceError("There are no keys.", where=str(folder), to_do="Give the service's --state.")
    return KeyStore(folder)


def log_in(state: Path) -> AuditLog:
    """The log of a state folder that is there.

    Raises:
        ResourceError: it is not.
    """
    folder = state.expanduser()
    if not folder.is_dir():
        raise ResourceError("There is no such folder.", where=str(folder), to_do="Give the service's --state.")
    return AuditLog(folder)


def user() -> str:
    """The name of the user who runs this, as the system knows it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"
