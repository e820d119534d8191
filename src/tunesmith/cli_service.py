"""The verb that serves trained models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import console, service_console
from tunesmith.access.bearer_tokens import TokenRules, TokenVerifier
from tunesmith.access.gate import Gate
from tunesmith.access.key_store import KeyStore
from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.access.principal import Limits as KeyLimits
from tunesmith.access.signing_keys import ASYMMETRIC
from tunesmith.arguments import spread
from tunesmith.errors import RecipeError, TunesmithError, nearest
from tunesmith.evaluation.non_inferiority import Terms
from tunesmith.guarding.guards import Guards
from tunesmith.guarding.saved import read_guards
from tunesmith.machine import inspect_machine
from tunesmith.privacy import (
    ACTIONS,
    RECOGNISERS,
    Names,
    RedactionKey,
    RedactionSettings,
    Redactor,
    read_redaction,
    see_kinds,
    standard,
)
from tunesmith.private_files import naming
from tunesmith.remembered.labels import LabelSchema, label_check
from tunesmith.remembered.records import Policy
from tunesmith.remembered.secret import secret_of
from tunesmith.remembered.store import Store
from tunesmith.remembered.text_keys import TextKeys
from tunesmith.service.engine import Engine
from tunesmith.service.golden import read_goldens
from tunesmith.service.hushed import hushed, logged_to
from tunesmith.service.local import LocalEngine
from tunesmith.service.names import names_of
from tunesmith.service.ray_engine import LOCAL_ENVIRONMENT, RayEngine, RaySettings
from tunesmith.service.scaling import Scaling
from tunesmith.service.serving import Behind, Doors, Settings, assembled, listening, serve_app
from tunesmith.service.sharing import Sharing
from tunesmith.service.versions import Version, read_version
from tunesmith.service_arguments import Address, Elastic, Entrance, Held, Protections, Strength, Traces, see_of_use
from tunesmith.watching.open_telemetry import open_tracer

verbs = typer.Typer()

FIRST_KEY = ("predict", "embed", "feedback")
"""What the first key is for; it changes nothing of the service."""


@verbs.command()
@spread
def serve(
    artifacts: Annotated[
        list[str], typer.Argument(help="Artifacts, each a folder or NAME=FOLDER; without a name the recipe's is taken.")
    ],
    address: Address,
    strength: Strength,
    protections: Protections,
    elastic: Elastic,
    held: Held,
    entrance: Entrance,
    traces: Traces,
) -> None:
    """Serve trained models over HTTP; Ctrl-C or SIGTERM end it once the last answer is out."""
    see_of_use(protections, elastic, held, traces)
    rules = _rules(entrance)
    os.environ["HF_HUB_OFFLINE"] = "1"  # the model workers inherit it: nothing that is served is fetched
    trusted = TrustedKeys.from_files(held.trusted) if held.trusted else None
    versions = [_version(given, held.backend, trusted) for given in artifacts]
    _see_names_differ(versions)
    folder = entrance.state.expanduser()
    verifier = TokenVerifier(rules) if rules is not None else None
    store = KeyStore(folder)
    gate = Gate(store, verifier)
    taggers, names = _taggers(protections, trusted)
    redactor = _redactor(protections, folder, names)
    guards = _guards(protections.guards or [], versions)
    opened = _store(protections, folder, names) if protections.store else None
    further = _further(guards, trusted)
    every = [*versions, *further.values()]
    sharing = Sharing.among(every, further=held.root is not None) if held.share_bases else Sharing()
    settings = Settings(
        host=address.host,
        port=address.port,
        batch_tokens=strength.batch_tokens,
        waiting_tokens=strength.waiting_tokens,
        drain=address.drain,
        root=held.root,
        sharing=sharing,
        versions=held.versions,
        goldens=read_goldens(held.golden or [], versions, Terms(held.margin, held.calibration_margin)),
        trusted=trusted,
    )
    tracer = open_tracer(traces.traces, share=traces.trace_share) if traces.traces else None
    engine = _engine(strength, elastic)
    with closing(listening(settings.host, settings.port)) as channel, hushed() as shown, logged_to(shown):
        secret = None
        if not store.keys():
            _, secret = store.create(FIRST_KEY, KeyLimits(), name="first key", by=f"uid {os.getuid()}", lifetime=None)
        doors = Doors(gate, store.audit, (store.save_uses, gate.fetch_keys))
        app = assembled(versions, engine, doors, settings, Behind(redactor, taggers, guards, further, opened), tracer)
        knows_signers = gate.fetch_keys()

        def ready(where: str) -> None:
            service_console.show_ready(where, secret, versions, settings, naming(entrance.state))
            service_console.show_names(taggers, redactor.kinds if redactor is not None else ())
            if rules is not None:
                service_console.show_tokens(rules, knows_signers=knows_signers)

        with _stopped_with_a_word():
            serve_app(app, channel, settings, ready=ready)


@contextmanager
def _stopped_with_a_word() -> Iterator[None]:
    """Ctrl-C, which uvicorn raises again once all is ended, is how a service ends."""
    try:
        yield
    except KeyboardInterrupt:
        console.say("Stopped.")
        raise SystemExit(console.INTERRUPTED) from None


def _version(given: str, backend: str, trusted: TrustedKeys | None) -> Version:
    name, equals, folder = given.partition("=")
    if not equals or Path(given).is_dir():
        name, folder = "", given
    return read_version(Path(folder), name=name, backend=backend, trusted=trusted)


def _rules(entrance: Entrance) -> TokenRules | None:
    """Whose tokens are taken beside keys; None where nobody's are."""
    if entrance.tokens is not None:
        if entrance.issuer or entrance.audience:
            raise RecipeError(
                "The issuer of tokens is named twice.", where="--tokens and --issuer", to_do="Write it into the file."
            )
        return TokenRules.from_file(entrance.tokens)
    if not entrance.issuer and not entrance.audience:
        return None
    if not entrance.issuer or not entrance.audience:
        raise RecipeError(
            "Tokens are taken by their issuer and the service that they are made for.",
            where="--issuer and --audience",
            to_do="Give both, or --tokens FILE.",
        )
    return TokenRules(entrance.issuer, entrance.audience, ASYMMETRIC)


