"""The verbs about labels: made by rules, made more, doubted, and asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith import console, label_console
from tunesmith.arguments import AsJson, Changes, HowWritten, Recipe
from tunesmith.asking import add_answers, next_batch
from tunesmith.augmentation.expand import copies
from tunesmith.components import build
from tunesmith.data.annotations import AnnotationForm
from tunesmith.data.sources import read
from tunesmith.enlarging import examples_made
from tunesmith.evaluation.results import example_row
from tunesmith.experiment import Experiment, reading
from tunesmith.inference.predictor import Predictor
from tunesmith.labelling import LABEL_MODELS
from tunesmith.labelling.functions import read_functions
from tunesmith.recipes import named_settings
from tunesmith.selection import QUERY_STRATEGIES
from tunesmith.simulation.conduct import budget_of, seeds_of
from tunesmith.simulation.conduct import simulate as simulate_rounds
from tunesmith.simulation.page import write_curves
from tunesmith.stopping import judge_round, rules_of
from tunesmith.suspects import suspects_by_folds, suspects_by_model
from tunesmith.weak_labels import examples_of, label_examples

SEED = 13
"""Decides what chance decides; texts that are labelled are left out, so that the next batch is another one."""

verbs = typer.Typer()
active = typer.Typer(help="Label the texts that teach a model most.", no_args_is_help=True)


@verbs.command()
def label(
    file: Annotated[Path, typer.Argument(help="A file of texts.")],
    functions: Annotated[Path, typer.Option(help="Labelling functions, a YAML file of words and patterns.")],
    model: Annotated[
        str, typer.Option(help="How votes become one label, such as majority, or NAME:KEY=VALUE.")
    ] = "dawid_skene",
    judge: Annotated[bool, typer.Option("--judge", help="The file has labels: judge the functions by them.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write the labelled texts, as JSON lines.")] = None,
    changes: HowWritten = None,
    as_json: AsJson = False,
) -> None:
    """Label texts by words and patterns that vote, and say how these agree."""
    chosen = build(LABEL_MODELS, named_settings(model, "--model", "dawid_skene:smoothing=0.1"), "--model")
    asked = read_functions(functions)
    found = label_examples(examples_of(file, changes or (), labelled=judge), asked, chosen)
    label_console.show_weak_labels(found, as_json=as_json)
    if out is not None:
        console.write_lines(found.labelled(), out, quiet=as_json)


@verbs.command()
def augment(
    recipe: Recipe,
    out: Annotated[Path | None, typer.Option(help="Where to write the new examples, as JSON lines.")] = None,
    shown: Annotated[int, typer.Option("--show", help="Pairs of a source and its copy to show per augmenter.")] = 3,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Make the further training examples that a recipe asks for, show some beside their sources, and count."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    splits, audit = examples_made(experiment)
    label_console.show_augmentation(audit, shown, as_json=as_json)
    if out is not None:
        kind = experiment.task.label_kind
        console.write_lines((example_row(example, kind) for example in copies(splits.train)), out, quiet=as_json)


@verbs.command()
def suspects(
    recipe: Recipe,
    out: Annotated[Path | None, typer.Option(help="Where to write all examples, the most doubtful first.")] = None,
    folds: Annotated[int, typer.Option(help="Learn from all but one of so many parts, and judge that one.")] = 5,
    runs: Annotated[Path | None, typer.Option(help="The folder of these runs; runs/<name>-folds if left out.")] = None,
    by: Annotated[
        Path | None, typer.Option(help="Judge by this artifact instead, which has not learnt from it.")
    ] = None,
    part: Annotated[str, typer.Option("--split", help="With --by: the split to judge.")] = "train",
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Find labels that are likely wrong."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    folder = runs or Path("runs") / f"{experiment.name}-folds"
    if by is None:
        found = suspects_by_folds(experiment, folder, folds, quiet=as_json)
    else:
        found = suspects_by_model(experiment, part, by)
    label_console.show_suspects(found, as_json=as_json)
    if out is not None:
        console.write_lines(found.rows(), out, quiet=as_json)


@active.command("next")
def next_texts(
    artifact: Annotated[Path, typer.Argument(help="The model as it stands.")],
    texts: Annotated[Path, typer.Argument(help="A file of texts without labels.")],
    out: Annotated[Path, typer.Option(help="Where to write the batch, with the model's answers.")],
    strategy: Annotated[str, typer.Option(help="How texts are chosen, such as margin, badge or random.")] = "margin",
    size: Annotated[int, typer.Option(help="How many texts.", min=1)] = 50,
    labelled: Annotated[
        list[Path] | None,
        typer.Option(help="Labelled texts, to learn from or to judge by: these are left out. Give it for each file."),
    ] = None,
    form: Annotated[AnnotationForm, typer.Option("--format", help="How the batch is written.")] = "jsonl",
    changes: HowWritten = None,
) -> None:
    """Choose the next texts to label."""
    label_console.see_no_batch(out)
    chosen = build(QUERY_STRATEGIES, strategy, "--strategy")
    predictor = Predictor.load(artifact)
    data, inputs = reading(changes or ()), predictor.task.inputs
    pool, *files = [read(data.source(str(file), "", inputs)).examples for file in (texts, *(labelled or ()))]
    known = [example for examples in files for example in examples]
    asked = next_batch(predictor, pool, known, chosen, size=size, seed=SEED)
    label_console.write_batch(asked, out, form)


@active.command()
def stop(
    artifact: Annotated[Path, typer.Argument(help="The model as it stands.")],
    texts: Annotated[Path, typer.Argument(help="The file of texts without labels, the same in each round.")],
    labelled: Annotated[Path, typer.Option(help="The labelled texts that the model learnt from.")],
    rounds: Annotated[Path, typer.Option(help="The file of rounds (JSON lines); it is made if it is not there.")],
    validation: Annotated[
        Path | None, typer.Option(help="The labelled texts that judge: these are paid for, too.")
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option("--stop", help="Such as stable, sure:uncertainty=0.1 or budget:texts=500.")
    ] = None,
    changes: HowWritten = None,
    as_json: AsJson = False,
) -> None:
    """Say whether labelling may end, by numbers; nothing is ended."""
    chosen, inputs = rules_of(rules or ()), Predictor.load(artifact).task.inputs
    data = reading(changes or ())
    files = [file for file in (texts, labelled, validation) if file is not None]
    pool, *known = [read(data.source(str(file), "", inputs)).examples for file in files]
    label_console.show_standing(judge_round(artifact, pool, known, rounds, chosen), as_json=as_json)


@active.command()
def simulate(
    recipe: Recipe,
    strategies: Annotated[str, typer.Option(help="Strategies, parted by commas; chance is always among them.")],
    budget: Annotated[
        str, typer.Option(help="Texts at the start and per round, rounds, and texts to choose among (0 for all).")
    ] = "start=50,batch=50,rounds=8,candidates=1000",
    seeds: Annotated[str, typer.Option(help="Seeds, parted by commas.")] = "1,2,3,4,5",
    out: Annotated[Path | None, typer.Option(help="The folder to write; runs/<name>-active if left out.")] = None,
    part: Annotated[
        Literal["validation", "test"], typer.Option("--split", help="What judges; test only for a last figure.")
    ] = "validation",
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Compare strategies on labels that are there already and hidden; given again, it goes on."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    chosen = {name.strip(): build(QUERY_STRATEGIES, name.strip(), "--strategies") for name in strategies.split(",")}
    place = out or Path("runs") / f"{experiment.name}-active"
    asked = replace(budget_of(budget), split=part)
    curves = simulate_rounds(experiment, chosen, seeds_of(seeds), asked, place, quiet=as_json)
    write_curves(curves, place)
    label_console.show_curves(curves, place, as_json=as_json)


@active.command("add")
def add(
    answered: Annotated[Path, typer.Argument(help="The batch with its answers, or Label Studio's JSON export.")],
    to: Annotated[Path, typer.Option(help="The labelled examples (JSON lines); it is made if it is not there.")],
    new_labels: Annotated[
        bool, typer.Option("--new-labels", help="Labels may occur that no labelled example has so far.")
    ] = False,
) -> None:
    """Add answered texts to the labelled ones."""
    label_console.show_added(add_answers(answered, to, new_labels=new_labels), to)
