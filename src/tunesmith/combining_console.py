"""What the verbs print that make one model of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rich.markup import escape
from rich.table import Table

from tunesmith.combining import Combined
from tunesmith.console import compared, metrics_table, plain_console, say, say_held, say_json
from tunesmith.evaluation.report import plain


def show_soup(made: Combined, *, as_json: bool) -> None:
    """Show which runs went in, and what the mean of their weights is worth."""
    if not as_json:
        facts = cast("Mapping[str, Any]", made.facts)
        table = Table("run", f"validation {facts['metric']}", "soup with it", "kept")
        for row in facts["ingredients"]:
            together = "–" if row["with_it"] is None else f"{row['with_it']:.4f}"
            table.add_row(escape(row["run"]), f"{row['validation']:.4f}", together, "yes" if row["kept"] else "no")
        plain_console().print(table)
    _show(made, as_json=as_json)


def show_ensemble(made: Combined, *, as_json: bool) -> None:
    """Show what the ensemble is worth, and what it costs."""
    _show(made, as_json=as_json)


def _show(made: Combined, *, as_json: bool) -> None:
    if as_json:
        metrics = {split.name: {name: plain(one) for name, one in split.metrics.items()} for split in made.splits}
        say_json({"artifact": str(made.folder), **made.facts, "metrics": metrics, "notes": list(made.notes)})
        return
    console = plain_console()
    for split in made.splits:
        console.print(metrics_table(split))
    if made.comparisons:
        console.print(f"On {made.splits[-1].name}, against {escape(str(made.best))}:", highlight=False)
    for item in made.comparisons:
        console.print(f"{item.name}: [bold]{item.verdict}[/]; {compared(item)}", highlight=False)
    for note in made.notes:
        console.print(escape(note), highlight=False)
    say(f"Report:   {made.folder / 'report.html'}\nArtifact: {made.folder}")
    say_held(made.folder)
