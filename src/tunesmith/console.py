"""What the command line prints: tables and JSON on standard output, complaints on standard error."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tunesmith.data.catalogue import Known
from tunesmith.data.records import Example, Finding, Prediction, Span
from tunesmith.errors import TunesmithError
from tunesmith.evaluation.intervals import Comparison
from tunesmith.evaluation.report import SplitReport, metrics_json
from tunesmith.evaluation.results import answer_of, answered_row
from tunesmith.inference.artifact import read_description
from tunesmith.inference.held_texts import texts_in
from tunesmith.judging import Judgement
from tunesmith.machine import Machine
from tunesmith.pipeline import Result
from tunesmith.writing import defined, written

INTERRUPTED = 130
"""The exit code after Ctrl-C."""
_COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def plain_console(*, stderr: bool = False) -> Console:
    """A console that wraps nothing and takes ":name:" in a text for what it is, not for a picture."""
    return Console(stderr=stderr, soft_wrap=True, emoji=False)


def say(text: str) -> None:
    """Print a text as it is, tabs included, which Rich would turn into blanks."""
    typer.echo(text)


def say_json(value: object) -> None:
    """Print a value as JSON; a number that is none becomes null."""
    say(json.dumps(defined(value), ensure_ascii=False, indent=2))


def complain(error: TunesmithError) -> None:
    """Explain an error in at most six lines on standard error."""
    console = plain_console(stderr=True)
    lines = str(error).splitlines()[:6]
    console.print(f"[bold red]{type(error).__name__}:[/] {escape(lines[0])}", highlight=False)
    for line in lines[1:]:
        console.print(escape(line), highlight=False)


def warn(findings: Sequence[Finding]) -> None:
    """Say on standard error what was left out or changed while reading."""
    console = plain_console(stderr=True)
    for finding in findings:
        if finding.severity != "note":
            console.print(f"[yellow]warning[/] {escape(finding.message)} {escape('; '.join(finding.examples))}")


def show_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """List what the checks found, the worst first."""
    if as_json:
        say_json([asdict(finding) for finding in findings])
        return
    console = plain_console()
    order = ["error", "warning", "note"]
    for finding in sorted(findings, key=lambda item: order.index(item.severity)):
        console.print(
            f"[{_COLOURS[finding.severity]}]{finding.severity:8}[/] {escape(finding.message)}", highlight=False
        )
        for example in finding.examples:
            console.print(f"           {escape(example)}", style="dim", highlight=False)
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in order}
    console.print(f"{counts['error']} errors, {counts['warning']} warnings, {counts['note']} notes.")


def show_result(result: Result, *, as_json: bool) -> None:
    """Show a run's metrics and where its files are."""
    report = result.report
    if as_json:
        say_json(plain_result(result))
        return
    console = plain_console()
    if not report.splits:
        console.print("Nothing was evaluated: there are no examples with labels to judge by.")
    for split in report.splits:
        console.print(metrics_table(split))
    # The last split is the one to judge by; the report has the classes of all.
    for split in report.splits[-1:]:
        for table in split.tables:
            console.print(class_rows(f"{table.title} ({split.name})", table.rows))
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    console.print(f"{warnings} warnings about the data. {escape(report.parity)}", highlight=False)
    for line in report.promotion[:1]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    cost = report.cost
    # A run that is resumed after its last step learns nothing, and has no speed.
    speed = f" ({cost.examples_per_second:.0f} examples/s)" if cost.examples_per_second else ""
    console.print(
        f"Training took {cost.seconds_training:.0f} s{speed}, peak memory {cost.peak_memory_bytes / 1e9:.1f} GB.",
        highlight=False,
    )
    say(f"Report:   {result.folder / 'report.html'}\nArtifact: {result.artifact}")
    say_held(result.artifact)


def say_held(artifact: Path) -> None:
    """Say which texts of its data an artifact holds by design, if any."""
    if held := texts_in(read_description(artifact)):
        say(held)


def plain_result(result: Result) -> dict[str, object]:
    """A run's metrics and cost as plain values."""
    report = result.report
    said = {"promotion": list(report.promotion)} if report.promotion else {}
    return {"folder": str(result.folder), "metrics": metrics_json(report), "cost": asdict(report.cost), **said}


