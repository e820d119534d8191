"""What the verb about personal data prints: kinds and counts, and values in asterisks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tunesmith.console import plain_console, say, say_json, warn
from tunesmith.redacting import Told


def show_redaction(told: Told, out: Path, actions: Mapping[str, str], *, as_json: bool) -> None:
    """Show what was replaced, by kind.

    Args:
        told: what was done.
        out: the file that was written.
        actions: the name of the action for kinds that have one of their own, and under "" that of all others.
        as_json: print JSON.
    """
    if as_json:
        say_json({**told.plain(), "out": str(out)})
        return
    warn(told.findings)
    if told.counts:
        table = Table(title=f"Personal data in {told.changed:,} of {told.rows:,} rows", title_justify="left")
        for column in ("kind", "values", "action", "such as"):
            table.add_column(column, justify="right" if column == "values" else "left")
        for kind, count in told.counts.most_common():
            table.add_row(kind, f"{count:,}", actions.get(kind, actions[""]), escape("  ".join(told.shown[kind])))
        plain_console().print(table)
        columns = ", ".join(f"{name} {count:,}" for name, count in told.columns.most_common())
        say(f"By column: {columns}.")
    else:
        say(f"No personal data of these kinds was found in {told.rows:,} rows.")
    say(f"Wrote {told.rows:,} rows to {out}.")


def show_restored(told: Told, out: Path, *, as_json: bool) -> None:
    """Show how many values were given back."""
    if as_json:
        say_json({**told.plain(), "out": str(out)})
        return
    warn(told.findings)
    counts = ", ".join(f"{kind} {count:,}" for kind, count in told.counts.most_common())
    say(f"{told.counts.total():,} values were restored in {told.changed:,} of {told.rows:,} rows ({counts or 'none'}).")
    say(f"Wrote {out}. It holds personal data again.")
