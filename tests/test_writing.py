"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.errors import ResourceError
from tunesmith.writing import written


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResourceError) as error, written(tmp_path / "none" / "a.jsonl"):
        pass
    assert error.value.to_do == f"Make the folder {tmp_path / 'none'} first, or choose another place."


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
