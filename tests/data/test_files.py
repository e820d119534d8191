"""Files that are not what they should be are refused with a reason, whatever is wrong with their bytes or names."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tunesmith.data.files import Place, known_encoding, read_lines
from tunesmith.errors import DataError


def write(folder: Path, name: str, content: bytes) -> Place:
    (folder / name).write_bytes(content)
    return Place.of(str(folder / name))


@pytest.mark.parametrize(
    "name", ["hex", "rot13", "idna", "punycode", "undefined", "unicode_escape", "utf-7", "a\0b", "", "utf-9"]
)
def test_what_is_no_encoding_of_files_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="Unknown encoding"):
        known_encoding(name)


@pytest.mark.parametrize(
    "name", ["utf-8", "UTF8", "gb18030", "gbk", "big5", "latin-1", "utf-16", "utf-8-sig", "cp1252"]
)
def test_the_usual_encodings_are_known(name: str) -> None:
    assert known_encoding(name)


def test_utf16_without_its_mark_is_explained(tmp_path: Path) -> None:
    place = write(tmp_path, "a.txt", "good\n".encode("utf-16-le"))
    with pytest.raises(DataError, match="not utf-16 text") as error:
        list(read_lines(place, "utf-16"))
    assert "utf-16-le" in error.value.to_do
    assert list(read_lines(place, "utf-16-le")) == ["good\n"]


@pytest.mark.parametrize("content", [b"a\tx\rb\ty\r", b"a O\rb B-X"])
def test_lines_that_end_as_on_old_macintoshes_are_refused_instead_of_joined(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="carriage return"):
        list(read_lines(write(tmp_path, "a.txt", content), "utf-8"))


@pytest.mark.parametrize("content", [b"a\r\nb\r\n", b"only\r\n", b"only", b'"a\rb"\n'])
def test_other_line_ends_are_kept(content: bytes, tmp_path: Path) -> None:
    assert "".join(read_lines(write(tmp_path, "a.txt", content), "utf-8")) == content.decode()


def test_a_path_that_can_be_none_is_explained() -> None:
    with pytest.raises(DataError, match=r"too long|does not exist"):
        Place.of("x" * 5000)


def test_a_zip_is_a_zip_in_capitals_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "A.ZIP", "w") as archive:
        archive.writestr("a.csv", "text\n")
    for path in (f"{tmp_path / 'A.ZIP'}", f"{tmp_path / 'A.ZIP'}!a.csv"):
        place = Place.of(path)
        assert (place.inside, place.suffix, place.keys) == ("a.csv", ".csv", ())
        assert list(read_lines(place, "utf-8")) == ["text\n"]


def test_a_zip_of_a_later_version_is_explained(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as archive:
        archive.writestr("a.csv", "text\n")
    content = bytearray((tmp_path / "plain.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    with pytest.raises(DataError, match=r"version 9\.9"):
        write(tmp_path, "a.zip", bytes(content))
