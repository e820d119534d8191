"""docs/watching.md tells of every alert what the rules say."""

from __future__ import annotations

from pathlib import Path

from tunesmith.watching.durations import duration_of
from tunesmith.watching.measures import MEASURES
from tunesmith.watching.rules import shipped

PAGE = Path(__file__).resolve().parents[2] / "docs" / "watching.md"


def alerts_table() -> str:
    """A row per shipped rule."""
    lines = ["| Alert | Kind | Per | Waits | Says |", "|---|---|---|---|---|"]
    for rule in shipped().rules:
        wait = duration_of(rule.hold) if rule.hold else "-"
        said = rule.summary["en"].replace("{value}", "…")
        lines.append(f"| {rule.name} | {rule.severity} | {', '.join(rule.by) or '-'} | {wait} | {said} |")
    return "\n".join(lines) + "\n"


def test_the_page_holds_the_alerts() -> None:
    assert alerts_table() in PAGE.read_text(encoding="utf-8"), "put alerts_table() into docs/watching.md"


def test_the_page_explains_every_measure() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in MEASURES)
