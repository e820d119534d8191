"""Store: what the service asks of its memory of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Self

from tunesmith.errors import TunesmithError
from tunesmith.remembered.database import Database, open_database
from tunesmith.remembered.encrypting import settle_keys
from tunesmith.remembered.recording import Recorder, check_form
from tunesmith.remembered.records import Answered, Counts, Feedback, LabelCheck, Policy, Receipt
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.sealing import ENCRYPTED
from tunesmith.remembered.text_keys import TextKeys
from tunesmith.remembered.writer import Writer


@dataclass(frozen=True, slots=True)
class Store:
    """Answers remembered beside the service, and feedback that is acknowledged once it is on disk.

    Answers are not on the way of a request: `remember` only queues them. When the database is locked, full or away the
    service goes on; answers beyond the queue are dropped and counted, feedback is refused with "feedback_unavailable".
    """

    database: Database
    policy: Policy
    writer: Writer

    @classmethod
    def open(
        cls,
        where: str,
        policy: Policy,
        secret: bytes,
        check: LabelCheck | None = None,
        keys: TextKeys | None = None,
    ) -> Self:
        """Open the database at a file or URL, bring it to the newest form, and start the writer.

        Args:
            where: see `database.open_database`.
            policy: how answers and feedback are kept.
            secret: what pseudonyms are made with, at least 16 bytes, always the same for a database.
            check: judges right answers by the model's labels; without one every object is taken.
            keys: what raw texts are encrypted with, by a policy that keeps such or of rows from an earlier one.

        Raises:
            StoreError: the database cannot be used, the secret is short, raw texts shall be kept without keys, or the
                keys are not those of the database.
            ResourceError: the file of keys cannot be made or read.
        """
        if len(secret) < 16:
            raise StoreError(
                "The secret of pseudonyms has fewer than 16 bytes.", to_do="Give random bytes, such as 32."
            )
        database = open_database(where, secret, keys)
        if policy.text in ENCRYPTED:
            try:
                settle_keys(database)
            except TunesmithError:
                database.close()
                raise
        return cls(database, policy, Writer(Recorder(database, policy, check or _anything)))

    def remember(self, given: Sequence[Answered]) -> int:
        """Queue answers without waiting; the number that found room. The others are dropped and counted."""
        return self.writer.put_answers(given)

    def submit(self, given: Feedback) -> Future[Receipt]:
        """Queue feedback; the future has a receipt once it is on disk, or a `FeedbackError`.

        Raises:
            FeedbackError: it is not well-formed.
        """
        check_form(given)
        return self.writer.put_feedback(given)

    def feedback(self, given: Feedback) -> Receipt:
        """Store feedback, and return once it is on disk.

        Raises:
            FeedbackError: it is not taken; by "feedback_unavailable" it could not be confirmed in time.
        """
        try:
            return self.submit(given).result(self.policy.timeout_seconds)
        except FutureTimeoutError:
            raise self.writer.gave_up() from None

    async def feedback_async(self, given: Feedback) -> Receipt:
        """The same within an event loop, which goes on meanwhile."""
        future = asyncio.wrap_future(self.submit(given))
        done, _ = await asyncio.wait({future}, timeout=self.policy.timeout_seconds)
        if done:
            return future.result()
        future.add_done_callback(_looked_at)
        raise self.writer.gave_up()

    def counts(self) -> Counts:
        """What was done since the store was opened, and what waits; for metrics."""
        return self.writer.counts()

    def is_alive(self) -> bool:
        """Whether the writer runs; it ends with `close`, or by a fault of the program."""
        return self.writer.is_alive()

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all that waits is written, at most so long; whether it is."""
        return self.writer.flush(seconds)

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits, at most so long, and let the database go."""
        self.writer.close(seconds)
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _anything(_model: str, _right: object, _characters: int) -> str:
    return ""


def _looked_at(future: asyncio.Future[Receipt]) -> None:
    """Nobody waits for this outcome any more; asking for it keeps asyncio from complaining."""
    if not future.cancelled():
        future.exception()
