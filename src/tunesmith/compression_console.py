"""What is printed of a chain of compression steps."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from tunesmith.compression_report import Chain, said_of
from tunesmith.console import compared, plain_console, plain_result, say, say_held, say_json, show_result
from tunesmith.pipeline import Result


def show_run(result: Result, chain: Chain | None, *, as_json: bool) -> None:
    """Show a run's metrics and where its files are, and what came of making its model smaller."""
    if chain is None:
        show_result(result, as_json=as_json)
    elif as_json:
        say_json({**plain_result(result), "compression": chain.plain()})
    else:
        show_result(result, as_json=False)
        show_chain(chain, as_json=False)


def show_chain(chain: Chain, *, as_json: bool) -> None:
    """Show every step with its verdict, and what the result is worth."""
    if as_json:
        say_json(chain.plain())
        return
    console = plain_console()
    table = Table("step", "verdict", chain.metric, "changed", "size", "speed", "CPU")
    first = chain.rows[0]
    for row in chain.rows:
        speed = row.speed
        table.add_row(
            row.name,
            "" if row is first else "stands" if row.stands else "undone",
            f"{row.quality.value:.4f}",
            "" if row is first else f"{len(row.changes)} (-{row.harmed} +{row.mended})",
            f"{row.size / 1e6:.1f} MB",
            "" if speed is None else f"{speed.ratio.value:.2f}x",
            "" if speed is None else f"{speed.cpu_seconds / speed.other_cpu_seconds:.2f}x",
        )
    console.print(table)
    console.print(
        f"On {chain.validation:,} validation examples. changed: answers other than the original's (-became wrong "
        "+became right). speed: how many times as fast one text is answered. CPU: the processor's time for many texts, "
        "beside the original's.",
        highlight=False,
    )
    for row in chain.rows[1:]:  # why each stands or is undone was said as soon as it was known
        for line in row.notes:
            console.print(escape(f"{row.name}: {line}"), highlight=False)
    for item in chain.tested:
        if item.name == chain.metric:
            console.print(f"test, {item.name}: [bold]{item.verdict}[/]; {compared(item)}", highlight=False)
    console.print(escape(said_of(chain)), highlight=False)
    for line in chain.notes()[-1:]:
        console.print(escape(line), highlight=False)
    say(f"Report:   {chain.artifact}/compression.html\nArtifact: {chain.artifact}")
    say_held(Path(chain.artifact))
