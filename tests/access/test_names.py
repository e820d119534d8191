"""Names out of requests lead to what lies below a folder and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.access.names import check_name, path_below
from tunesmith.access.refusals import RefusedError

BAD = [
    *(
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "~",
        "-a",
        "_a",
        ".a",
        "A",
        "a b",
        "a\n",
        "a\0",
        "ä",
        "模型",
    ),
    *("https://example.org/x", "org/model", "a" * 65, "a%2f", "con:", "a;b", "$(x)"),
]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_name_is_refused_and_not_repeated(name: str, tmp_path: Path) -> None:
    for act in (lambda: check_name(name), lambda: path_below(tmp_path, name)):
        with pytest.raises(RefusedError) as caught:
            act()
        assert caught.value.code == "bad_name"
        assert len(name) < 3 or name not in str(caught.value)


@settings(deadline=None)
@given(st.text(max_size=70))
def test_every_name_that_passes_is_one_plain_part_of_a_path(name: str) -> None:
    try:
        check_name(name)
    except RefusedError:
        return
    assert Path(name).parts == (name,)
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name)


@pytest.mark.parametrize("name", ["a", "ner", "minilm-l6", "v1.2_final", "0", "a" * 64, "a..b"])
def test_names_lead_to_what_is_there(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "1").mkdir(parents=True)
    assert path_below(tmp_path, name, "1") == (tmp_path / name / "1").resolve()


def test_links_and_what_is_not_there_are_refused_alike(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / "real").mkdir(parents=True)
    (elsewhere / "below").mkdir(parents=True)
    (root / "link").symlink_to(elsewhere)
    (root / "inside").symlink_to(root / "real")
    (root / "real" / "link").symlink_to(elsewhere / "below")
    said = set()
    for names in (("link",), ("link", "below"), ("inside",), ("real", "link"), ("missing",), ("real", "missing")):
        with pytest.raises(RefusedError) as caught:
            path_below(root, *names)
        said.add((caught.value.code, str(caught.value)))
    assert len(said) == 1


def test_what_lies_elsewhere_is_refused_even_if_its_name_were_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second lock: neither check is to hold alone."""
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("tunesmith.access.names.check_name", lambda name, kind: name)
    for name in ("..", "../elsewhere", str(tmp_path / "elsewhere")):
        with pytest.raises(RefusedError) as caught:
            path_below(tmp_path / "root", name)
        assert caught.value.code == "bad_path"


def test_the_folder_itself_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real" / "ner").mkdir(parents=True)
    (tmp_path / "models").symlink_to(tmp_path / "real")
    assert path_below(tmp_path / "models", "ner") == tmp_path / "real" / "ner"
