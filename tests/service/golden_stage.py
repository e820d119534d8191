"""A service with golden examples, and two versions whose answers to them are told by tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.service.running import FakeEngine, OpenDoor, Response, Running, running
from tunesmith.access.key_store import KeyStore
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.service.golden import read_goldens
from tunesmith.service.serving import Doors, Settings
from tunesmith.service.versions import read_version

PLANTED = "zweiundvierzig"
SIZE = 400


def golden_rows() -> list[dict[str, object]]:
    """A quarter came by mail; every text holds a planted word and its number."""
    return [
        {
            "text": f"{PLANTED} {number}",
            "label": ("good", "bad")[number % 2],
            "channel": "mail" if number % 4 < 1 else "chat",
        }
        for number in range(SIZE)
    ]


def right(number: int) -> str:
    return ("good", "bad")[number % 2]


def wrong(number: int) -> str:
    return ("bad", "good")[number % 2]


@dataclass
class Stage:
    """A service with golden examples, two versions of a model, and what each answers to the example of a number."""

    service: Running
    engine: FakeEngine
    file: Path
    state: Path
    first: str
    second: str
    answers: dict[str, Callable[[int], str]] = field(default_factory=dict)

    def admin(self, verb: str, **body: Any) -> Response:
        return self.service.post(f"/admin/models/classes:{verb}", body)

    def promote(self, **more: Any) -> Response:
        return self.admin("promote", version=self.second, **more)

    @property
    def champion(self) -> str:
        return str(self.service.get("/v1/models/classes").body["roles"]["champion"])

    def audit(self) -> list[Mapping[str, Any]]:
        return [dict(one) for one in KeyStore(self.state).audit.records()]


@contextmanager
def staged(root: Path, place: Path, **more: Any) -> Iterator[Stage]:
    first, second = (read_version(root / "classes" / name, name="classes") for name in ("first", "second"))
    file = place / "golden.jsonl"
    if not file.exists():
        file.write_text("".join(json.dumps(row) + "\n" for row in golden_rows()), encoding="utf-8")
    engine = FakeEngine(width=1)
    told: dict[str, Callable[[int], str]] = {first.id: right, second.id: right}

    def said(slot: str, text: str) -> Mapping[str, Any]:
        if not text.startswith(PLANTED):
            return {"label": "good", "confidence": 0.9}
        return {"label": told[slot.partition("@")[2]](int(text.split()[1])), "confidence": 0.95}

    engine.said = said
    settings = Settings(root=root, goldens=read_goldens([f"classes={file}"], [first], Terms()), **more)
    doors = Doors(OpenDoor(), KeyStore(place / "state").audit)
    with running([first], engine, settings, doors) as service:
        stage = Stage(service, engine, file, place / "state", first.id, second.id, told)
        assert stage.admin("load", version="second").status == 200
        yield stage
