"""The verb that says what ails a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith.advice.consult import advise as consult
from tunesmith.advice.consult import chosen_ailments, write_recipes
from tunesmith.advice.follow import follow
from tunesmith.advice_console import show_advice, show_followed
from tunesmith.arguments import AsJson, Changes, Recipe
from tunesmith.errors import RecipeError
from tunesmith.experiment import Experiment

verbs = typer.Typer()


@verbs.command()
def advise(
    recipe: Recipe,
    out: Annotated[Path | None, typer.Option(help="Where to write the remedies as recipes.")] = None,
    thresholds: Annotated[
        list[str] | None, typer.Option("--ailment", metavar="NAME.KEY=VALUE", help="Such as leakage.threshold=0.02.")
    ] = None,
    followed: Annotated[Path | None, typer.Option(help="A run that followed a remedy, to be judged.")] = None,
    against: Annotated[Path | None, typer.Option(help="With --followed: the run that did not.")] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Say what ails a project and what might help, by a short probe; later, whether it did."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    if (followed is None) != (against is None):
        raise RecipeError(
            "--followed and --against belong together.", where="advise", to_do="Give two folders of finished runs."
        )
    if followed is not None and against is not None:
        show_followed(follow(experiment, followed, against), as_json=as_json)
        return
    advice = consult(experiment, chosen_ailments(thresholds or ()))
    show_advice(advice, write_recipes(advice, out) if out is not None else (), as_json=as_json)
