"""The verb that serves trained models."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tunesmith import service_console
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.logs import json_handler
from tunesmith.access.principal import Limits as KeyLimits
from tunesmith.arguments import Backend, spread
from tunesmith.errors import TunesmithError
from tunesmith.machine import inspect_machine
from tunesmith.service.engine import Engine
from tunesmith.service.local import LocalEngine
from tunesmith.service.ray_engine import LOCAL_ENVIRONMENT, RayEngine, RaySettings
from tunesmith.service.scaling import Scaling
from tunesmith.service.serving import Doors, Settings, assembled, listening, serve_app
from tunesmith.service.versions import Version, read_version

verbs = typer.Typer()

STATE = Path("~/.local/state/tunesmith")
FIRST_KEY = ("predict", "embed", "feedback")
"""What the first key is for; it changes nothing of the service."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens."""

    host: Annotated[str, typer.Option(help="The address to listen at. Others than this machine's own see no TLS.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65_535)] = 8080


@dataclass(frozen=True, slots=True)
class Strength:
    """How much of the machine the service takes."""

    profile: Annotated[
        Literal["throughput", "latency"],
        typer.Option(help="throughput: a worker of one thread per core; latency: one worker with all cores."),
    ] = "throughput"
    workers: Annotated[int, typer.Option(help="Model workers; 0 leaves it to the profile.", min=0)] = 0
    threads: Annotated[int, typer.Option(help="Threads of each; 0 leaves it to the profile.", min=0)] = 0
    batch_tokens: Annotated[int, typer.Option(help="Tokens of a batch, padding counted.", min=1)] = 512
    waiting_tokens: Annotated[int, typer.Option(help="Tokens that may wait before requests are refused.", min=1)] = (
        65_536
    )


@dataclass(frozen=True, slots=True)
class Elastic:
    """Where model workers are, and how many."""

    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="local: workers of this machine; ray: replicas that come and go with the load."),
    ] = "local"
    ray_address: Annotated[
        str, typer.Option(help="The Ray cluster, such as auto; left out, one that is this machine alone is started.")
    ] = ""
    least: Annotated[int, typer.Option(help="The least replicas.", min=1)] = 1
    most: Annotated[int, typer.Option(help="The most replicas; 0 for one per core of this machine.", min=0)] = 0
    waiting_each: Annotated[
        float, typer.Option(help="Texts that wait or are in work, per replica, above which more are wanted.", min=0.1)
    ] = 8.0
    up_after: Annotated[float, typer.Option(help="Seconds for which that must hold.", min=0)] = 2.0
    down_after: Annotated[float, typer.Option(help="Seconds for which fewer replicas must do.", min=0)] = 60.0


@verbs.command()
@spread
def serve(
    artifacts: Annotated[
        list[str], typer.Argument(help="Artifacts, each a folder or NAME=FOLDER; its recipe's name is taken else.")
    ],
    address: Address,
    strength: Strength,
    elastic: Elastic,
    backend: Backend = "",
    root: Annotated[
        Path | None, typer.Option(help="A folder of further versions, ROOT/MODEL/VERSION, which admins may load.")
    ] = None,
    state: Annotated[Path, typer.Option(help="The folder with the service's keys and logs.")] = STATE,
    drain: Annotated[float, typer.Option(help="Seconds that requests have to end once it is told to stop.")] = 30.0,
) -> None:
    """Serve trained models over HTTP; Ctrl-C or SIGTERM end it once the last answer is out."""
    if root is not None and not root.is_dir():
        raise TunesmithError("There is no such folder.", where=f"--root {root}", to_do="Make it, or leave it out.")
    versions = [_version(given, backend) for given in artifacts]
    store = KeyStore(state.expanduser())
    settings = Settings(
        host=address.host,
        port=address.port,
        batch_tokens=strength.batch_tokens,
        waiting_tokens=strength.waiting_tokens,
        drain=drain,
        root=root,
    )
    channel = listening(settings.host, settings.port)
    logging.basicConfig(level=logging.INFO, handlers=[json_handler(sys.stderr)], force=True)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    secret = None
    if not store.keys():
        _, secret = store.create(FIRST_KEY, KeyLimits(), name="first key", by=f"uid {os.getuid()}", lifetime=None)
    app = assembled(versions, _engine(strength, elastic), Doors(Gate(store), store.audit), settings)
    serve_app(
        app, channel, settings, ready=lambda where: service_console.show_ready(where, secret, versions, settings.host)
    )


def _version(given: str, backend: str) -> Version:
    name, equals, folder = given.partition("=")
    if not equals or Path(given).is_dir():
        name, folder = "", given
    return read_version(Path(folder), name=name, backend=backend)


def _engine(strength: Strength, elastic: Elastic) -> Engine:
    cores = inspect_machine().cores
    if elastic.engine == "ray":
        return _ray(strength, elastic, cores)
    is_quick = strength.profile == "latency"
    workers = strength.workers or (1 if is_quick else cores)
    return LocalEngine(workers, strength.threads or (max(1, cores // workers) if is_quick else 1))


def _ray(strength: Strength, elastic: Elastic, cores: int) -> RayEngine:
    if strength.workers:
        raise TunesmithError(
            "With Ray the number of workers follows the load.",
            where=f"--workers {strength.workers}",
            to_do="Give --least and --most instead; the same number twice keeps it as it is.",
        )
    threads = strength.threads or 1
    most = elastic.most or max(elastic.least, cores // threads)
    if most < elastic.least:
        raise TunesmithError(
            "There cannot be fewer replicas than the least.",
            where=f"--least {elastic.least} --most {most}",
            to_do="Raise --most.",
        )
    if not elastic.ray_address:
        for name, value in LOCAL_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    settings = RaySettings(address=elastic.ray_address, processors=max(cores, elastic.least * threads), threads=threads)
    scaling = Scaling(elastic.least, most, elastic.waiting_each, elastic.up_after, elastic.down_after)
    return RayEngine(settings, scaling)
