"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tunesmith.errors import ResourceError
from tunesmith.writing import new_files, written


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as error, written(tmp_path / "none" / "a.jsonl"):
        pass
    assert error.value.to_do == f"Make the folder {tmp_path / 'none'} first, or choose another place."


def test_a_folder_and_what_lies_below_a_file_are_told_apart_from_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="this is a folder") as error, written(tmp_path):
        pass
    assert error.value.to_do.startswith("Name a file")
    with pytest.raises(ResourceError, match="this is a folder"), new_files({tmp_path: ["1"]}):
        pass
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for below in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(ResourceError, match="is a file, no folder") as error, written(below):
            pass
        assert error.value.to_do == "Choose another place."
    with pytest.raises(ResourceError, match="too long"), written(tmp_path / ("x" * 250)):
        pass
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["mine"]


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "a.txt"
    place.write_text("before", encoding="utf-8")

    def halfway() -> None:
        with written(place) as file:
            file.write("after")
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        halfway()
    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["before"]


def test_new_files_are_there_together_and_stay(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "b")
    with new_files({tmp_path / "a": ["1", "2"], link: ["3"]}):
        assert ((tmp_path / "a").read_text(), link.read_text()) == ("12", "3")
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "link"}
    assert link.is_symlink()


@pytest.mark.parametrize("has_links", [True, False])
def test_new_files_replace_nothing_and_go_again_with_their_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_links: bool
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    if not has_links:
        monkeypatch.setattr(os, "link", no_links)
    (tmp_path / "b").write_text("mine")
    with pytest.raises(ResourceError, match="there already"), new_files({tmp_path / "a": ["1"], tmp_path / "b": ["2"]}):
        pass
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]

    def halfway() -> None:
        with new_files({tmp_path / "a": ["1"], tmp_path / "c": ["2"]}):
            assert (tmp_path / "c").read_text() == "2"
            raise ValueError("halfway")

    with pytest.raises(ValueError, match="halfway"):
        halfway()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]
    with new_files({tmp_path / "a": ["1"]}):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_new_file_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ResourceError), new_files({tmp_path / "b": ["1"], tmp_path / "a" / "c": ["2"]}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
