"""A signature holds for one manifest, one key and one purpose; private keys stay with their owner."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from tunesmith.access.manifest_signatures import LARGEST, TrustedKeys, make_keys, sign
from tunesmith.errors import ResourceError, UntrustedError

MANIFEST = b'{"model.safetensors": "00"}\n'


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key, with its public one beside it."""
    make_keys(tmp_path / "our.key")
    return tmp_path / "our.key"


@pytest.fixture
def trusted(key: Path) -> TrustedKeys:
    return TrustedKeys.from_files([public_of(key)])


def public_of(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")


def told(key: Path, /, **changes: object) -> bytes:
    """A signature's file, with changes to what it says."""
    return json.dumps({**json.loads(sign(MANIFEST, key)), **changes}).encode()


def test_a_signature_holds_for_its_manifest_and_for_trusted_keys_alone(
    key: Path, trusted: TrustedKeys, tmp_path: Path
) -> None:
    _, other_id = make_keys(tmp_path / "other.key")
    signed = sign(MANIFEST, key).encode()
    (ours,) = trusted.keys
    assert trusted.see_signed(MANIFEST, signed, "here") == ours
    both = TrustedKeys.from_files([public_of(tmp_path / "other.key"), public_of(key)])
    assert both.see_signed(MANIFEST, sign(MANIFEST, tmp_path / "other.key").encode(), "here") == other_id
    with pytest.raises(UntrustedError, match="does not fit its manifest"):
        trusted.see_signed(MANIFEST.replace(b"00", b"01"), signed, "here")
    with pytest.raises(UntrustedError, match="not trusted here"):
        trusted.see_signed(MANIFEST, sign(MANIFEST, tmp_path / "other.key").encode(), "here")
    with pytest.raises(UntrustedError, match="not signed"):
        trusted.see_signed(MANIFEST, None, "here")


def test_a_forger_who_claims_a_trusted_keys_id_is_refused(key: Path, trusted: TrustedKeys, tmp_path: Path) -> None:
    make_keys(tmp_path / "forger.key")
    (ours,) = trusted.keys
    with pytest.raises(UntrustedError, match="does not fit"):
        trusted.see_signed(MANIFEST, told(tmp_path / "forger.key", key=ours), "here")


def test_a_signature_made_for_something_else_does_not_hold(key: Path, trusted: TrustedKeys) -> None:
    """Whoever signs other files with the same key has not signed an artifact."""
    private = load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, Ed25519PrivateKey)
    bare = base64.b64encode(private.sign(MANIFEST)).decode()
    with pytest.raises(UntrustedError, match="does not fit"):
        trusted.see_signed(MANIFEST, told(key, signature=bare), "here")
    ours = base64.b64encode(private.sign(b"tunesmith-manifest-v1\x00" + MANIFEST)).decode()
    assert trusted.see_signed(MANIFEST, told(key, signature=ours), "here")


@pytest.mark.parametrize(
    "changed",
    [
        lambda key: b"\xff",
        lambda key: b"[]",
        lambda key: b"[" * 3000,
        lambda key: told(key) + b" " * LARGEST,
        lambda key: told(key, algorithm="none"),
        lambda key: told(key, algorithm="rsa"),
        lambda key: told(key, context="tunesmith-manifest-v0"),
        lambda key: told(key, signature=""),
        lambda key: told(key, signature=base64.b64encode(b"1" * 63).decode()),
        lambda key: told(key, signature="?"),
        lambda key: told(key, key="\x1b[31mred"),
        lambda key: told(key, more=1),
    ],
)
def test_a_signature_that_says_something_else_is_not_read(
    changed: Callable[[Path], bytes], key: Path, trusted: TrustedKeys
) -> None:
    with pytest.raises(UntrustedError, match="cannot be read"):
        trusted.see_signed(MANIFEST, changed(key), "here")


def test_a_private_key_is_for_its_owner_alone_and_never_replaced(key: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"PUBLIC" in public_of(key).read_bytes()
    before = key.read_bytes()
    with pytest.raises(ResourceError, match="never replaced"):
        make_keys(key)
    public_of(key).unlink()
    with pytest.raises(ResourceError, match="never replaced"):
        make_keys(key)
    assert key.read_bytes() == before
    (tmp_path / "next.key.pub").write_text("")
    with pytest.raises(ResourceError, match="never replaced"):
        make_keys(tmp_path / "next.key")
    assert not (tmp_path / "next.key").exists()
    key.chmod(0o640)
    with pytest.raises(ResourceError, match="0640"):
        sign(MANIFEST, key)
    key.chmod(0o600)
    (tmp_path / "link.key").symlink_to(key)
    with pytest.raises(ResourceError):
        sign(MANIFEST, tmp_path / "link.key")
    key.write_text("no key")
    with pytest.raises(ResourceError, match="no private key"):
        sign(MANIFEST, key)


def test_a_public_key_that_is_to_sign_is_called_one(key: Path, tmp_path: Path) -> None:
    """Others may read it, and that is no reason to make new secrets."""
    with pytest.raises(ResourceError, match="This is a public key") as error:
        sign(MANIFEST, public_of(key))
    assert error.value.to_do == f"Give that one: {key}."
    renamed = public_of(key).rename(tmp_path / "ours.pem")
    with pytest.raises(ResourceError, match="This is a public key"):
        sign(MANIFEST, renamed)
    for none in (tmp_path / "missing.key", tmp_path):
        with pytest.raises(ResourceError):
            sign(MANIFEST, none)


def test_no_folder_is_made_for_keys(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as error:
        make_keys(tmp_path / "none" / "a.key")
    assert error.value.to_do.startswith(f"Make the folder {tmp_path / 'none'} first")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_public_key_is_not_trusted(key: Path, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="a private key"):
        TrustedKeys.from_files([key])
    curve = generate_private_key(SECP256R1()).public_key()
    (tmp_path / "curve.pub").write_bytes(curve.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for name, content in (("curve.pub", None), ("nothing.pub", "nothing"), ("long.pub", "x" * (LARGEST + 1))):
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(ResourceError, match="no public Ed25519 key"):
            TrustedKeys.from_files([tmp_path / name])
    for missing in (tmp_path / "missing.pub", tmp_path):
        with pytest.raises(ResourceError):
            TrustedKeys.from_files([missing])
    public_of(key).chmod(0o666)
    with pytest.raises(ResourceError, match="Others may write"):
        TrustedKeys.from_files([public_of(key)])
