"""What the verbs about guards print."""

from __future__ import annotations

import shlex

from rich.markup import escape
from rich.table import Column, Table

from tunesmith.console import plain_console, say, say_json
from tunesmith.evaluation.intervals import Estimate
from tunesmith.guard_checking import Check, Effect
from tunesmith.guard_fitting import Fit
from tunesmith.guarding.saved import names_of


def show_fit(fit: Fit, *, as_json: bool) -> None:
    """Show what was found for each guard, and where it is."""
    names = names_of(fit.saved.members)
    if as_json:
        say_json(
            {
                "guards": str(fit.path),
                "learnt": fit.learnt,
                "held_out": fit.held_out,
                "outside": fit.outside,
                "figures": [{"name": n, **f} for n, f in zip(names, fit.saved.figures, strict=True)],
            }
        )
        return
    table = Table(
        Column("guard", no_wrap=True), "found",
        title=f"Limits by {fit.held_out} examples that the model has not learnt from, profiles by {fit.learnt} that "
        f"it has; {fit.outside} of another kind",
        title_justify="left",
    )  # fmt: skip
    for name, figures in zip(names, fit.saved.figures, strict=True):
        found = ", ".join(f"{what} {value:.4g}" for what, value in figures.items())
        table.add_row(name, found or "nothing to fit")
    plain_console().print(table)
    say(f"Guards:   {fit.path}\nNext:     tunesmith guard check ARTIFACT --guards {shlex.quote(str(fit.path))}")


def show_check(check: Check, *, as_json: bool) -> None:
    """Show what each guard did, and what the most confident answers are worth."""
    if as_json:
        say_json(check.plain())
        return
    console = plain_console()
    columns = ["refused", "I don't know", "answered", "right of these", "wrong of those stopped"]
    table = Table(
        Column("guard", no_wrap=True), *columns, *(["outside stopped"] if check.outside else []),
        title=f"{check.examples} examples of {escape(check.texts_of)}; without guards right: {_shown(check.accuracy)}"
        + (f"; {check.outside} texts of another kind" if check.outside else ""),
        title_justify="left",
    )  # fmt: skip
    for effect in check.effects:
        table.add_row(*_row(effect, check.examples))
    console.print(table)
    for effect in check.effects[:-1]:
        for code, count in sorted(effect.codes.items()):
            console.print(f"{effect.name}: {code} {count}", style="dim", highlight=False)
        if effect.changed:
            console.print(f"{effect.name}: changed {effect.changed}", style="dim", highlight=False)
    if check.curve:
        curve = Table(
            "answered", "lowest confidence", "right of these", title="The surest answers alone", title_justify="left"
        )
        for coverage, least, accuracy in check.curve:
            curve.add_row(f"{coverage:.0%}", f"{least:.4f}", _shown(accuracy))
        console.print(curve)


def _row(effect: Effect, examples: int) -> list[str]:
    shares = [effect.coverage, effect.accuracy, effect.stopped_wrong]
    outside = [] if effect.outside is None else [effect.outside]
    counts = [f"{share.value * examples:.0f}" for share in (effect.refused, effect.unknown)]
    return [effect.name, *counts, *(_shown(one) for one in [*shares, *outside])]


def _shown(share: Estimate) -> str:
    """A share with its interval; "none" of nothing."""
    return "none" if share.value != share.value else f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
