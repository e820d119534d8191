"""The verbs of the command line; each is one thin function."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.exceptions import TyperException

from tunesmith import (
    cli_access,
    cli_advise,
    cli_capacity,
    cli_combining,
    cli_compression,
    cli_forms,
    cli_golden,
    cli_guarding,
    cli_labels,
    cli_parts,
    cli_privacy,
    cli_remembered,
    cli_service,
    cli_signing,
    cli_study,
    cli_watching,
    compressing,
    compression_console,
    console,
    documentation,
    overviews,
    pipeline,
)
from tunesmith.answering_files import Asked, answer_file, asked_source, streamed_rows
from tunesmith.arguments import AsJson, Backend, Changes, GivenFile, GivenTexts, HowWritten, Passes, Recipe, spread
from tunesmith.data.catalogue import known_data_sets
from tunesmith.data.marks import unmarked
from tunesmith.data.records import Example
from tunesmith.data.tally import Tally
from tunesmith.errors import DataError, ResourceError, TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import judge_artifact
from tunesmith.kept_answers import beside, part_of, see_free
from tunesmith.machine import inspect_machine
from tunesmith.models.catalogue import known_models
from tunesmith.versions import versions
from tunesmith.writing import written

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Fine-tune, prove and serve language models.",
)

app.add_typer(cli_labels.verbs)
app.add_typer(cli_advise.verbs)
app.add_typer(cli_study.verbs)
app.add_typer(cli_labels.active, name="active")
app.add_typer(cli_combining.verbs)
app.add_typer(cli_forms.verbs)
app.add_typer(cli_compression.verbs)
app.add_typer(cli_access.verbs)
app.add_typer(cli_watching.verbs)
app.add_typer(cli_service.verbs)
app.add_typer(cli_privacy.verbs)
app.add_typer(cli_remembered.verbs, name="feedback")
app.add_typer(cli_guarding.guard, name="guard")
app.add_typer(cli_capacity.verbs)
app.add_typer(cli_parts.verbs)
app.add_typer(cli_signing.verbs)
app.add_typer(cli_golden.verbs)


def _say_version(wanted: bool) -> None:
    if wanted:
        console.say(f"tunesmith {version('tunesmith')}")
        raise typer.Exit


@app.callback()
def every(
    told: Annotated[
        bool, typer.Option("--version", help="Say the version and exit.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Fine-tune, prove and serve language models."""


@app.command()
def new(
    task: Annotated[str, typer.Argument(help="The task, for example token_classification.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("recipe.yaml"),
) -> None:
    """Write a commented recipe for a task."""
    text = documentation.new_recipe(task)
    if out.exists():
        raise ResourceError("The file exists already.", where=str(out), to_do="Choose another --out.")
    with written(out) as file:
        file.write(text)
    console.say(f"Wrote {out}. Put your files under 'data', then run: tunesmith check {shlex.quote(str(out))}")


@app.command()
def check(recipe: Recipe, changes: Changes = None, as_json: AsJson = False) -> None:
    """Find everything that can go wrong, before any training."""
    findings = pipeline.check(Experiment.from_yaml(recipe, changes or ()))
    console.show_findings(findings, as_json=as_json)
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(2)


@app.command()
def run(
    recipe: Recipe,
    out: Annotated[Path | None, typer.Option(help="The folder to write; runs/<name> if left out.")] = None,
    changes: Changes = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train, prove, evaluate and report."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    compression_console.show_run(*compressing.run(experiment, out, overwrite=overwrite, quiet=as_json), as_json=as_json)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The folder of the interrupted run.")], as_json: AsJson = False
) -> None:
    """Go on with an interrupted run, to the same result."""
    compression_console.show_run(*compressing.resume(folder, quiet=as_json), as_json=as_json)


@app.command()
@spread
def predict(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    texts: GivenTexts,
    given: GivenFile,
    passes: Passes = 0,
    backend: Backend = "",
    as_json: AsJson = False,
) -> None:
    """Answer texts with a trained model."""
    if not texts.text and given.file is None:
        raise TunesmithError("There is nothing to answer.", where="predict", to_do="Give --text or --file.")
    if given.out is not None:
        see_out(given.out, given.file)
    predictor = Predictor.load(artifact, backend=backend)
    inputs = predictor.task.inputs
    if given.form is not None and (predictor.task.label_kind != "text" or given.file is None):
        raise TunesmithError(
            "Only a file of texts with written answers becomes dialogues.",
            where="--format",
            to_do="Leave it out, or give --file and a model that writes.",
        )
    if passes:
        predictor = predictor.with_dropout(passes)
    if texts.text:
        examples = given_examples(texts.text, texts.second or (), inputs)
        console.show_predictions(examples, predictor.predict(examples), as_json=as_json)
    if given.file is not None:
        source = asked_source(given.file, given.changes or (), inputs)
        answer(predictor, Asked(artifact, source, given.form, passes, backend), given.out)


def see_out(out: Path, file: Path | None) -> None:
    """See, before anything is computed, that answers to a file can be written to `out`.

    Raises:
        TunesmithError: there is no file, or it or something else would be overwritten.
    """
    if file is None:
        raise TunesmithError(
            "Only answers to a file are written to --out.", where="--out", to_do="Give --file, or leave it out."
        )
    read = Path(str(file).partition("!")[0]).resolve()
    written_to = out.resolve()
    if read in (written_to, part_of(written_to), beside(written_to)) or (
        out.exists() and read.exists() and out.samefile(read)
    ):
        raise TunesmithError(
            "The answers would be written over the texts.", where=str(out), to_do="Choose another --out."
        )
    if out.is_file():
        see_free(out)


