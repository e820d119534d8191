"""Where keys are trusted nothing else is served: at the start, by request, behind guards, in workers, at promotion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.builders import TASK_CASES
from tests.service.running import FakeEngine, Response, Running, running, saved
from tests.service.test_sharing import working
from tunesmith import cli, cli_service
from tunesmith.access.manifest_signatures import TrustedKeys
from tunesmith.errors import TunesmithError
from tunesmith.inference.artifact import MANIFEST, SIGNATURE, file_hash, seal
from tunesmith.inference.signed import sign_artifact
from tunesmith.service.serving import Settings
from tunesmith.service.versions import read_version


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """Two versions of a model, without signatures."""
    root = tmp_path_factory.mktemp("root")
    for seed, name in ((0, "first"), (40, "second")):
        saved(root / "classes" / name, "classes", tiny_model_folder, *TASK_CASES["single_label"], seed=seed)
    return root


@pytest.fixture
def root(made_once: Path, signing_keys: Path, tmp_path: Path) -> Path:
    """Two versions of a model, both signed by us."""
    root = Path(shutil.copytree(made_once, tmp_path / "root"))
    for name in ("first", "second"):
        sign_artifact(root / "classes" / name, signing_keys / "our.key")
    return root


def admin(service: Running, verb: str, version: str, language: str = "en") -> Response:
    return service.post(f"/admin/models/classes:{verb}", {"version": version}, accept_language=language)


def unsigned(folder: Path, signing_keys: Path) -> None:
    (folder / SIGNATURE).unlink()


def signed_by_another(folder: Path, signing_keys: Path) -> None:
    sign_artifact(folder, signing_keys / "their.key")


def forged(folder: Path, signing_keys: Path) -> None:
    """Changed, with sums that fit, and the signature that was there."""
    signature = (folder / SIGNATURE).read_bytes()
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    seal(folder)
    (folder / SIGNATURE).write_bytes(signature)


FORGERIES: dict[Callable[[Path, Path], None], tuple[str, str]] = {
    unsigned: ("not signed", "未签名"),
    signed_by_another: ("not trusted here", "不受信任"),
    forged: ("does not fit its manifest", "不符"),
}


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_version_without_a_trusted_signature_is_refused_and_the_traffic_goes_on(
    forge: Callable[[Path, Path], None], root: Path, signing_keys: Path, trusted_keys: TrustedKeys
) -> None:
    first = read_version(root / "classes" / "first", trusted=trusted_keys)
    second = root / "classes" / "second"
    forge(second, signing_keys)
    engine = FakeEngine()
    with running([first], engine, Settings(root=root, trusted=trusted_keys)) as service:
        for language, sentence in zip(("en", "zh"), FORGERIES[forge], strict=True):
            answer = admin(service, "load", "second", language)
            assert (answer.status, answer.body["code"]) == (409, "untrusted"), answer.text
            assert sentence in answer.body["detail"]
        assert engine.loaded == [first.slot.name]
        assert service.predict("classes", "good film").body["version"] == first.id
        sign_artifact(second, signing_keys / "our.key")
        assert admin(service, "load", "second").status == 200
    with running([first], FakeEngine(), Settings(root=root)) as service:
        forge(second, signing_keys)
        assert admin(service, "load", "second").status == 200, "nobody asked for signatures"


def test_what_was_replaced_after_it_was_loaded_is_not_promoted(
    root: Path, signing_keys: Path, trusted_keys: TrustedKeys
) -> None:
    """A worker that ends would find another artifact there, or none that is trusted."""
    first = read_version(root / "classes" / "first", trusted=trusted_keys)
    second = root / "classes" / "second"
    with running([first], FakeEngine(), Settings(root=root, trusted=trusted_keys)) as service:
        told = admin(service, "load", "second").body
        loaded = told["version"]
        assert told["sha256"] == file_hash(second / MANIFEST), "of what was loaded, not of the champion"
        shutil.copytree(second, root / "kept")
        forged(second, signing_keys)
        refused = admin(service, "promote", loaded, "zh")
        assert (refused.status, refused.body["code"]) == (409, "untrusted")
        assert "不符" in refused.body["detail"]
        sign_artifact(second, signing_keys / "our.key")  # trusted, but another one than was loaded
        assert "replaced" in admin(service, "promote", loaded).body["detail"]
        assert service.get("/v1/models/classes").body["roles"]["champion"] == first.id
        shutil.rmtree(second)
        assert admin(service, "promote", loaded).status == 409
        (root / "kept").rename(second)
        assert admin(service, "promote", loaded).body["roles"]["champion"] == loaded


def test_workers_load_what_was_seen_to_be_signed_and_nothing_else(
    root: Path, signing_keys: Path, trusted_keys: TrustedKeys
) -> None:
    """They are told the digest of the manifest that was signed; replicas in Ray hand it on to their worker."""
    version = read_version(root / "classes" / "first", trusted=trusted_keys)
    with working() as (_, ask):
        assert "facts" in ask(do="load", **version.slot.plain)
        ask(do="unload", slot=version.slot.name)
        forged(root / "classes" / "first", signing_keys)
        assert "another artifact than the front" in ask(do="load", **version.slot.plain)["refused"][0]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trusted keys of the services that would have started; none does."""
    given: list[Any] = []

    def stop(versions: Any, engine: Any, doors: Any, settings: Settings, behind: Any, tracer: Any) -> None:
        given.append(settings.trusted)
        raise TunesmithError("Everything was read.")

    monkeypatch.setattr(cli_service, "assembled", stop)
    return given


