"""What the verbs about labels print."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from tunesmith.asking import Added, Asked
from tunesmith.augmentation.audit import Audit, said_of
from tunesmith.console import plain_console, say, say_json, write_lines
from tunesmith.data.annotations import AnnotationForm, batch_rows, label_studio_tasks
from tunesmith.errors import RecipeError
from tunesmith.simulation.curves import Curves
from tunesmith.simulation.page import as_markdown, plain_curves
from tunesmith.stopping import Standing
from tunesmith.suspects import Suspects
from tunesmith.weak_labels import WeaklyLabelled
from tunesmith.writing import written

SHOWN = 10
"""Doubtful examples that are printed."""


def show_augmentation(audit: Audit, shown: int, *, as_json: bool) -> None:
    """Show copies below their sources, and how many were kept and why others were not."""
    if as_json:
        refusals = {name: [asdict(one) for one in found[:shown]] for name, found in audit.refusals.items()}
        pairs = {name: pairs[:shown] for name, pairs in audit.shown.items()}
        say_json({**audit.plain(), "shown": pairs, "refusals": refusals})
        return
    console = plain_console()
    for name in dict.fromkeys([*audit.shown, *audit.refusals]):
        console.print(f"[bold]{name}[/]")
        for source, changed in audit.shown.get(name, ())[:shown]:
            console.print(f"  - {escape(source)}", style="dim", highlight=False)
            console.print(f"  + {escape(changed)}", highlight=False)
        for one in audit.refusals.get(name, ())[:shown]:
            console.print(f"  - {escape(one.source)}", style="dim", highlight=False)
            console.print(
                f"  x {escape(one.copy)}  ({escape(one.label)}, judged {escape(one.answer)})",
                style="red",
                highlight=False,
            )
    table = Table(
        Column("augmenter", no_wrap=True),
        "kept",
        "no change",
        "known text",
        "label not kept",
        Column("lost label, %", no_wrap=True),
    )
    for name in dict.fromkeys([*audit.kept, *audit.unchanged, *audit.known, *audit.refused]):
        counts = (audit.kept, audit.unchanged, audit.known, audit.refused)
        own = audit.flips(name)
        lost = said_of(own).replace(" %", "", 1) if own.judged else "–"
        table.add_row(name, *(f"{count[name]:,}" for count in counts), escape(lost))
    console.print(table)
    for note in audit.notes:
        console.print(note.message, highlight=False)
    flips = audit.flips()
    said = (
        f"Of {flips.judged:,} copies that {audit.judge or 'a model'} judged, {said_of(flips)} lost their label; "
        f"{audit.unjudged:,} could not be judged, since it gets their source wrong."
        if flips.judged
        else "No model judged whether labels hold: set augmentation.judge to an artifact, or to out_of_fold."
    )
    console.print(f"{audit.kept.total():,} examples from {audit.sources:,}. {said}", highlight=False, markup=False)


def show_weak_labels(found: WeaklyLabelled, *, as_json: bool) -> None:
    """Show how often each labelling function speaks, against others and rightly, and what came of all."""
    if as_json:
        say_json(found.plain())
        return
    by = "by the file's labels" if found.accuracy is not None else "by the label model"
    table = Table("function", "says", "coverage", "overlaps", "conflicts", "accuracy", title=f"Accuracy {by}")
    for row in found.rows:
        shares = (f"{share:.3f}" for share in (row.coverage, row.overlaps, row.conflicts))
        accuracy = "–" if math.isnan(row.accuracy) else f"{row.accuracy:.3f}"
        table.add_row(escape(row.name), escape(", ".join(row.says)), *shares, accuracy)
    console = plain_console()
    console.print(table)
    right = "" if found.accuracy is None else f" {100 * found.accuracy:.1f} % of the labels are those of the file."
    tied = f" On {found.tied:,} of these two labels are equally likely." if found.tied else ""
    said = f"{len(found.examples):,} texts have a label; on {found.silent:,} no function speaks.{tied}{right}"
    console.print(said, highlight=False)
    for warning in found.warnings:
        console.print(f"warning: {escape(warning)}", highlight=False, style="yellow")


def see_no_batch(out: Path) -> None:
    """See that no batch lies where one is to be written: answers in it would be lost.

    Raises:
        RecipeError: there is a file.
    """
    if out.exists():
        raise RecipeError(
            "There is a file already, which may hold answers.",
            where=str(out),
            to_do="Add its answers with 'tunesmith active add', and choose another --out.",
        )


def write_batch(asked: Asked, out: Path, form: AnnotationForm) -> None:
    """Write texts to be labelled, and say how many were left out."""
    rows = (asked.examples, asked.predictions, asked.label_kind)
    if form == "jsonl":
        write_lines(batch_rows(*rows), out, quiet=True)
    else:
        with written(out) as file:
            json.dump(label_studio_tasks(*rows), file, ensure_ascii=False, indent=1)
    left = f" {asked.known:,} texts are labelled already or stand twice, and were left out." if asked.known else ""
    short = f" (no more of the {asked.wanted:,} were left)" if len(asked.examples) < asked.wanted else ""
    say(f"Wrote {len(asked.examples):,} texts{short} to {out}, the most wanted first, with the model's answers.{left}")
    say("Whether to go on after it: tunesmith active stop.")


def show_added(added: Added, to: Path) -> None:
    """Say how many answers were taken over."""
    left = f" {added.known:,} were left out, since their text stands there already." if added.known else ""
    say(f"Added {added.rows:,} answered texts to {to}.{left}")
    if added.labels:
        say("Labels: " + ", ".join(f"{label} {count:,}" for label, count in sorted(added.labels.items())))


def show_suspects(found: Suspects, *, as_json: bool) -> None:
    """Show how many labels are likely wrong, and the most doubtful ones."""
    suspects = sum(doubt.is_suspect for doubt in found.doubts)
    if as_json:
        counts = {
            "judged": len(found.examples),
            "left_out": found.left_out,
            "unknown": found.unknown,
            "noise": found.noise,
            "warning": found.warning,
        }
        say_json({**counts, "suspects": suspects, "first": list(found.rows())[:SHOWN] if found.doubts else []})
        return
    console = plain_console()
    for doubt in found.doubts[:SHOWN]:
        example = found.examples[doubt.place]
        console.print(f"[bold]{doubt.score:.3f}[/] {escape(example.text[:200])}", highlight=False)
        console.print(
            f"      {escape(doubt.reason or 'no doubt')}  ({escape(example.origin or example.id)})", style="dim"
        )
    left = f" {found.left_out:,} were left out, since the model learnt from them." if found.left_out else ""
    if found.unknown:
        left += (
            f" {found.unknown:,} were left out, since their judge has not seen their label (too few examples of it)."
        )
    share = "" if found.noise is None else f" {100 * found.noise:.1f} % of the labels are estimated to be wrong;"
    suspected = "" if found.noise is None else f" {suspects:,} are suspects."
    console.print(f"{len(found.examples):,} examples were judged.{left}{share}{suspected}", highlight=False)
    if found.warning:
        console.print(f"warning: {found.warning}", highlight=False, style="yellow")


def show_curves(curves: Curves, folder: Path, *, as_json: bool) -> None:
    """Show each strategy's area under its curve beside that of chance."""
    if as_json:
        say_json(plain_curves(curves))
        return
    say(as_markdown(curves))
    say(f"The curves: {folder / 'active.html'}")


def show_standing(standing: Standing, *, as_json: bool) -> None:
    """Show what each rule says of going on."""
    if as_json:
        advised = {name: {"is_reached": one.is_reached, "said": one.said} for name, one in standing.advised.items()}
        counts = {"rounds": standing.rounds, "texts": standing.texts, "words": standing.words}
        say_json({**counts, "uncertainty": standing.uncertainty, "is_reached": standing.is_reached, "rules": advised})
        return
    for one in standing.advised.values():
        say(f"{'reached ' if one.is_reached else 'not yet '} {one.said}")
    counted = f"{standing.texts:,} texts ({standing.words:,} words) are labelled after {standing.rounds} rounds."
    say(f"{counted} {'Labelling may end.' if standing.is_reached else 'Go on labelling.'} You decide.")
