"""What the verb about studies prints."""

from __future__ import annotations

from dataclasses import asdict

from tunesmith.console import say, say_json
from tunesmith.evaluation.page import seconds as in_words
from tunesmith.study.conduct import Forecast
from tunesmith.study.findings import StudyFindings, plain_findings
from tunesmith.study.table import as_markdown, table_of


def show_study(findings: StudyFindings, *, as_json: bool) -> None:
    """Show the cells of a study side by side."""
    if as_json:
        say_json(plain_findings(findings))
        return
    say(as_markdown(findings).rstrip("\n"))


def show_forecast(forecast: Forecast, *, as_json: bool) -> None:
    """Show what a study would do and take."""
    if as_json:
        say_json(asdict(forecast))
        return
    rows = [
        (
            cell.name,
            f"~{in_words(forecast.per_run[cell.name])}",
            f"~{forecast.memory[cell.name] / 1e9:.1f} GB",
            ", ".join(f"{key}={value}" for key, value in cell.changes.items()) or "the recipe as it is",
        )
        for cell in forecast.cells
    ]
    say("\n".join(table_of([("cell", "a run", "its memory", "values"), *rows])))
    room = forecast.room
    threads = f" with {room.threads} thread{'s' if room.threads > 1 else ''} each" if room.threads else ""
    say(
        f"{forecast.name}: {forecast.runs} runs, {forecast.done} of them done; up to {room.workers} at a time"
        f"{threads}; the others take about {in_words(forecast.seconds)}."
    )
    say(
        "Times of runs that were not measured yet follow from the number of multiplications; objectives with several "
        "passes take as many times longer. Memory is a first estimate."
    )
    for warning in forecast.warnings:
        say(warning)
