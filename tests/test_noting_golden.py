"""Which golden examples an artifact learnt from is noted in it where its data are; no text, and nothing half-known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from tunesmith.access.manifest_signatures import make_keys
from tunesmith.cli import app
from tunesmith.errors import DataError
from tunesmith.inference.artifact import SIGNATURE, file_hash, seal, verify
from tunesmith.inference.learnt_golden import LEARNT, Receipt, receipts_in
from tunesmith.inference.signed import sign_artifact
from tunesmith.noting_golden import note_golden


@pytest.fixture
def artifact(finished_run: Path, tmp_path: Path) -> Path:
    """A run's artifact, whose data are there as they were."""
    shutil.copytree(finished_run / "artifact", tmp_path / "artifact")
    return tmp_path / "artifact"


def rows_of(artifact: Path, split: str) -> list[str]:
    recipe = yaml.safe_load((artifact / "recipe.yaml").read_text(encoding="utf-8"))
    return Path(recipe["data"][split]).read_text(encoding="utf-8").splitlines()


def golden_of(artifact: Path, place: Path) -> Path:
    """Two texts that the model trained on among its test texts, one of them with other case and blanks."""
    head, *test = rows_of(artifact, "test")
    train = rows_of(artifact, "train")[1:]
    text, _, label = train[3].rpartition(",")
    path = place / "golden.csv"
    rows = [head, test[0], train[0], *test[1:5], f"{text.upper().replace(' ', '  ')},{label}", *test[5:]]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def asked(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def test_what_was_learnt_is_noted_by_place_and_no_text_is(artifact: Path, tmp_path: Path) -> None:
    golden = golden_of(artifact, tmp_path)
    code, said = asked("golden", artifact, "--data", golden)
    assert (code, "was trained on or chosen by 2 of the 18 golden examples" in said) == (0, True)
    (found,) = receipts_in(artifact)
    assert found == Receipt(file_hash(golden), 18, (1, 6))
    verify(artifact)
    told = (artifact / LEARNT).read_text(encoding="utf-8")
    assert json.loads(told) == {found.sha256: {"examples": 18, "learnt": [1, 6]}}


def test_a_second_file_is_noted_beside_and_the_same_one_once(artifact: Path, tmp_path: Path) -> None:
    golden = golden_of(artifact, tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("\n".join(rows_of(artifact, "test")) + "\n", encoding="utf-8")
    for file in (golden, other, golden):
        assert asked("golden", artifact, "--data", file, "--json")[0] == 0
    assert [len(one.places) for one in receipts_in(artifact)] == [2, 0]


def test_a_signature_that_does_not_hold_any_more_is_taken_away_and_said(artifact: Path, tmp_path: Path) -> None:
    make_keys(tmp_path / "our.key")
    sign_artifact(artifact, tmp_path / "our.key")
    code, said = asked("golden", artifact, "--data", golden_of(artifact, tmp_path))
    assert (code, "sign it anew" in said) == (0, True)
    assert not (artifact / SIGNATURE).exists()


def test_where_its_data_are_gone_nothing_is_noted(artifact: Path, tmp_path: Path) -> None:
    golden = golden_of(artifact, tmp_path)
    recipe = (artifact / "recipe.yaml").read_text(encoding="utf-8")
    train = yaml.safe_load(recipe)["data"]["train"]
    (artifact / "recipe.yaml").write_text(recipe.replace(train, f"{train}.gone"), encoding="utf-8")
    seal(artifact)
    with pytest.raises(DataError, match="so nothing was noted"):
        note_golden(artifact, golden)
    assert not (artifact / LEARNT).exists()


def test_a_golden_file_that_is_not_there_is_said(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no such file"):
        note_golden(artifact, tmp_path / "none.csv")
