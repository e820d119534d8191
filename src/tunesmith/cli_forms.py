"""The verbs about the forms of an artifact: export and parity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import forms_console
from tunesmith.arguments import AsJson, spread
from tunesmith.errors import RecipeError
from tunesmith.exporting import ExportForm, export_file
from tunesmith.exporting import export as export_artifact
from tunesmith.proving import Compared, prove_forms
from tunesmith.service_beside import running_service

verbs = typer.Typer()


@verbs.command()
def export(
    artifact: Annotated[Path, typer.Argument(help="The artifact, which holds torch's weights.")],
    form: Annotated[
        ExportForm,
        typer.Option(
            help="Of encoders: onnx for float32, onnx-int8 for 8 bits, litert for TensorFlow's programs. Of language "
            "models: gguf and gguf-q8_0 for llama.cpp."
        ),
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="The artifact to write, or file if it ends in .gguf; without it: beside the weights."),
    ] = None,
    calibrate: Annotated[
        int,
        typer.Option(
            help="For onnx-int8: so many training texts on which the scales of activations are found once (static "
            "quantization); 0 finds them at each answer (dynamic).",
            min=0,
        ),
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a model in another form, smaller or quicker, for Tunesmith and other programs."""
    if out is not None and out.suffix.lower() == ".gguf":
        if form != "gguf" and form != "gguf-q8_0":
            what = f"The form '{form}' is no GGUF file."
            raise RecipeError(what, where="--out", to_do="Give --form gguf, or a folder.")
        forms_console.show_file(export_file(artifact, form, out, calibrate=calibrate), as_json=as_json)
        return
    forms_console.show_export(export_artifact(artifact, form, out, calibrate=calibrate), as_json=as_json)


@dataclass(frozen=True, slots=True)
class Services:
    """Which services are compared too."""

    http: Annotated[bool, typer.Option("--http", help="Also serve each form here, and ask it over HTTP.")] = False
    url: Annotated[str, typer.Option(help="Also ask a running service, such as http://127.0.0.1:8080.")] = ""
    key_file: Annotated[
        Path | None, typer.Option(help="A file, yours alone, with a key of that service that may predict.")
    ] = None
    model: Annotated[
        str, typer.Option(help="The name of the model there; else the one that is loaded from one of these artifacts.")
    ] = ""


@verbs.command()
@spread
def parity(
    artifacts: Annotated[list[Path], typer.Argument(help="An artifact, and others that are to answer as it does.")],
    data: Annotated[
        str, typer.Option(help="A labelled file or known data set; the run's validation data if left out.")
    ] = "",
    file: Annotated[Path | None, typer.Option(help="A file of texts without labels.")] = None,
    limit: Annotated[int, typer.Option(help="How many texts to compare on.", min=1)] = 200,
    tolerance: Annotated[
        float, typer.Option(help="The share of answers that a form in 16 or 8 bits may change.", min=0, max=1)
    ] = 0.05,
    reload: Annotated[bool, typer.Option(help="Also load each form in a fresh process.")] = True,
    services: Services = Services(),
    as_json: AsJson = False,
) -> None:
    """Compare a model's forms, and services of it, on real text; exit code 1 when one answers otherwise than it may."""
    if not services.url and (services.key_file is not None or services.model):
        raise RecipeError("No running service is named.", where="--key-file or --model", to_do="Give --url too.")
    running = running_service(services.url, services.key_file) if services.url else None
    how = Compared(tolerance, reload, services.http, running, services.model)
    proof = prove_forms(artifacts, data=data, file=file, limit=limit, how=how)
    forms_console.show_proof(proof, as_json=as_json)
    if not proof.is_sound:
        raise typer.Exit(1)
