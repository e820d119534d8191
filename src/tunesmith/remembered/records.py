"""What is remembered, in Python's terms: answers, feedback on them, the receipt for it, and how both are kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tunesmith.remembered.refusals import StoreError

Mask = Callable[[str], Sequence[tuple[int, int, str]]]
"""A text -> what is replaced in it: first character, the one after the last, and what stands there instead.

Sorted, not overlapping.
"""

LabelCheck = Callable[[str, Mapping[str, object], int], str]
"""A model's name, a right answer and the number of characters of the text -> what is wrong with the answer, or "".

It is quoted to the client and so holds no text of the user.
"""

TextPolicy = Literal["none", "masked", "raw"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer that was served.

    Attributes:
        request_id: the id that the client was given, at most 64 characters; unique for the service.
        item: its number among the texts of the request, from 0.
        model, version: the model's name and the sha256 of its artifact.
        key_id: who asked.
        text: what was asked; kept as the policy says.
        answer: the answer. {"label": ...} and {"spans": [{"start", "end", "label"}, ...]} are labels; whatever stands
            under "answer", "answers" or "texts" is written text and kept as such.
        confidence: the probability of the answer; None where there is none.
        subject: whom the text is about or from, as the client names this person; only its HMAC is kept.
        further: further columns of the example, such as {"second": ...}; its texts are kept like `text`.
        asked_at: seconds since 1970.
    """

    request_id: str
    item: int
    model: str
    version: str
    key_id: str
    text: str
    answer: Mapping[str, object]
    confidence: float | None = None
    subject: str = ""
    further: Mapping[str, object] = field(default_factory=dict)
    asked_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a client says of an answer.

    Attributes:
        request_id, item: the answer.
        key_id: who says so.
        verdict: "correct" or "wrong".
        right: of a wrong answer the right one, in the form of `Answered.answer`; None where it is not known. Spans
            count the characters of the text that was sent.
        comment: in the client's words.
        idempotency: the client's own id of this feedback: repeated, it is stored once. Empty: the same content is.
        given_at: seconds since 1970.
    """

    request_id: str
    item: int
    key_id: str
    verdict: str
    right: Mapping[str, object] | None = None
    comment: str = ""
    idempotency: str = ""
    given_at: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Feedback is on disk: its id, whether it was there before, and its status (see `tables.STATUSES`)."""

    id: str
    is_repeated: bool
    status: str


@dataclass(frozen=True, slots=True)
class Caps:
    """How many rows of a day (UTC) may come to be learnt from; what is beyond is kept as quarantined.

    So a client that turns against the model has a bounded part in what the next one learns.
    """

    per_key_and_day: int = 1_000
    per_day: int = 10_000

    def __post_init__(self) -> None:
        if min(self.per_key_and_day, self.per_day) < 0:
            raise StoreError("A cap of feedback is negative.", to_do="Give 0 or more rows per day.")


@dataclass(frozen=True, slots=True)
class Policy:
    """How answers and feedback are kept.

    Attributes:
        text: nothing of a text, the text with personal data masked, or the text as it came.
        mask: what masks; needed by "masked".
        keep_days: so long an answer is kept.
        keep_feedback_days: so long one is kept that has feedback, since it is learnt from.
        caps: how much feedback of a day may be learnt from.
        timeout_seconds: feedback that is not on disk by then is answered with "feedback_unavailable".
        grace_seconds: so long an unknown request id is looked for again, since another process may be writing it.
        waiting: so many answers, and so much feedback, may wait for the writer; further answers are dropped and
            counted, further feedback is answered with "feedback_unavailable".
    """

    text: TextPolicy = "none"
    mask: Mask | None = None
    keep_days: float = 30.0
    keep_feedback_days: float = 365.0
    caps: Caps = Caps()
    timeout_seconds: float = 5.0
    grace_seconds: float = 0.5
    waiting: int = 10_000

    def __post_init__(self) -> None:
        if self.text not in ("none", "masked", "raw"):
            raise StoreError(f"Texts cannot be kept as '{self.text}'.", to_do="Use none, masked or raw.")
        if self.text == "masked" and self.mask is None:
            raise StoreError("Texts shall be masked, and nothing is given that masks them.", to_do="Give Policy.mask.")
        if min(self.keep_days, self.keep_feedback_days, self.timeout_seconds) <= 0 or self.waiting < 1:
            raise StoreError("A time or a number of the policy is not above 0.", to_do="Give days and seconds above 0.")


@dataclass(frozen=True, slots=True)
class Counts:
    """What the store did since it was opened, and how much waits now; for metrics.

    `dropped` answers were served and are not remembered, since the writer could not keep up or the database was away;
    `unstorable` ones since they could not be masked or the database refused them.
    """

    remembered: int = 0
    dropped: int = 0
    unstorable: int = 0
    stored: int = 0
    repeated: int = 0
    quarantined: int = 0
    refused: int = 0
    unavailable: int = 0
    failures: int = 0
    waiting_answers: int = 0
    waiting_feedback: int = 0


def milliseconds(seconds: float) -> int:
    """Seconds as the tables count time."""
    return int(seconds * 1000)


DAY = 86_400
"""Seconds."""
