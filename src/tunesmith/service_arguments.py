"""The arguments of the verb that serves: each group becomes options of their own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith.arguments import Backend
from tunesmith.errors import RecipeError
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.private_files import STATE
from tunesmith.service.room import MOST_VERSIONS


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens, and how it stops."""

    host: Annotated[
        str,
        typer.Option(help="The address to listen at; 0.0.0.0 for other machines too, behind a proxy that adds TLS."),
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65_535)] = 8080
    drain: Annotated[float, typer.Option(help="Seconds that requests have to end once it is told to stop.", min=0)] = (
        30.0
    )


@dataclass(frozen=True, slots=True)
class Strength:
    """How much of the machine the service takes."""

    profile: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="throughput: a worker of one thread per core; latency: one worker with all cores."),
    ] = "throughput"
    workers: Annotated[int, typer.Option(help="Model workers; 0 leaves it to the profile.", min=0)] = 0
    threads: Annotated[int, typer.Option(help="Threads of each; 0 leaves it to the profile.", min=0)] = 0
    batch_tokens: Annotated[int, typer.Option(help="The most tokens of a batch, padding counted.", min=1)] = 512
    waiting_tokens: Annotated[int, typer.Option(help="Tokens that may wait before requests are refused.", min=1)] = (
        65_536
    )


@dataclass(frozen=True, slots=True)
class Protections:
    """What stands before and behind the models, and what is kept of answers so that feedback can be given."""

    guards: Annotated[
        list[str] | None,
        typer.Option(help="Guards of a model, NAME=FILE, or FILE for all; may be given several times."),
    ] = None
    redact: Annotated[
        Literal["off", "mask", "partial", "hash", "pseudonymise", "refuse"],
        typer.Option(help="What becomes of personal data before a model sees it."),
    ] = "off"
    recognisers: Annotated[
        Path | None, typer.Option(help="A YAML file of further recognisers, and of an action for each kind.")
    ] = None
    redact_names: Annotated[
        list[Path] | None,
        typer.Option(
            help="An artifact that tags people and places, which --redact takes out too; may be given several times."
        ),
    ] = None
    store: Annotated[
        str,
        typer.Option(
            envvar="TUNESMITH_STORE",
            help="Where answers and feedback are kept: a file (SQLite) or postgresql://...; nothing if left out.",
        ),
    ] = ""
    keep: Annotated[
        Literal["none", "masked", "raw"], typer.Option(help="What is kept of texts. masked takes personal data out.")
    ] = "masked"
    keep_days: Annotated[float, typer.Option(help="How long answers without feedback are kept.", min=0.01)] = 30.0


@dataclass(frozen=True, slots=True)
class Elastic:
    """Where model workers are, and how many."""

    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: workers of this machine; ray: replicas that come and go with the load."),
    ] = "local"
    ray_address: Annotated[
        str,
        typer.Option(
            help="With --engine ray: the cluster, such as auto; left out, one that is this machine alone is started."
        ),
    ] = ""
    least: Annotated[int, typer.Option(help="With --engine ray: the least replicas.", min=1)] = 1
    most: Annotated[
        int, typer.Option(help="With --engine ray: the most replicas; 0 for one per core of this machine.", min=0)
    ] = 0
    waiting_each: Annotated[
        float,
        typer.Option(
            help="With --engine ray: texts that wait or are in work, per replica, above which more are wanted.", min=0.1
        ),
    ] = 8.0
    up_after: Annotated[
        float,
        typer.Option(help="With --engine ray: seconds for which more must be wanted until some are added.", min=0),
    ] = 2.0
    down_after: Annotated[
        float,
        typer.Option(
            help="With --engine ray: seconds for which fewer must be enough until some are taken away.", min=0
        ),
    ] = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """In which form models are held, where further versions are, what these must show, and who must have signed."""

    backend: Backend = ""
    root: Annotated[
        Path | None, typer.Option(help="A folder of further versions, ROOT/MODEL/VERSION, which admins may load.")
    ] = None
    versions: Annotated[
        int, typer.Option("--most-versions", help="Versions of a model that may be loaded at once.", min=1)
    ] = MOST_VERSIONS
    trusted: Annotated[
        list[Path] | None,
        typer.Option(
            help="A public key: only artifacts signed by one of these are loaded; may be given several times."
        ),
    ] = None
    share_bases: Annotated[
        bool, typer.Option("--share-bases", help="Hold the base model of several adapters once, not in each of them.")
    ] = False
    golden: Annotated[
        list[str] | None,
        typer.Option(
            help="Labelled examples by which a version of a model is judged before it is promoted, NAME=FILE; may be "
            "given several times."
        ),
    ] = None
    margin: Annotated[
        float, typer.Option(help="How much worse a promoted version's main metric may be on the --golden examples.")
    ] = Terms().margin
    calibration_margin: Annotated[
        float, typer.Option(help="How much larger its expected calibration error may be.")
    ] = Terms().calibration


@dataclass(frozen=True, slots=True)
class Traces:
    """Where spans of requests go."""

    traces: Annotated[
        str, typer.Option(help="Send a span of each request there by OTLP, such as http://127.0.0.1:4318/v1/traces.")
    ] = ""
    trace_share: Annotated[
        float, typer.Option(help="The share of requests that is traced where the caller did not decide.", min=0, max=1)
    ] = 1.0


@dataclass(frozen=True, slots=True)
class Entrance:
    """Who may ask: holders of keys, and of tokens that somebody else signs."""

    state: Annotated[Path, typer.Option(help="The folder with the service's keys and logs.")] = STATE
    issuer: Annotated[
        str, typer.Option(help="Take signed tokens (JWT) of this OpenID provider too: its https address.")
    ] = ""
    audience: Annotated[str, typer.Option(help="This service's name there, for which tokens must be made.")] = ""
    tokens: Annotated[
        Path | None,
        typer.Option(
            help="A YAML file of rules for tokens, in the place of --issuer: scopes, algorithms, keys, limits."
        ),
    ] = None


def see_of_use(protections: Protections, elastic: Elastic, held: Held, traces: Traces) -> None:
    """Refuse options that would do nothing, since who gives one believes that it does.

    Raises:
        RecipeError: one is not as it is by default, and what it needs is not there; or there is no such folder.
    """
    if held.root is not None and not held.root.is_dir():
        raise RecipeError("There is no such folder.", where=f"--root {held.root}", to_do="Make it, or leave it out.")
    needs = (
        (held, "margin calibration_margin", bool(held.golden), "--golden NAME=FILE"),
        (held, "versions", held.root is not None, "--root FOLDER"),
        (elastic, "ray_address least most waiting_each up_after down_after", elastic.engine == "ray", "--engine ray"),
        (protections, "keep keep_days", bool(protections.store), "--store FILE"),
        (traces, "trace_share", bool(traces.traces), "--traces URL"),
    )
    for group, names, is_there, needed in needs:
        told, usual = asdict(group), {field.name: field.default for field in fields(group)}
        given = [name for name in names.split() if told[name] != usual[name]]
        if given and not is_there:
            shown = _OPTIONS.get(given[0], f"--{given[0].replace('_', '-')}")
            raise RecipeError(
                f"Without {needed} it does nothing.", where=shown, to_do=f"Give {needed}, or leave it out."
            )


_OPTIONS = {"versions": "--most-versions"}
