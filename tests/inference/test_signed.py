"""A signed artifact: any change of what is loaded takes the trust away, and nothing beside the manifest adds to it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import TASK_CASES
from tests.service.running import saved
from tunesmith import cli
from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.errors import ArtifactError, UntrustedError
from tunesmith.inference.artifact import MANIFEST, SIGNATURE, add_file, seal, verify
from tunesmith.inference.ensemble_folder import save_ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.inference.signed import look_at, sign_artifact


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    return saved(tmp_path_factory.mktemp("made") / "one", "one", tiny_model_folder, *TASK_CASES["single_label"])


@pytest.fixture
def artifact(made: Path, signing_keys: Path, tmp_path: Path) -> Path:
    """An artifact that we have signed."""
    folder = Path(shutil.copytree(made, tmp_path / "artifact"))
    sign_artifact(folder, signing_keys / "our.key")
    return folder


def test_a_signed_artifact_is_the_same_artifact(artifact: Path, made: Path, trusted_keys: TrustedKeys) -> None:
    seen = look_at(artifact, trusted_keys)
    assert (seen.is_trusted, seen.key) == (True, next(iter(trusted_keys.keys)))
    assert (artifact / MANIFEST).read_bytes() == (made / MANIFEST).read_bytes()
    assert Predictor.load(artifact).predict_texts(["a"]) == Predictor.load(made).predict_texts(["a"])


def _a_changed_file(folder: Path) -> None:
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")


def _a_changed_file_and_manifest(folder: Path) -> None:
    signature = (folder / SIGNATURE).read_bytes()
    _a_changed_file(folder)
    seal(folder)
    (folder / SIGNATURE).write_bytes(signature)


def _a_file_more(folder: Path) -> None:
    (folder / "adapter.safetensors").write_bytes(b"")


def _a_file_more_in_a_folder(folder: Path) -> None:
    (folder / "members" / "1").mkdir(parents=True)
    (folder / "members" / "1" / "artifact.json").write_text("{}")


def _a_folder_that_is_a_link(folder: Path) -> None:
    (folder / "members").symlink_to(folder.parent)


def _a_signature_that_is_a_link(folder: Path) -> None:
    (folder / SIGNATURE).rename(folder.parent / SIGNATURE)
    (folder / SIGNATURE).symlink_to(folder.parent / SIGNATURE)


def _no_signature(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


@pytest.mark.parametrize(
    "change",
    [
        *(_a_changed_file, _a_changed_file_and_manifest, _a_file_more, _a_file_more_in_a_folder),
        *(_a_folder_that_is_a_link, _a_signature_that_is_a_link, _no_signature),
    ],
)
def test_whatever_is_changed_takes_the_trust_away(
    change: Callable[[Path], None], artifact: Path, trusted_keys: TrustedKeys
) -> None:
    change(artifact)
    with pytest.raises(ArtifactError):
        look_at(artifact, trusted_keys)


def test_a_new_manifest_takes_the_signature_away(artifact: Path, trusted_keys: TrustedKeys, signing_keys: Path) -> None:
    """Else a form put beside would leave a signature that holds no longer, and nobody would see why."""
    add_file(artifact, "report.html", "<p>")
    assert not (artifact / SIGNATURE).exists()
    verify(artifact)
    with pytest.raises(UntrustedError, match="not signed"):
        look_at(artifact, trusted_keys)
    sign_artifact(artifact, signing_keys / "our.key")
    assert look_at(artifact, trusted_keys).is_trusted


def test_what_is_damaged_is_not_signed(artifact: Path, signing_keys: Path) -> None:
    signature = (artifact / SIGNATURE).read_bytes()
    _a_changed_file(artifact)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        sign_artifact(artifact, signing_keys / "our.key")
    assert (artifact / SIGNATURE).read_bytes() == signature


def test_the_signature_of_an_ensemble_is_for_its_members_too(
    artifact: Path, signing_keys: Path, trusted_keys: TrustedKeys, tmp_path: Path
) -> None:
    """A member's own signature, by whomever, is a file as any other."""
    sign_artifact(artifact, signing_keys / "their.key")
    whole = tmp_path / "ensemble"
    save_ensemble(whole, [artifact, artifact], "probabilities")
    with pytest.raises(UntrustedError, match="not signed"):
        look_at(whole, trusted_keys)
    sign_artifact(whole, signing_keys / "our.key")
    assert look_at(whole, trusted_keys).is_trusted
    assert len(Predictor.load(whole).members) == 2
    seal(whole / "members" / "2")  # without its signature
    with pytest.raises(ArtifactError, match="members/2"):
        look_at(whole, trusted_keys)


