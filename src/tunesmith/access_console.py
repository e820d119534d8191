"""What the verbs about keys and the audit log print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime

from rich.markup import escape

from tunesmith.access.audit_chain import Verified
from tunesmith.access.keys import Key
from tunesmith.console import plain_console, say, say_json


def show_key(key: Key, secret: str, *, as_json: bool, is_rotated: bool = False) -> None:
    """Show a key that was made or rotated, the one time that its secret is there."""
    if as_json:
        say_json({"id": key.id, "key": secret, **key.told()})
        return
    console = plain_console(stderr=True)
    console.print("This is the only time that the key is shown; only its digest is kept:", highlight=False)
    say(secret)
    console.print(f"It is for {', '.join(key.scopes)}, {ending(key)}.", highlight=False)
    if key.former:
        until = max(one.until for one in key.former)
        console.print(f"The secret before it holds until {moment(until)}.", highlight=False)
    elif is_rotated:
        console.print("All earlier secrets of it have ended.", highlight=False)


def show_keys(keys: Sequence[Key], used: Mapping[str, datetime], now: datetime, *, named: str, as_json: bool) -> None:
    """List keys, without their secrets; `named` is the option that names their folder."""
    if as_json:
        last = {key.id: used[key.id].isoformat() if key.id in used else None for key in keys}
        say_json([{"id": key.id, **key.told(), "last_used": last[key.id], "state": state(key, now)} for key in keys])
        return
    for key in keys:
        seen = f"used {moment(used[key.id])[:13]}h" if key.id in used else "no use seen"
        limits = f"{key.limits.tokens_per_minute:,} tokens and {key.limits.requests_per_minute:,} requests a minute"
        say(f"{key.id}  {state(key, now):18}  {seen:19}  {','.join(key.scopes)}; {limits}; {key.name or 'no name'}")
    if not keys:
        say(f"There are no keys. Make one: tunesmith keys create --scopes predict{named}")


def show_revoked(key: Key, *, as_json: bool) -> None:
    """Say that a key holds no longer."""
    if as_json:
        say_json({"id": key.id, **key.told()})
        return
    say(f"The key {key.id} holds no longer.")


def show_records(records: Sequence[Mapping[str, object]], *, as_json: bool) -> None:
    """Show lines of the audit log."""
    if as_json:
        say_json(records)
        return
    console = plain_console()
    for record in records:
        said = f"{record['number']:>5}  {record['at']}  {record['who']}  {record['what']}  {record['target']}"
        console.print(escape(f"{said}  {changes(record)}".rstrip()), highlight=False)
    if not records:
        say("The audit log is empty.")


def show_verified(found: Verified, *, as_json: bool) -> None:
    """Say whether the audit log holds, and which line is the first that does not."""
    if as_json:
        say_json({**asdict(found), "head": str(found.head), "sound": found.broken is None})
        return
    for line in found.torn:
        say(f"Line {line} is torn: a power cut left a part of it.")
    if found.broken is not None:
        say(f"BROKEN at line {found.broken.line}. {found.broken.reason}")
        return
    say(f"All {found.head.number} lines hold. Keep this head elsewhere, and give it to a later 'audit verify --head':")
    say(str(found.head))


def changes(record: Mapping[str, object]) -> str:
    """What differs between the states before and after, as "name: before -> after"."""
    before, after = record["before"], record["after"]
    if not isinstance(after, Mapping):
        return ""
    old = before if isinstance(before, Mapping) else {}
    changed = {key: value for key, value in after.items() if old.get(key) != value}
    return ", ".join(
        f"{key}: {json.dumps(old[key], ensure_ascii=False)} -> {json.dumps(value, ensure_ascii=False)}"
        if key in old
        else f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in changed.items()
    )


def state(key: Key, now: datetime) -> str:
    """Whether a key holds, in words."""
    if key.revoked is not None:
        return f"revoked {moment(key.revoked)[:10]}"
    if key.expires is not None and key.expires <= now:
        return f"expired {moment(key.expires)[:10]}"
    return ending(key)


def ending(key: Key) -> str:
    """Until when a key holds, in words."""
    return "without end" if key.expires is None else f"until {moment(key.expires)[:10]}"


def moment(when: datetime) -> str:
    """A time to the minute."""
    return when.isoformat(sep=" ")[:16]
