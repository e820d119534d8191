"""Feedback as rows to learn from, in the form that `data.train` reads, and a count of all that is left out."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunesmith.remembered.database import Database
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.reviewing import Remark, Which, by_status, found, iso, was_released

LABEL_KEYS = ("label", "spans", "answer", "answers")
"""The keys of an answer that say what is right; each is a column that the readers of `data` know."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is exported.

    Attributes:
        which: of which statuses; those not named are left out and counted.
        confirmed_weight: how much an answer counts that was called correct, beside 1 of a corrected one. Such answers
            are the model's own, so they teach little and hold on to its habits. None writes no weights.
    """

    which: Which = field(default_factory=lambda: Which(("accepted",)))
    confirmed_weight: float | None = None

    def __post_init__(self) -> None:
        if self.confirmed_weight is not None and not 0 <= self.confirmed_weight <= 1_000:
            raise StoreError("The weight of confirmed answers is not between 0 and 1000.", to_do="Give 1, or less.")


@dataclass(slots=True)
class Exported:
    """What became of the feedback: rows written, and what is left out by its reason.

    `set_aside` ones were doubted and quarantined, by the reason, with `copies_aside` rows that say the same of the same
    text; `changed_meanwhile` ones were to be, and were judged by a person or deleted since they were read. `unjudged`
    ones have a label that could not be held against anything, and are written. `agreeing` rows say what another row
    says of the same text, and are written once.
    `conflicting` ones say different things of the same text, and none of these is written; `conflicts` has up to three
    ids of them.
    """

    written: int = 0
    corrected: int = 0
    agreeing: int = 0
    conflicting: int = 0
    without_text: int = 0
    without_right_answer: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)
    set_aside: dict[str, int] = field(default_factory=dict)
    unjudged: int = 0
    copies_aside: int = 0
    changed_meanwhile: int = 0


@dataclass(frozen=True, slots=True)
class Voice:
    """What a key says to be the class of a text that a model answered.

    Attributes:
        content: the text, and the second one where there are two.
    """

    content: str
    model: str
    key: str
    label: str

    @property
    def claim(self) -> Claim:
        """What it says, whoever does."""
        return self.content, self.model, self.label


Claim = tuple[str, str, str]
"""What is said of a text: its content, the model that answered, the class that is right."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A row that says what another row says of the same text, and so is not written; and who had answered."""

    id: str
    status: str
    model: str


Copies = defaultdict[str, list[Copy]]
"""The copies of the rows that are written, by the ids of these."""


def voices(database: Database, which: Which) -> list[Voice]:
    """What every key says, copies too; feedback without a text, or of which right is no class, has no voice.

    Raises:
        StoreError: the database cannot be used.
    """
    said = (_voice(row) for row in found(database, which))
    return [voice for voice in said if voice is not None]


def released(database: Database, which: Which) -> frozenset[Claim]:
    """What a person accepted after it had been quarantined: it is not doubted again, whichever row or key says it.

    Raises:
        StoreError: the database cannot be used.
    """
    said = (_voice(row) for row in found(database, Which(("accepted",), model=which.model)) if was_released(row))
    return frozenset(voice.claim for voice in said if voice is not None)


def released_by_copies(
    released: frozenset[Claim], rows: Sequence[Mapping[str, Any]], copies: Mapping[str, Sequence[Copy]]
) -> frozenset[Claim]:
    """The same, and what rows say of which a copy was released that another model had answered."""
    said = ((voice, copies.get(row["id"], ())) for row in rows if (voice := voice_of(row)) is not None)
    return released | {
        voice.claim for voice, same in said if any((voice.content, one.model, voice.label) in released for one in same)
    }


def voice_of(row: Mapping[str, Any]) -> Voice | None:
    """What a row of `training_rows` says; None where what is right is no class."""
    label, second = row.get("label"), row.get("second", "")
    if not isinstance(label, str):
        return None
    return Voice(f"{row['text']}\n{second}" if second else row["text"], row["model"], row["key"], label)


def _voice(row: Remark) -> Voice | None:
    label = _label(row)
    if row.text is None or label is None:
        return None
    return voice_of({**(row.further or {}), "text": row.text, "model": row.model, "key": row.key_id, **label})


def training_rows(
    database: Database, wanted: Wanted, exported: Exported, copies: Copies | None = None
) -> Iterator[dict[str, object]]:
    """The rows, the oldest feedback last; `exported`, and `copies` if given, are filled in while they are read.

    A row has the text and its further columns, the label in its form, a `group` (the person's pseudonym, or the
    request), a `weight` where these are wanted, and where it comes from: feedback, request, model, version, key, time.

    Raises:
        StoreError: the database cannot be used.
    """
    counts = by_status(database, wanted.which)
    chosen = wanted.which.statuses
    exported.by_status = {status: count for status, count in counts.items() if chosen and status not in chosen}
    said = _said(database, wanted.which)
    written: dict[bytes, str] = {}
    for row in found(database, wanted.which):
        label = _label(row)
        if row.text is None:
            exported.without_text += 1
        elif label is None:
            exported.without_right_answer += 1
        elif len(said[_asked(row)]) > 1:
            exported.conflicting += 1
            exported.conflicts += [row.id] if len(exported.conflicts) < 3 else []
        elif (first := written.get(_asked(row))) is not None:
            exported.agreeing += 1
            if copies is not None:
                copies[first].append(Copy(row.id, row.status, row.model))
        else:
            written[_asked(row)] = row.id
            exported.written += 1
            is_confirmed = row.right_answer is None
            exported.corrected += not is_confirmed
            yield _row(row, label, wanted.confirmed_weight if is_confirmed else 1.0, wanted)


def _said(database: Database, which: Which) -> Mapping[bytes, set[bytes]]:
    """What is said to be right of each text, as digests."""
    said: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for row in found(database, which):
        if row.text is not None and (label := _label(row)) is not None:
            said[_asked(row)].add(_digest(label))
    return said


def _row(row: Remark, label: Mapping[str, object], weight: float | None, wanted: Wanted) -> dict[str, object]:
    weighed = {} if wanted.confirmed_weight is None else {"weight": weight}
    return {
        **(row.further or {}),
        "id": row.id,
        "text": row.text,
        **label,
        "group": row.subject or row.request_id,
        **weighed,
        "request_id": row.request_id,
        "item": row.item,
        "model": row.model,
        "version": row.version,
        "key": row.key_id,
        "given_at": iso(row.given_at),
        "verdict": row.verdict,
        "status": row.status,
        "text_policy": row.text_policy,
    }


def _label(row: Remark) -> dict[str, object] | None:
    """What is right by this feedback: what it says, or the answer that it confirms; None where it does not say."""
    right = row.right_answer if row.right_answer is not None else row.answer if _is_confirmed(row.verdict) else None
    if right is None:
        return None
    given = {key: right[key] for key in LABEL_KEYS if right.get(key) is not None}
    if "spans" in given:
        spans = [{key: span[key] for key in ("start", "end", "label")} for span in given["spans"]]
        given["spans"] = sorted(spans, key=lambda span: (span["start"], span["end"], span["label"]))
    return given or None


def _is_confirmed(verdict: str) -> bool:
    return verdict in ("correct",)


def _asked(row: Remark) -> bytes:
    return _digest([row.text, row.further])


def _digest(value: object) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()