def served(tmp_path: Path, *arguments: object) -> int:
    command = ["serve", *map(str, arguments), "--port", "0", "--workers", "1", "--state", str(tmp_path / "state")]
    return cli.guarded(lambda: cli.app(command, standalone_mode=False))


def test_a_service_does_not_start_with_what_nobody_trusted_signed(
    root: Path, signing_keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], given: list[Any]
) -> None:
    unsigned(root / "classes" / "first", signing_keys)
    assert served(tmp_path, root / "classes" / "first", "--trusted", signing_keys / "our.key.pub") == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert "The artifact is not signed." in shown
    assert "tunesmith sign ARTIFACT --key FILE" in shown
    assert served(tmp_path, root / "classes" / "second", "--trusted", signing_keys / "our.key") == 2
    assert "the public one" in " ".join(capfd.readouterr().err.split())
    assert not given


def test_the_artifacts_that_find_names_have_to_be_signed_too(
    root: Path, signing_keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], given: list[Any]
) -> None:
    tagger = root / "classes" / "second"
    unsigned(tagger, signing_keys)
    names = ["--redact", "mask", "--redact-names", tagger]
    assert served(tmp_path, root / "classes" / "first", *names, "--trusted", signing_keys / "our.key.pub") == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert "The artifact is not signed." in shown
    assert str(tagger) in shown
    assert not given


def test_the_models_that_guards_ask_have_to_be_signed_too(
    root: Path, signing_keys: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], given: list[Any]
) -> None:
    judge = Path(shutil.copytree(root / "classes" / "second", tmp_path / "judge"))
    guards = {"guards": [{"name": "toxicity", "artifact": "judge", "labels": ["bad"]}]}
    (tmp_path / "guards.json").write_text(json.dumps(guards))
    others = ["--guards", tmp_path / "guards.json", "--trusted", signing_keys / "their.key.pub"]
    command = [root / "classes" / "first", *others, "--trusted", signing_keys / "our.key.pub"]
    assert served(tmp_path, *command) == 2
    assert "Everything was read." in capfd.readouterr().err
    assert [len(one.keys) for one in given] == [2], "what is loaded by request later has to be signed by one of them"
    unsigned(judge, signing_keys)
    assert served(tmp_path, *command) == 2
    shown = " ".join(capfd.readouterr().err.split())
    assert "The artifact is not signed." in shown
    assert "judge" in shown
