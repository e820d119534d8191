"""log.jsonl: what happened at which step, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith.training.loop import Step
from tunesmith.writing import refused, written


class RunLog:
    """The log of a run; opening it for a resumed run drops what came after the checkpoint."""

    def __init__(self, path: Path, resumed_at: int) -> None:
        self._path = path
        kept = [line for line in read_log(path) if int(line["step"]) <= resumed_at] if resumed_at else []
        with written(path) as file:
            file.writelines(_line(entry) for entry in kept)

    def step(self, step: Step) -> None:
        """Note an optimiser step."""
        values = asdict(step)
        if not step.noted:
            del values["noted"]
        self.write({"event": "step", "step": values.pop("number"), **values})

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note the metrics on the validation split."""
        self.write({"event": "validation", "step": step, "metrics": dict(metrics)})

    def write(self, entry: Mapping[str, object]) -> None:
        """Append an entry."""
        with refused(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(_line(entry))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The entries of a log; a last line cut short by a crash is left out."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _line(entry: Mapping[str, object]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