def _see_names_differ(versions: Sequence[Version]) -> None:
    for place, version in enumerate(versions):
        if any(version.model == other.model for other in versions[:place]):
            raise TunesmithError(
                f"Two models would be served as '{version.model}'.",
                where=str(version.slot.folder),
                to_do="Name them, as in: tunesmith serve first=FOLDER other=FOLDER",
            )


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
        os.environ.update(LOCAL_ENVIRONMENT)
    settings = RaySettings(address=elastic.ray_address, processors=max(cores, elastic.least * threads), threads=threads)
    scaling = Scaling(elastic.least, most, elastic.waiting_each, elastic.up_after, elastic.down_after)
    return RayEngine(settings, scaling)


def _taggers(given: Protections, trusted: TrustedKeys | None) -> tuple[list[Version], list[Names]]:
    """The artifacts that find names, signed by who is trusted, and what they find."""
    if given.redact_names and given.redact == "off":
        raise RecipeError(
            "It says who finds names, and not what becomes of them.",
            where="--redact-names",
            to_do="Say what to do: --redact mask, for example.",
        )
    taggers = [read_version(folder, trusted=trusted) for folder in given.redact_names or ()]
    return taggers, [names_of(tagger) for tagger in taggers]


def _redactor(given: Protections, state: Path, names: Sequence[Names] = ()) -> Redactor | None:
    """What takes personal data out; None where nothing asks for it."""
    if given.redact == "off":
        if given.recognisers is not None:
            raise RecipeError(
                "Recognisers alone do nothing.",
                where="--recognisers",
                to_do="Say what to do: --redact mask, for example.",
            )
        return None
    read = read_redaction(given.recognisers, RECOGNISERS) if given.recognisers else RedactionSettings()
    recognisers = (*read.recognisers, *standard(), *names)
    see_kinds((*read.kinds, *read.actions), recognisers, f"--recognisers {given.recognisers}")
    for one in names:
        if read.kinds and not {*one.kinds} & {*read.kinds}:
            raise RecipeError(
                f"It finds {', '.join(one.kinds)}, and of these the kinds of --recognisers name none.",
                where="--redact-names",
                to_do=f"Add {one.kinds[0]} to 'kinds' of {given.recognisers}, or leave --redact-names out.",
            )
    action = read.action or ACTIONS[given.redact]()
    needs_key = any(one.needs_key for one in (action, *read.actions.values()))
    key = RedactionKey.from_file(state / "redaction.key", make=True) if needs_key else None
    return Redactor(recognisers, action, read.actions, read.kinds, key)


def _guards(given: Sequence[str], versions: Sequence[Version]) -> dict[str, Guards]:
    """The guards of each model that has some."""
    found: dict[str, Guards] = {}
    for one in given:
        name, equals, file = one.partition("=")
        names = [name] if equals else [version.model for version in versions]
        read = read_guards(Path(file if equals else one))
        for model in names:
            version = next((version for version in versions if version.model == model), None)
            if version is None:
                known = [version.model for version in versions]
                raise RecipeError(
                    f"No model is served as '{model}'.{nearest(model, known)}",
                    where=f"--guards {one}",
                    to_do=f"Name one of {', '.join(known)}.",
                )
            read.check_fits(version.slot.folder)
            found[model] = Guards(read.members)
    return found


def _further(guards: Mapping[str, Guards], trusted: TrustedKeys | None) -> dict[str, Version]:
    """The models that guards ask, by the folder that these know them by."""
    folders = sorted({folder for one in guards.values() for folder in one.models})
    return {
        folder: read_version(Path(folder), name=f"guard-{place}", trusted=trusted)
        for place, folder in enumerate(folders)
    }


def _store(
    given: Protections, state: Path, names: Sequence[Names] = ()
) -> Callable[[Mapping[str, LabelSchema]], Store]:
    """What opens the store of answers; the thread that writes looks for names."""
    masking = Redactor((*standard(), *names))

    def mask(text: str) -> list[tuple[int, int, str]]:
        return [(found.start, found.end, f"<{found.kind}>") for found in masking.find(text)]

    policy = Policy(text=given.keep, mask=mask, keep_days=given.keep_days)
    secret = secret_of(state, make=True)
    keys = TextKeys.of(state, given.store)
    return lambda schemas: Store.open(given.store, policy, secret, label_check(schemas), keys)
