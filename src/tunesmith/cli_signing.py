"""The verbs about signatures of artifacts: signing-keys, sign, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import signing_console
from tunesmith.access.manifest_signatures import TrustedKeys, make_keys
from tunesmith.arguments import AsJson
from tunesmith.errors import ArtifactError
from tunesmith.inference.signed import Seen, look_at, sign_artifact

verbs = typer.Typer()


@verbs.command("signing-keys")
def signing_keys(
    out: Annotated[Path, typer.Argument(help="The file of the private key; the public one is put beside it, as .pub.")],
    as_json: AsJson = False,
) -> None:
    """Make a pair of keys: the private one signs artifacts, the public one is for those who load them."""
    signing_console.show_keys(out, *make_keys(out), as_json=as_json)


@verbs.command()
def sign(
    artifacts: Annotated[list[Path], typer.Argument(help="The artifacts to sign.")],
    key: Annotated[Path, typer.Option(help="The file of the private key, which 'signing-keys' made.")],
    as_json: AsJson = False,
) -> None:
    """Sign artifacts as they are now; an export into them, or any other change, needs a new signature."""
    signing_console.show_signed([(one, sign_artifact(one, key)) for one in artifacts], as_json=as_json)


@verbs.command()
def verify(
    artifacts: Annotated[list[Path], typer.Argument(help="The artifacts to look at.")],
    trusted: Annotated[
        list[Path] | None,
        typer.Option(help="A public key of which a signature is wanted; may be given several times, and one suffices."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """See that artifacts are whole and unchanged, and with --trusted who signed them; exit code 2 when one is not.

    Without --trusted a signature is not checked: its key is not there.
    """
    keys = TrustedKeys.from_files(trusted) if trusted else None
    found = [(one, _seen(one, keys)) for one in artifacts]
    faults = [seen for _, seen in found if isinstance(seen, ArtifactError)]
    if as_json or len(found) > 1 or not faults:
        signing_console.show_seen(found, as_json=as_json)
    if len(faults) > 1:
        raise ArtifactError(
            f"{len(faults)} of {len(found)} artifacts are refused.",
            where=", ".join(str(one) for one, seen in found if isinstance(seen, ArtifactError)),
            to_do=" ".join(dict.fromkeys(fault.to_do for fault in faults)),
        )
    if faults:
        raise faults[0]


def _seen(artifact: Path, keys: TrustedKeys | None) -> Seen | ArtifactError:
    """What was found of an artifact, or what is wrong with it, so that the others are looked at too."""
    try:
        return look_at(artifact, keys)
    except ArtifactError as error:
        return error