def metrics_table(split: SplitReport) -> Table:
    """The metrics of a split with their intervals."""
    table = Table(title=f"{escape(split.name)}: {split.size} examples", title_justify="left")
    for column in ("metric", "value", "95 % interval"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, estimate in split.metrics.items():
        has_interval = not math.isnan(estimate.low)
        table.add_row(
            name, f"{estimate.value:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}" if has_interval else "–"
        )
    return table


def class_rows(title: str, rows: Sequence[Any], most: int = 30) -> Table:
    """A per-class table, cut after `most` rows (the report has all)."""
    table = Table(title=title, title_justify="left")
    for column in ("class", "precision", "recall", "f1", "support"):
        table.add_column(column, justify="left" if column == "class" else "right")
    shown = rows if len(rows) <= most else [*rows[: most - 3], *rows[-3:]]
    for row in shown:
        table.add_row(escape(row.label), f"{row.precision:.4f}", f"{row.recall:.4f}", f"{row.f1:.4f}", str(row.support))
    if len(shown) < len(rows):
        table.caption = f"{len(rows) - len(shown)} further classes are in the report."
    return table


def show_predictions(examples: Sequence[Example], predictions: Sequence[Prediction], *, as_json: bool) -> None:
    """Show each text with its answer."""
    if as_json:
        say_json([answered_row(*pair) for pair in zip(examples, predictions, strict=True)])
        return
    console = plain_console()
    for example, prediction in zip(examples, predictions, strict=True):
        had = (f"{item} {prediction.texts[item]}" for item in example.history)
        console.print(escape(" > ".join(had) or example.text), highlight=False)
        if example.second:
            console.print(escape(example.second), highlight=False)
        for line in answer_lines(example, prediction):
            console.print(f"  {escape(line)}", highlight=False)


def answer_lines(example: Example, prediction: Prediction) -> list[str]:
    """An answer in words: one line per span or recommended item, or one for the whole text."""
    label = prediction.label
    if example.history:
        best = enumerate(prediction.scores.items(), 1)
        lines = [f"{place:3}. {item:8} {prediction.texts[item]}  ({score:.4f})" for place, (item, score) in best]
        return lines or ["there is no item that is not in the history"]
    if prediction.span_scores and isinstance(label, tuple):
        spans = [span for span in label if isinstance(span, Span)]
        return [
            f"{span.label:14} {example.text[span.start : span.end]}  ({score:.2f})"
            for span, score in zip(spans, prediction.span_scores, strict=True)
        ]
    if isinstance(label, tuple):
        if answer_of(prediction) == "":
            return [f"no answer in the text  ({prediction.confidence:.2f})"]
        return [", ".join(str(item) for item in label) or "nothing found"]
    if isinstance(label, float):
        return [f"{label:.4g}"]
    return [f"{label}  ({prediction.confidence:.2f})"]


def write_lines(rows: Iterable[Mapping[str, object]], out: Path | None, *, quiet: bool = False) -> None:
    """Write JSON lines to a file (in one step) or to standard output."""
    if out is None:
        for row in rows:
            say(json.dumps(row, ensure_ascii=False))
        return
    count = 0
    with written(out) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    if not quiet:
        say(f"Wrote {count} rows to {out}.")


def show_evaluation(judgement: Judgement, *, as_json: bool) -> None:
    """Show metrics with intervals, and the paired comparison if there is one."""
    if as_json:
        say_json(judgement.plain())
        return
    console = plain_console()
    console.print(metrics_table(judgement.split))
    for note in judgement.notes:
        console.print(f"[yellow]note[/] {escape(note)}", highlight=False)
    if judgement.comparisons:
        said = f"Compared on {judgement.compared} examples that neither model is known to have learnt from:"
        console.print(said, highlight=False)
    for item in judgement.comparisons:
        console.print(f"{item.name}: [bold]{item.verdict}[/]; {compared(item)}", highlight=False)


def compared(item: Comparison) -> str:
    """The figures of a comparison in words."""
    gap = item.difference
    if math.isnan(gap.value):
        return "these examples do not define it for both"
    said = f"{item.a:.4f} against {item.b:.4f}, difference {gap.value:+.4f}"
    if math.isnan(gap.low):
        return f"{said} without an interval: there are too few examples"
    return f"{said} ({gap.low:+.4f} to {gap.high:+.4f}), p = {item.p_value:.4f}"


def show_components(families: Mapping[str, Mapping[str, Mapping[str, Any]]], *, as_json: bool) -> None:
    """List families, members and settings."""
    if as_json:
        say_json(families)
        return
    console = plain_console()
    for family, members in families.items():
        console.print(f"[bold]{family}[/]")
        for name, member in members.items():
            console.print(f"  [cyan]{name}[/]: {escape(member['summary'])}", highlight=False)
            for setting, facts in member["settings"].items():
                console.print(
                    f"    {setting} = {escape(repr(facts['default']))}  {escape(facts['description'])}",
                    style="dim",
                    highlight=False,
                )


def show_catalogue(known: Mapping[str, Sequence[Known]], *, as_json: bool) -> None:
    """List the data sets and the models that a recipe can name, and where each is."""
    if as_json:
        say_json({kind: [asdict(one) for one in members] for kind, members in known.items()})
        return
    console = plain_console()
    for kind, members in known.items():
        console.print(f"[bold]{kind}[/]")
        for one in members:
            about = f"{one.summary}. Licence: {one.licence}. From: {one.place or 'nowhere yet; put it there yourself'}"
            console.print(f"  [cyan]{one.name}[/]: {escape(about)}", highlight=False)


def show_machine(machine: Machine, versions: Mapping[str, str], *, as_json: bool) -> None:
    """Say what the machine can do and which versions are installed."""
    facts = {**asdict(machine), "versions": dict(versions)}
    if as_json:
        say_json(facts)
        return
    gigabytes = 1e9
    say(f"processor    {machine.processor}, {machine.cores} cores")
    say(f"memory       {machine.memory_bytes / gigabytes:.1f} GB, {machine.free_memory_bytes / gigabytes:.1f} GB free")
    say(
        f"accelerator  {machine.accelerator}"
        + (f", {machine.accelerator_memory_bytes / gigabytes:.0f} GB" if machine.accelerator_memory_bytes else "")
    )
    say(
        f"bf16         {'in hardware: training uses it' if machine.has_bf16 else 'not in hardware: training uses fp32'}"
    )
    say(f"int8 (VNNI)  {'in hardware' if machine.has_vnni else 'not in hardware'}")
    for package, number in versions.items():
        say(f"{package:12} {number}")
