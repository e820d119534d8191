"""What the verbs about forms print."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from tunesmith.console import plain_console, say, say_json
from tunesmith.exporting import Exported
from tunesmith.inference.form_parity import FormCheck
from tunesmith.inference.forms import Entry
from tunesmith.inference.gguf_file import GgufFile
from tunesmith.inference.gguf_form import GgufEntry
from tunesmith.inference.litert_form import LiteEntry
from tunesmith.proving import Proof


def show_export(made: Exported, *, as_json: bool) -> None:
    """Show where a form is, how large it is, and how near to torch."""
    if as_json:
        told = {
            "artifact": str(made.folder),
            "form": made.form,
            "was_there": made.was_there,
            "was_signed": made.was_signed,
        }
        say_json({**told, **made.entry.plain()})
        return
    if isinstance(made.entry, GgufEntry):
        _show_gguf(made.entry)
    elif isinstance(made.entry, LiteEntry):
        _show_lite(made.entry)
    else:
        _show_graph(made.entry)
    place = shlex.quote(str(made.folder))
    if made.was_there:
        say(f"Replaced: the artifact held the form '{made.form}' already; it was made anew.")
    if made.was_signed:
        say(f"Unsigned: the signature was for the files before. Sign it anew: tunesmith sign {place} --key FILE")
    say(f"Artifact: {made.folder}\nNext:     tunesmith parity {place}")


def _show_gguf(entry: GgufEntry) -> None:
    plain_console().print(
        f"File:     {entry.file}, {entry.share:.2f} of the float32 weights' size; {entry.tensors} tensors, matrices in "
        f"{entry.precision}.",
        highlight=False,
    )


def _show_lite(entry: LiteEntry) -> None:
    graph, console = entry.graph, plain_console()
    lengths = ", ".join(map(str, graph.lengths))
    console.print(
        f"File:     {entry.file}, {entry.share:.2f} of the float32 weights' size; signatures for one text of up to "
        f"{lengths} tokens, outputs {', '.join(graph.outputs)}.",
        highlight=False,
    )
    console.print(
        f"Compared: with torch on texts of {', '.join(map(str, graph.compared))} tokens; the outputs differ by "
        f"{graph.largest_difference:.2g}.",
        highlight=False,
    )


def _show_graph(entry: Entry) -> None:
    graph, console = entry.graph, plain_console()
    console.print(
        f"Graph:    {entry.file}, {entry.share:.2f} of the float32 weights' size; opset {graph.opset}, "
        f"attention {graph.attention}, outputs {', '.join(graph.outputs)}.",
        highlight=False,
    )
    shapes = ", ".join(f"{pieces}x{tokens}" for pieces, tokens in graph.shapes)
    in_float = " (before 8 bits)" if entry.quantised else ""
    console.print(
        f"Compared: with torch{in_float} on pieces x tokens of {shapes}; "
        f"the outputs differ by {graph.largest_difference:.2g}.",
        highlight=False,
    )
    if (small := entry.quantised) is not None:
        scales = f"found on {small.calibrated_on} pieces" if small.scaling == "static" else "found while answering"
        bits = "7 of 8 bits, since this processor has no VNNI" if small.reduced_range else "8 bits"
        console.print(
            f"8 bits:   {small.matrices} matrices by column ({bits}), {small.tables} tables by row; "
            f"scales of inputs {scales}.",
            highlight=False,
        )


def show_file(made: GgufFile, *, as_json: bool) -> None:
    """Show where a GGUF file is and how large."""
    if as_json:
        say_json({"file": str(made.path), "precision": made.precision, "tensors": made.tensors, "bytes": made.bytes})
        return
    say(f"File:     {made.path}, {made.bytes / 1e6:.1f} MB, {made.tensors} tensors, matrices in {made.precision}.")


def show_proof(proof: Proof, *, as_json: bool) -> None:
    """Show every form beside the first, and what is off."""
    if as_json:
        say_json(proof.plain())
        return
    console = plain_console()
    first = proof.checks[0]
    places = {place: f"{number}" for number, place in enumerate(dict.fromkeys(c.artifact for c in proof.checks), 1)}
    for place, number in places.items():
        console.print(f"{number}: {escape(str(place))}", highlight=False)
    table = Table(
        Column("form", no_wrap=True), "of", "logits", "equal", "alone: logits", "equal", "reloaded", "",
        title=f"{first.texts} texts of {escape(proof.texts_of)}; differences to {first.form} of 1, and answers equal",
        title_justify="left",
    )  # fmt: skip
    for check in proof.checks:
        table.add_row(*_row(check, places[check.artifact]))
    console.print(table)
    for check in proof.checks:
        for problem in check.problems:
            console.print(f"[red]{check.form}[/] of {places[check.artifact]}: {escape(problem)}.", highlight=False)
        for text in check.changed_texts:
            console.print(f"  changed: {escape(text)}", style="dim", highlight=False)
    _show_served(proof, places)
    texts = proof.checks[0].texts
    exact, loose = (
        "float32: logits within 1e-4, all answers equal",
        f"16, 8 or 4 bits: at most {math.ceil(proof.tolerance * texts)} of {texts} changed, none by answering alone",
    )
    console.print(f"{exact}; {loose}. Reloaded: the same bits in a fresh process.", highlight=False)
    if proof.is_sound:
        say("All forms are sound.")
    else:
        is_served = not any(check.problems for check in proof.checks)
        say("A service is off: its answers are others." if is_served else "Some form is off: do not serve it.")


def _show_served(proof: Proof, places: dict[Path, str]) -> None:
    console = plain_console()
    for check in proof.served:
        state = "off" if check.problems else "sound"
        equal = f"{check.texts - check.changed - sum(check.unanswered.values())} of {check.texts}"
        console.print(
            f"Over HTTP, {check.form} of {places[check.artifact]} (version {check.version}): {equal} answers equal, "
            f"probabilities differ by {check.probabilities:.2g}: {state}",
            highlight=False,
        )
        for problem in check.problems:
            console.print(f"[red]{check.form}[/] over HTTP: {escape(problem)}.", highlight=False)
        for text in check.changed_texts:
            console.print(f"  changed: {escape(text)}", style="dim", highlight=False)


def _row(check: FormCheck, number: str) -> tuple[str, ...]:
    return (
        check.form,
        number,
        f"{check.logits:.2g}",
        f"{check.texts - check.changed} of {check.texts}",
        f"{check.alone:.2g}",
        f"{check.texts_alone - check.changed_alone} of {check.texts_alone}",
        "not asked" if check.reloaded is None else f"{check.reloaded:.2g}",
        "[red]off[/]" if check.problems else "sound",
    )
