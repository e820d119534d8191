"""What `tunesmith advise` prints."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape

from tunesmith.advice.consult import Advice, Diagnosis
from tunesmith.advice.follow import Followed
from tunesmith.advice.records import Remedy
from tunesmith.console import plain_console, say_json
from tunesmith.evaluation.intervals import Estimate


def show_advice(advice: Advice, recipes: Sequence[Path], *, as_json: bool) -> None:
    """Show what ails the project, the worst first, with remedies; then what was looked at and is well."""
    if as_json:
        say_json({**plain_advice(advice), "recipes": [str(path) for path in recipes]})
        return
    console = plain_console()
    named = advice.named
    first = f"The worst is: {named[0].ailment}." if named else "Nothing that was looked at lies beyond its threshold."
    console.print(
        f"[bold]{first}[/] ({len(advice.diagnoses)} ailments measured in {advice.seconds:.0f} s)", highlight=False
    )
    for number, diagnosis in enumerate(named, 1):
        console.print(
            f"\n[bold]{number}. {diagnosis.ailment}[/]  severity {diagnosis.symptom.severity:.2f}", highlight=False
        )
        console.print(f"   {_figure(diagnosis)}", highlight=False)
        for said in diagnosis.symptom.said:
            console.print(f"   {escape(said)}", highlight=False)
        for remedy in diagnosis.remedies:
            _show_remedy(remedy)
        for reason in diagnosis.unfit:
            console.print(f"   (does not fit this recipe: {escape(reason)})", style="dim", highlight=False)
    well = [one for one in advice.diagnoses if not one.symptom.is_named]
    if well:
        console.print("\n[bold]Looked at, and not named:[/]")
    for diagnosis in well:
        console.print(f"   {diagnosis.ailment}: {_figure(diagnosis)}", style="dim", highlight=False)
        for said in diagnosis.symptom.said[-1:]:
            console.print(f"      {escape(said)}", style="dim", highlight=False)
    if advice.unmeasured:
        why = f" ({advice.without_probe})" if advice.without_probe else ""
        console.print(f"\nNot measured{escape(why)}: {', '.join(advice.unmeasured)}.", highlight=False)
    if advice.findings:
        console.print(f"'tunesmith check' has {len(advice.findings)} warnings or errors besides.", highlight=False)
    if recipes:
        quoted = shlex.quote(str(recipes[0]))
        console.print(
            f"\nWrote {len(recipes)} recipes to {recipes[0].parent}; run one: tunesmith run {quoted}",
            highlight=False,
        )


def _show_remedy(remedy: Remedy) -> None:
    console = plain_console()
    console.print(f"   -> [bold]{escape(remedy.name)}[/]: {escape(remedy.why)}", highlight=False)
    if remedy.effect is not None:
        unsure = ", no difference shown" if remedy.effect.low <= 0 <= remedy.effect.high else ""
        gain = (
            f"{100 * remedy.effect.value:+.1f} points{_interval(remedy.effect, 100, '+.1f')}, {remedy.judged}{unsure}; "
        )
    else:
        gain = ""
    console.print(f"      {remedy.basis}: {escape(gain + remedy.evidence)}", style="dim", highlight=False)
    if remedy.command:
        console.print(f"      {escape(remedy.command)}", highlight=False)


def _figure(diagnosis: Diagnosis) -> str:
    symptom = diagnosis.symptom
    return (
        f"{symptom.figure.value:.3g}{_interval(symptom.figure, 1, '.3g')} {symptom.measure} "
        f"(threshold {symptom.threshold:g})"
    )


def _interval(figure: Estimate, scale: float, form: str) -> str:
    if math.isnan(figure.low) or figure.low == figure.high:
        return ""
    return f" \\[{scale * figure.low:{form}}, {scale * figure.high:{form}}]"


def plain_advice(advice: Advice) -> dict[str, object]:
    """The advice as plain values."""
    return {
        "name": advice.experiment.name,
        "seconds": round(advice.seconds, 1),
        "named": [one.ailment for one in advice.named],
        "diagnoses": [
            {
                "ailment": one.ailment,
                "is_named": one.symptom.is_named,
                **asdict(one.symptom),
                "remedies": [_plain_remedy(remedy) for remedy in one.remedies],
                "unfit": list(one.unfit),
            }
            for one in advice.diagnoses
        ],
        "unmeasured": list(advice.unmeasured),
        "without_probe": advice.without_probe,
        "findings": [asdict(finding) for finding in advice.findings],
    }


def _plain_remedy(remedy: Remedy) -> dict[str, object]:
    return {
        "name": remedy.name,
        "why": remedy.why,
        "basis": remedy.basis,
        "evidence": remedy.evidence,
        "changes": dict(remedy.changes),
        "command": remedy.command,
        "effect": None if remedy.effect is None else asdict(remedy.effect),
        "judged": remedy.judged,
    }


def show_followed(found: Followed, *, as_json: bool) -> None:
    """Say whether a prescription held."""
    if as_json:
        say_json(asdict(found))
        return
    one = found.comparison
    verdict = {"better": "The prescription held", "worse": "The prescription harmed"}.get(
        one.verdict, "No difference shown"
    )
    plain_console().print(
        f"[bold]{verdict}[/]: {one.name} {one.a:.4f} instead of {one.b:.4f}, "
        f"{one.difference.value:+.4f}{_interval(one.difference, 1, '+.4f')} on {found.examples:,} validation examples "
        f"({found.left_out:,} left out, since a model learnt from them), p = {one.p_value:.3g}.",
        highlight=False,
    )
    for note in found.notes:
        plain_console().print(escape(note), style="dim", highlight=False)
