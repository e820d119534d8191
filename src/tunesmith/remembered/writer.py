"""The thread that writes: whatever waits is written together, so that many waiting writers share one fsync."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tunesmith.remembered.recording import Outcome, Recorder
from tunesmith.remembered.records import Answered, Counts, Feedback, Receipt
from tunesmith.remembered.refusals import FeedbackError

TOGETHER = 256
"""So many answers, and so much feedback, share a transaction."""
BESIDE = 16
"""So many answers at most are written with new feedback that is not about them."""
GATHER_SECONDS = 0.2
"""So long answers are gathered; feedback is written at once, and answers with it."""
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
"""Seconds before a failed transaction is tried again; the pause doubles."""


@dataclass(slots=True)
class Waiting:
    """Feedback that waits for its transaction, until `deadline` (by time.monotonic)."""

    given: Feedback
    deadline: float
    look_until: float
    future: Future[Receipt] = field(default_factory=Future)

    def settle(self, outcome: Outcome) -> None:
        """Tell who waits."""
        if self.future.done():
            return
        if isinstance(outcome, FeedbackError):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Writer:
    """Bounded queues before one thread and its transactions."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._limit = recorder.policy.waiting
        self._answers: deque[Answered | Mapping[str, Any]] = deque()
        self._feedback: deque[Waiting] = deque()
        self._postponed: list[Waiting] = []
        self._changed = threading.Condition()
        self._counter: Counter[str] = Counter()
        self._writing = self._closing = self._hurry = False
        self._thread = threading.Thread(target=self._run, name="remembered-answers", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs; without it nothing is remembered, and feedback is unavailable."""
        return self._thread.is_alive()

    def put_answers(self, given: Sequence[Answered]) -> int:
        """Queue answers, and give the number of those for which there was room; the others are dropped and counted."""
        with self._changed:
            room = max(self._limit - len(self._answers), 0) if self.is_alive() and not self._closing else 0
            self._answers.extend(given[:room])
            self._counter["dropped"] += len(given) - len(given[:room])
            self._changed.notify()
        return len(given[:room])

    def put_feedback(self, given: Feedback) -> Future[Receipt]:
        """Queue feedback; the future has its receipt once it is on disk, or a `FeedbackError`."""
        policy, now = self._recorder.policy, time.monotonic()
        waiting = Waiting(given, now + policy.timeout_seconds, now + policy.grace_seconds)
        with self._changed:
            if len(self._feedback) + len(self._postponed) < self._limit and self.is_alive() and not self._closing:
                self._feedback.append(waiting)
                self._changed.notify()
            else:
                self._settle(waiting, FeedbackError("feedback_unavailable"))
        return waiting.future

    def counts(self) -> Counts:
        """What was done since the start, and how much waits."""
        with self._changed:
            waiting = len(self._feedback) + len(self._postponed)
            now = Counts(waiting_answers=len(self._answers), waiting_feedback=waiting)
            return replace(now, **self._counter)

    def gave_up(self) -> FeedbackError:
        """Count one who waited in vain, and give what this one is told; the feedback may still be stored."""
        self._count("unavailable")
        return FeedbackError("feedback_unavailable")

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits, at most so long; whether that was reached."""
        with self._changed:
            self._hurry = True
            self._changed.notify()
            is_done = self._changed.wait_for(lambda: self._is_idle() or not self.is_alive(), seconds)
            self._hurry = False
            return is_done and self._is_idle()

    def close(self, seconds: float) -> None:
        """Write what waits, at most so long; what is left then is counted as dropped, its feedback as unavailable."""
        self.flush(seconds)
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)

    def _is_idle(self) -> bool:
        return not (self._answers or self._feedback or self._postponed or self._writing)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while self._await_work():
                answers, given = self._taken()
                if self._written(answers, given):
                    pause = FIRST_PAUSE
                else:
                    with self._changed:
                        self._changed.wait_for(lambda: self._closing, pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._give_up()

    def _await_work(self) -> bool:
        """Wait for something to write; false once there is nothing and the end has come."""
        with self._changed:
            self._changed.notify_all()
            while not self._closing:
                if self._feedback or (self._answers and (self._hurry or len(self._answers) >= TOGETHER)):
                    return True
                had_answers = bool(self._answers)
                self._changed.wait(0.05 if self._postponed else GATHER_SECONDS if had_answers else None)
                if (had_answers and self._answers and not self._feedback) or self._postponed:
                    return True
            return False

    def _taken(self) -> tuple[list[Answered | Mapping[str, Any]], list[Waiting]]:
        """The next answers and feedback, without those that were told already."""
        with self._changed:
            self._writing = True
            fresh = [self._feedback.popleft() for _ in range(min(TOGETHER, len(self._feedback)))]
            given, self._postponed = [*self._postponed, *fresh], []
            # What feedback is about is taken wherever it waits, and little else: what masks texts may be a model.
            judged = {one.given.request_id for one in given}
            answers = [one for one in self._answers if _request_of(one) in judged] if judged else []
            if answers:
                self._answers = deque(one for one in self._answers if _request_of(one) not in judged)
            most = BESIDE if fresh else TOGETHER
            answers += [self._answers.popleft() for _ in range(min(most, len(self._answers)))]
        return answers, self._still_wanted(given)

    def _written(self, answers: list[Answered | Mapping[str, Any]], given: list[Waiting]) -> bool:
        """Write them; whether the database took them."""
        rows = []
        for one in answers:
            row = self._recorder.row_of(one) if isinstance(one, Answered) else one
            if row is None:
                self._count("unstorable")
            else:
                rows.append(row)
        try:
            outcomes = self._recorder.record(rows, [one.given for one in given])
        except (DataError, IntegrityError):
            self._one_by_one(rows, given)
            return True
        except (DBAPIError, PoolTimeoutError):
            self._put_back(rows, given)
            return False
        except StatementError:
            self._one_by_one(rows, given)
            return True
        self._done(rows, given, outcomes)
        return True

    def _one_by_one(self, rows: Sequence[Mapping[str, Any]], given: Sequence[Waiting]) -> None:
        """Write each by itself, so that one that the database refuses does not take the others with it."""
        for row in rows:
            try:
                self._recorder.record([row], [])
                self._count("remembered")
            except StatementError:
                self._count("unstorable")
        for one in given:
            try:
                self._done([], [one], self._recorder.record([], [one.given]))
            except (DataError, IntegrityError):
                self._settle(one, FeedbackError("not_storable"))
            except StatementError:
                self._settle(one, FeedbackError("feedback_unavailable"))
        self._finished()

    def _done(self, rows: Sequence[object], given: Sequence[Waiting], outcomes: Sequence[Outcome]) -> None:
        later = []
        for one, outcome in zip(given, outcomes, strict=True):
            is_unknown = isinstance(outcome, FeedbackError) and outcome.code in _LOOKED_FOR
            if is_unknown and time.monotonic() < one.look_until:
                later.append(one)
            else:
                self._settle(one, outcome)
        self._count("remembered", len(rows))
        with self._changed:
            self._postponed += later
        self._finished()

    def _put_back(self, rows: Sequence[Mapping[str, Any]], given: Sequence[Waiting]) -> None:
        """Keep all for the next try; answers beyond the queue's room are dropped, the newest first."""
        still = self._still_wanted(given)
        with self._changed:
            room = max(self._limit - len(self._answers), 0)
            self._answers.extendleft(reversed(rows[:room]))
            self._feedback.extendleft(reversed(still))
            self._counter["dropped"] += len(rows) - len(rows[:room])
            self._counter["failures"] += 1
        self._finished()

    def _still_wanted(self, given: Sequence[Waiting]) -> list[Waiting]:
        now = time.monotonic()
        for one in given:
            if now >= one.deadline:
                self._settle(one, FeedbackError("feedback_unavailable"))
        return [one for one in given if not one.future.done()]

    def _settle(self, one: Waiting, outcome: Outcome) -> None:
        if isinstance(outcome, Receipt):
            self._count("repeated" if outcome.is_repeated else "stored")
            if outcome.status in _BEYOND and not outcome.is_repeated:
                self._count("quarantined")
        else:
            self._count("unavailable" if outcome.code in _UNAVAILABLE else "refused")
        one.settle(outcome)

    def _count(self, name: str, number: int = 1) -> None:
        with self._changed:
            self._counter[name] += number

    def _finished(self) -> None:
        with self._changed:
            self._writing = False
            self._changed.notify_all()

    def _give_up(self) -> None:
        """The end, whatever its cause: nobody waits for what will not come."""
        with self._changed:
            self._closing, self._writing = True, False
            self._counter["dropped"] += len(self._answers)
            left = [*self._feedback, *self._postponed]
            self._answers.clear()
            self._feedback.clear()
            self._postponed = []
            self._changed.notify_all()
        for one in left:
            self._settle(one, FeedbackError("feedback_unavailable"))


_LOOKED_FOR = ("unknown_request",)
_UNAVAILABLE = ("feedback_unavailable",)
_BEYOND = ("quarantined",)


def _request_of(answer: Answered | Mapping[str, Any]) -> str:
    return answer.request_id if isinstance(answer, Answered) else str(answer["request_id"])
