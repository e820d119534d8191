"""A state folder with accepted feedback, of which one key flipped a fifth, and what it is held against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders import TASK_CASES
from tests.remembered.conftest import answered
from tests.service.running import saved
from tunesmith import cli
from tunesmith.remembered.records import Feedback, Policy
from tunesmith.remembered.reviewing import Which, found, review
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.store import Store
from tunesmith.remembered.text_keys import TextKeys


def asked(*arguments: object) -> int:
    return cli.guarded(lambda: cli.app(["feedback", *map(str, arguments)], standalone_mode=False))


def said(word: str, number: int) -> str:
    return f"{word} {word} {word} {number}"


@dataclass(frozen=True)
class Place:
    """A state folder with accepted feedback, an artifact, and trusted examples."""

    state: Path
    artifact: Path
    trusted: Path
    out: Path

    def export(self, *more: object) -> int:
        held = ("--against", self.artifact, "--trusted", self.trusted)
        return asked("export", "--out", self.out, "--state", self.state, *held, *more)

    def lines(self, suffix: str = ".jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.with_suffix(suffix).read_text(encoding="utf-8").splitlines()]


def feedback_place(tmp_path: Path, tiny_model_folder: Path) -> Place:
    """Forty rows of which one key flipped eight; an untrained model tells good from bad by the words alone."""
    artifact = saved(tmp_path / "artifact", "films", tiny_model_folder, *TASK_CASES["single_label"])
    words = ("good", "bad")
    rows = [{"text": said(word, n), "label": word, "channel": ""} for n in range(30) for word in words]
    (tmp_path / "trusted.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    state = tmp_path / "state"
    state.mkdir()
    opened = (str(state / "answers.db"), Policy(text="raw"), secret_of(state))
    with Store.open(*opened, keys=TextKeys.of(state)) as store:
        rights = [words[(n + (n % 5 == 0)) % 2] for n in range(40)]
        store.remember(
            [
                answered(f"r{n}", said(words[n % 2], n + 40), answer={"label": words[1 - words.index(right)]})
                for n, right in enumerate(rights)
            ]
        )
        for n, right in enumerate(rights):
            is_flip = n % 5 == 0
            store.feedback(Feedback(f"r{n}", 0, "attacker" if is_flip else f"key{n % 4}", "wrong", {"label": right}))
        review(store.database, [one.id for one in found(store.database, Which())], "accepted", "ann")
    return Place(state, artifact, tmp_path / "trusted.jsonl", tmp_path / "feedback.jsonl")


def accept_more(place: Place, *said: tuple[str, str, str, str]) -> list[str]:
    """Further feedback, accepted at once: of each the request, the text, the model, and the key that says bad."""
    with Store.open(
        str(place.state / "answers.db"), Policy(text="raw"), secret_of(place.state), keys=TextKeys.of(place.state)
    ) as store:
        store.remember([answered(request, text, model=model) for request, text, model, _ in said])
        wrong = [Feedback(request, 0, key, "wrong", {"label": "bad"}) for request, *_, key in said]
        ids = [store.feedback(one).id for one in wrong]
        review(store.database, ids, "accepted", "ann")
    return ids