def answer(predictor: Predictor, asked: Asked, out: Path | None) -> None:
    """Answer a file of texts: into a file that is kept from window to window, or as the answers come."""
    if out is not None and (out.is_file() or not out.exists()):
        count, findings = answer_file(predictor, asked, out)
        console.say(f"Wrote {count} rows to {out}.")
        console.warn(findings)
        return
    tally = Tally()
    console.write_lines(streamed_rows(predictor, asked, tally), out)
    console.warn(tally.findings())


def given_examples(texts: Sequence[str], seconds: Sequence[str], inputs: Sequence[str]) -> list[Example]:
    """The texts of the command line as examples.

    Raises:
        DataError: the task reads more than texts, or a second text is missing, or there is no use for it.
    """
    known = ("text", "second", "turns", "history", "marks")
    if further := [name for name in inputs if name.rstrip("?") not in known]:
        raise DataError(
            f"This task also reads {further[0]}, which the command line cannot give.",
            where="predict --text",
            to_do="Give --file with a file like those that the model learnt from.",
        )
    wanted = len(texts) if "second" in inputs or (seconds and "second?" in inputs) else 0
    if len(seconds) != wanted:
        said = f"{len(texts)} texts need {wanted} second texts" if wanted else "This task reads one text at a time"
        raise DataError(
            f"{said}; --second is given {len(seconds)} times.",
            where="predict --second",
            to_do="Give --second once for each --text." if wanted else "Remove --second.",
        )
    if "history" in inputs:
        return [history_of(text, number) for number, text in enumerate(texts, 1)]
    if "marks" in inputs:
        return [marked_of(text, number) for number, text in enumerate(texts, 1)]
    pairs = zip(texts, seconds or [""] * len(texts), strict=True)
    return [Example(str(number), one, second=other) for number, (one, other) in enumerate(pairs, 1)]


def history_of(text: str, number: int) -> Example:
    """The ids of items, parted by commas (Chinese ones too) or bars, as the history of user `number`."""
    ids = tuple(item.strip() for item in re.split("[,，|]", text) if item.strip())
    return Example(str(number), text, origin=f"predict --text {text}", history=ids)


def marked_of(text: str, number: int) -> Example:
    """A text with <e1>two</e1> marked <e2>entities</e2>."""
    plain, marks = unmarked(text, f"predict --text, text {number}")
    return Example(str(number), plain, marks=marks)


@app.command()
def evaluate(
    artifact: Annotated[Path, typer.Argument(help="The artifact to judge.")],
    data: Annotated[
        str, typer.Option(help="A labelled file, or a known data set; the recipe's test split if left out.")
    ] = "",
    against: Annotated[Path | None, typer.Option(help="Another artifact, for a paired test.")] = None,
    passes: Passes = 0,
    backend: Backend = "",
    changes: HowWritten = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model with intervals, alone or against another."""
    judgement = judge_artifact(artifact, data, against, changes or (), passes=passes, backend=backend)
    console.show_evaluation(judgement, as_json=as_json)


@app.command()
def show(recipe: Recipe, changes: Changes = None, as_json: AsJson = False) -> None:
    """Print the recipe after defaults."""
    experiment = Experiment.from_yaml(recipe, changes or ())
    console.say(json.dumps(experiment.to_mapping(), ensure_ascii=False, indent=2) if as_json else experiment.to_yaml())


@app.command()
def components(
    page: Annotated[
        Literal["components", "tasks", "methods", "data"], typer.Argument(help="With --markdown: the page to print.")
    ] = "components",
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/<PAGE>.md.")] = False,
) -> None:
    """List every family, its members and their settings."""
    if not as_markdown:
        console.show_components(documentation.components(), as_json=as_json)
        return
    pages = {
        "components": documentation.components_page,
        "tasks": lambda: overviews.tasks_page(Path("examples")),
        "methods": overviews.methods_page,
        "data": overviews.data_page,
    }
    console.say(pages[page]().rstrip("\n"))


@app.command()
def catalogue(as_json: AsJson = False) -> None:
    """List the data sets and models that a recipe can name, and where each is taken from."""
    console.show_catalogue({"data sets": known_data_sets(), "models": known_models()}, as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes."""
    console.say(json.dumps(documentation.json_schema(), ensure_ascii=False, indent=2))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine can do."""
    console.show_machine(inspect_machine(), versions(), as_json=as_json)


def main() -> None:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(command: Callable[[], object]) -> int:
    """Run a command and return its exit code; known errors are explained on standard error."""
    try:
        code = command()
    except TunesmithError as error:
        console.complain(error)
        return 2
    except TyperException as error:
        if said := error.format_message():  # empty where the help was shown instead
            console.complain(TunesmithError(said, to_do=f"See: {_verb_of(error)} --help"))
        return 2
    # With standalone_mode off, typer returns exit codes, also that of an interruption.
    if code == console.INTERRUPTED:
        console.complain(
            TunesmithError(
                "Stopped.",
                to_do="A run goes on from its last checkpoint: tunesmith resume. "
                "A study, a compression, and answers to a file go on by the same command.",
            )
        )
    return code if isinstance(code, int) else 0


def _verb_of(error: TyperException) -> str:
    """The verb that was called wrongly, as it is called; the program where none was found."""
    context = vars(error).get("ctx")  # only mistakes in calling have one
    verb = context.command_path.removeprefix(context.find_root().command_path) if context is not None else ""
    return f"tunesmith{verb}"