def asked(*arguments: object) -> int:
    return cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))


def test_the_verbs_make_keys_sign_and_verify(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, key = Path(shutil.copytree(made, tmp_path / "artifact")), tmp_path / "a.key"
    assert asked("signing-keys", key) == 0
    assert asked("signing-keys", key) == 2
    assert asked("verify", folder) == 0
    assert "not signed" in capsys.readouterr().out
    assert asked("verify", folder, "--trusted", f"{key}.pub") == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert "The artifact is not signed." in shown
    assert "tunesmith sign ARTIFACT" in shown
    assert asked("sign", folder, "--key", key) == 0
    assert asked("verify", folder) == 0
    assert "NOTHING of its signature was checked" in " ".join(capsys.readouterr().out.split())
    assert asked("verify", folder, "--trusted", f"{key}.pub", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["is_trusted"]
    assert told["files"] == len(json.loads((folder / MANIFEST).read_text()))
    assert asked("sign", folder, "--key", f"{key}.pub") == 2
    assert asked("verify", folder, "--trusted", key) == 2


def test_a_command_to_give_next_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "发布 密钥.key"
    assert asked("signing-keys", key) == 0
    last = capsys.readouterr().out.replace("\n", " ").partition("Next:")[2]
    assert shlex.split(last) == ["tunesmith", "sign", "ARTIFACT", "--key", str(key)]


def test_every_artifact_is_looked_at_though_one_is_refused(
    made: Path, tmp_path: Path, signing_keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [Path(shutil.copytree(made, tmp_path / name)) for name in ("good", "changed", "unsigned", "last")]
    for one in (folders[0], folders[1], folders[3]):
        sign_artifact(one, signing_keys / "our.key")
    _a_changed_file(folders[1])
    trusted = ("--trusted", signing_keys / "our.key.pub")
    assert asked("verify", *folders, *trusted) == 2
    told = capsys.readouterr()
    lines = told.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(one) for one in folders]
    assert ["REFUSED" in line for line in lines] == [False, True, True, False]
    assert "2 of 4 artifacts are refused" in told.err
    assert asked("verify", *folders, *trusted, "--json") == 2
    rows = json.loads(capsys.readouterr().out)
    assert [row["artifact"] for row in rows] == [str(one) for one in folders]
    assert rows[2]["fault"]["what"] == "The artifact is not signed."
    assert [row.get("is_trusted") for row in rows] == [True, None, None, True]
    assert asked("verify", folders[0], folders[2], *trusted) == 2
    assert "The artifact is not signed." in capsys.readouterr().err


def test_the_folder_of_a_run_is_told_from_its_artifact(
    made: Path, tmp_path: Path, signing_keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made, tmp_path / "run" / "artifact")
    for given in (["verify"], ["verify", "--trusted", signing_keys / "our.key.pub"], ["sign", "--key", "a.key"]):
        assert asked(given[0], tmp_path / "run", *given[1:]) == 2
        shown = "".join(capsys.readouterr().err.split())
        assert "".join(f"Give {tmp_path / 'run' / 'artifact'}.".split()) in shown, given


def test_the_walk_of_the_documents_runs(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    walk = page.partition("## Signed artifacts")[2].partition("```console\n")[2].partition("```")[0]
    lines = [shlex.split(line.removeprefix("$ tunesmith "), comments=True) for line in walk.strip().splitlines()]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "runs" / "sst2" / "artifact")
    assert [line[0] for line in lines] == ["signing-keys", "sign", "verify", "serve"]
    assert [asked(*line) for line in lines[:3]] == [0, 0, 0]
    assert "signed by the trusted key" in " ".join(capsys.readouterr().out.split())
