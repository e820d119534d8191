"""What `tunesmith serve` prints."""

from __future__ import annotations

from collections.abc import Sequence

from tunesmith import console
from tunesmith.access.bearer_tokens import TokenRules
from tunesmith.inference.name_tagger import kinds_of
from tunesmith.service.serving import Settings
from tunesmith.service.sharing import could_share
from tunesmith.service.versions import Version

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def show_ready(
    address: str, secret: str | None, versions: Sequence[Version], settings: Settings, named: str = ""
) -> None:
    """Say that the service answers: where, what, and how to ask it; `named` is the option that names its state."""
    for version in versions:
        held = settings.sharing.told(version)
        console.say(f"{version.model}: {version.task}, version {version.id}, {version.form}{held and f', {held}'}")
        console.say_held(version.slot.folder)
    for name, golden in settings.goldens.items():
        console.say(
            f"{name}: to be promoted, a version must not be worse by {golden.terms.margin:g} {golden.task.metric} on "
            f"{len(golden.examples)} golden examples, sha256 {golden.sha256[:12]}"
        )
        for note in golden.notes:
            console.say(f"  {note}")
    if not settings.sharing.is_asked and (several := could_share(versions)):
        console.say(f"{several} of these learnt beside one base model: with --share-bases it is held once.")
    console.say(f"Listening at {address}")
    console.say(f"Playground {address}/")
    show_keys(secret, named)
    first = versions[0].model
    body = '{"inputs": ["..."]}'
    console.say(f"Try: curl -H 'Authorization: Bearer KEY' -d '{body}' {address}/v1/models/{first}/predict")
    if settings.host not in _LOOPBACK:
        console.say("It is reachable from other machines, without TLS: put a proxy with TLS before it.")


def show_keys(secret: str | None, named: str) -> None:
    """Show the first key, the one time that it is there, and how more are made."""
    if secret is None:
        console.say(f"Keys: those that there are; another: tunesmith keys create{named}")
        return
    console.say(f"Key {secret}")
    console.say(f"This key is shown once; it asks for answers and gives feedback. More: tunesmith keys create{named}")


def show_names(taggers: Sequence[Version], kinds_looked_for: Sequence[str] = ()) -> None:
    """Say which artifacts find the names that are redacted; without kinds that are looked for, all are."""
    for tagger in taggers:
        found = kinds_of(tagger.labels)
        kinds = ", ".join(kind for kind in found if kind in (kinds_looked_for or found))
        console.say(f"Names are redacted ({kinds}), found by {tagger.model}, version {tagger.id}")
        console.say_held(tagger.slot.folder)


def show_tokens(rules: TokenRules, *, knows_signers: bool) -> None:
    """Say whose tokens are taken beside keys."""
    console.say(f"Tokens of {rules.issuer} for '{rules.audience}' are taken, with the claim '{rules.scopes_claim}'.")
    if not knows_signers:
        console.say("The issuer's keys could not be fetched, as the log says; until they are, tokens get 503.")
