"""What the verbs about feedback print."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith import console
from tunesmith.doubted_feedback import Doubted
from tunesmith.remembered.encrypting import Encrypted
from tunesmith.remembered.erasing import Erased
from tunesmith.remembered.reviewing import Remark, iso
from tunesmith.remembered.training_rows import Exported

_LONGEST = 60
_SHOWN = 3


def plain_feedback(row: Remark, *, with_text: bool) -> dict[str, object]:
    """Feedback and its answer as plain values; the text only where it is asked for."""
    plain: dict[str, object] = {
        "id": row.id,
        "given_at": iso(row.given_at),
        "status": row.status,
        "verdict": row.verdict,
        "key": row.key_id,
        "request_id": row.request_id,
        "item": row.item,
        "model": row.model,
        "version": row.version,
        "answer": row.answer,
        "right": row.right_answer,
        "confidence": row.confidence,
        "provenance": row.provenance,
    }
    return plain | ({"text": row.text, "further": row.further, "comment": row.comment} if with_text else {})


def show_feedback(rows: Sequence[Remark], counts: Mapping[str, int], *, with_text: bool, as_json: bool) -> None:
    """List feedback, the newest first, and how much there is of each status."""
    if as_json:
        console.say_json({"counts": counts, "feedback": [plain_feedback(row, with_text=with_text) for row in rows]})
        return
    for row in rows:
        console.say(f"{row.id}  {iso(row.given_at)[:16]}  {row.status}  key {row.key_id}  model {row.model}")
        console.say(f"  answered {_short(row.answer)}; {_said(row)}")
        if with_text:
            console.say(f"  text     {row.text or '(none is kept)'}")
            if row.comment:
                console.say(f"  comment  {row.comment}")
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.say(f"{len(rows)} shown; {said}.")


def _said(row: Remark) -> str:
    if row.right_answer is not None:
        return f"{row.verdict}: right is {_short(row.right_answer)}"
    return row.verdict if row.verdict == "correct" else f"{row.verdict}, and what is right is not said"


def _short(answer: Mapping[str, Any] | str) -> str:
    if isinstance(answer, str):  # it is encrypted, and texts were not asked for
        return answer
    for key in ("label", "spans", "answer", "answers"):
        if key in answer:
            value = answer[key]
            if key in ("spans",):
                value = [f"{one['start']}-{one['end']} {one['label']}" for one in value] or "nothing"
            return _cut(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return _cut(json.dumps(answer, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def show_exported(
    exported: Exported, out: Path, doubted: Sequence[Doubted], aside: Path, *, named: str, as_json: bool
) -> None:
    """Say what was written, what was left out, what was set aside; `named` are the options of a further verb."""
    if as_json:
        told = [
            {
                "id": one.row["id"],
                "key": one.row["key"],
                "reason": one.reason,
                "copies": [copy.id for copy in one.copies],
            }
            for one in doubted
        ]
        console.say_json({"out": str(out), **asdict(exported), "aside": str(aside) if doubted else "", "doubted": told})
        return
    console.say(
        f"Wrote {exported.written} rows to {out}: {exported.corrected} corrected, "
        f"{exported.written - exported.corrected} confirmed."
    )
    for count, why in (
        (exported.agreeing, "say what another row says of the same text (each is written once)"),
        (exported.conflicting, f"contradict each other about the same text, such as {', '.join(exported.conflicts)}"),
        (exported.without_text, "have no text, since none is kept"),
        (exported.without_right_answer, "say that an answer is wrong, and not what is right"),
        *((count, f"left out: their status is {status}") for status, count in exported.by_status.items()),
    ):
        if count:
            console.say(f"  {count:6} {why}")
    if exported.unjudged:
        console.say(f"  {exported.unjudged:6} written, and not judged: no trusted example has their label")
    if doubted:
        _show_aside(exported, doubted, aside, named)
    if exported.by_status.get("new"):
        console.say(f"New feedback waits for a reviewer: tunesmith feedback review{named}")


def _show_aside(exported: Exported, doubted: Sequence[Doubted], aside: Path, named: str) -> None:
    why = {"other_keys": "other keys say something else of like texts", "neighbours": "trusted neighbours do"}
    counts = ", ".join(f"{count} since {why[code]}" for code, count in exported.set_aside.items())
    console.say(f"  {len(doubted):6} set aside and quarantined, {counts}; they are in {aside}")
    for one in doubted[:_SHOWN]:
        console.say(f"         {one.row['id']} of key {one.row['key']}: {one.reason}")
    if len(doubted) > _SHOWN:
        keys = Counter(str(one.row["key"]) for one in doubted).most_common(_SHOWN)
        console.say(f"         ... most by key {', '.join(f'{key} ({count})' for key, count in keys)}")
    if exported.copies_aside:
        console.say(f"  {exported.copies_aside:6} that say the same of the same texts are quarantined with them")
    if exported.changed_meanwhile:
        console.say(f"  {exported.changed_meanwhile:6} of these were judged or deleted meanwhile, and stay as they are")
    console.say(
        f"Those that are right after all: tunesmith feedback review ID... --to accepted{named}; they are not doubted "
        "again."
    )


def show_erased(erased: Erased, what: str, *, is_file: bool, as_json: bool, nothing: str = "") -> None:
    """Say how much was deleted, or `nothing`, and whether the text is gone from the files."""
    if as_json:
        console.say_json(asdict(erased))
        return
    if nothing and not (erased.answers or erased.feedback):
        console.say(nothing)
        if not erased.is_gone:
            _say_left(is_file=is_file)
        return
    console.say(f"Deleted {what}: {erased.answers} answers, {erased.feedback} feedback.")
    if erased.is_gone:
        console.say("The database's files hold nothing of what was deleted any more; backups and exported files may.")
    else:
        _say_left(is_file=is_file)


def show_encrypted(encrypted: Encrypted, keys: Path, *, is_file: bool, as_json: bool) -> None:
    """Say how much was encrypted, under which file of keys, and whether the earlier form is gone from the files."""
    if as_json:
        console.say_json({**asdict(encrypted), "keys": str(keys)})
        return
    if not (encrypted.answers or encrypted.feedback or encrypted.dropped):
        console.say(f"Nothing had to be encrypted: no raw text lies in the clear or under an older key of {keys}.")
        if not encrypted.is_gone:
            _say_left(is_file=is_file)
        return
    counts = f"{encrypted.answers} answers and {encrypted.feedback} feedback"
    console.say(
        f"Encrypted {counts if encrypted.answers or encrypted.feedback else 'nothing'} under the newest of {keys}."
    )
    if encrypted.dropped:
        console.say(f"Deleted {encrypted.dropped} texts that no key opens; labels and times remain.")
    console.say("Keep a copy of the file of keys apart from the database: without it no raw text can be read.")
    if encrypted.is_gone:
        console.say(
            "The database's files hold none of these texts as they were before; backups and exported files may."
        )
    else:
        _say_left(is_file=is_file)


def _say_left(*, is_file: bool) -> None:
    """Where something of what was deleted or encrypted is left, and until when."""
    if is_file:
        console.say(
            "The database's files may still hold what was there before: the log could not be emptied, or the file was "
            "not written anew. Run it again without --quick."
        )
    else:
        console.say("The server's write-ahead log and backups hold what was there before until they are recycled.")
