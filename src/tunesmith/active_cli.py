"""The verbs of active learning: the next texts to label, and their answers back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import console
from tunesmith.asking import add_answers, next_batch
from tunesmith.components import build
from tunesmith.data.annotations import AnnotationForm
from tunesmith.data.sources import read
from tunesmith.experiment import reading
from tunesmith.inference.predictor import Predictor
from tunesmith.selection import QUERY_STRATEGIES

active = typer.Typer(help="Label the texts that teach a model most.", no_args_is_help=True)


@active.command("next")
def next_texts(
    artifact: Annotated[Path, typer.Argument(help="The model as it stands.")],
    texts: Annotated[Path, typer.Argument(help="A file of texts without labels.")],
    out: Annotated[Path, typer.Option(help="Where to write the batch, with the model's answers.")],
    strategy: Annotated[str, typer.Option(help="How texts are chosen, such as margin, badge or random.")] = "margin",
    size: Annotated[int, typer.Option(help="How many texts.", min=1)] = 50,
    labelled: Annotated[Path | None, typer.Option(help="Texts that are labelled already: these are left out.")] = None,
    form: Annotated[AnnotationForm, typer.Option("--format", help="How the batch is written.")] = "jsonl",
    seed: Annotated[int, typer.Option(help="Decides what chance decides.")] = 13,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How the files are written, such as data.text=review."),
    ] = None,
) -> None:
    """Choose the next texts to label."""
    chosen = build(QUERY_STRATEGIES, strategy, "--strategy")
    predictor = Predictor.load(artifact)
    data, inputs = reading(changes or ()), predictor.task.inputs
    files = [read(data.source(str(file), "", inputs)).examples for file in (texts, labelled) if file is not None]
    known = files[1] if labelled else ()
    asked = next_batch(predictor, files[0], known, chosen, size=size, seed=seed)
    console.write_batch(asked, out, form)


@active.command("add")
def add(
    answered: Annotated[Path, typer.Argument(help="The batch with its answers, or Label Studio's JSON export.")],
    to: Annotated[Path, typer.Option(help="The labelled examples (JSON lines); it is made if it is not there.")],
) -> None:
    """Add answered texts to the labelled ones."""
    console.show_added(add_answers(answered, to), to)
