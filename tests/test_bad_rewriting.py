"""Bad input of what writes texts anew: exit code 2, few lines on what, where and what to do, nothing half-written."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.builders import write_recipe
from tests.test_bad_input import files_below
from tunesmith import cli

ENDPOINT = {"name": "endpoint", "url": "https://api.example.org/v1", "model": "m"}
SPANS = "Anna B-PER\nwent O\nto O\nRome B-LOC\n\nno O\none O\nmet O\nBell B-PER\n"


@pytest.mark.parametrize(
    ("augmenter", "said"),
    [
        ({"name": "back_translate", "by": "apertium"}, "apt-get install apertium apertium-eng-spa"),
        ({"name": "back_translate", "by": "apertum"}, "Did you mean 'apertium'?"),
        ({"name": "back_translate", "by": {"name": "apertium", "fort": "a"}}, "Did you mean 'forth'?"),
        ({"name": "back_translate", "by": {"name": "translation_models", "forth": "no/such"}}, "could not be had"),
        ({"name": "back_translate", "by": {"name": "ctranslate2", "forth": "nowhere"}}, "ctranslate2"),
        ({"name": "paraphrase", "by": ENDPOINT}, "Training texts would be sent to api.example.org"),
        ({"name": "paraphrase", "by": {**ENDPOINT, "send_texts": True, "key": "NO_KEY"}}, "NO_KEY holds no key"),
        ({"name": "paraphrase", "by": {"name": "chat_model", "model": "model"}}, "no form that writes text"),
        ({"name": "fill_words", "model": "model"}, "fills in no words"),
        ({"name": "fill_words", "share": 2}, "share must lie above 0"),
    ],
)
def test_bad_rewriters_are_explained_and_leave_nothing_behind(
    augmenter: dict[str, object],
    said: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setenv("TUNESMITH_CACHE", str(place / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert said in complaint(write_recipe(place, augmenters=[augmenter]), place, capsys)


def test_labels_that_are_places_are_not_rewritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "train.conll").write_text(SPANS, encoding="utf-8")
    files = {"train": str(place / "train.conll"), "validation": "none", "test_share": 0}
    path = write_recipe(place, task={"name": "token_classification"}, data=files, augmenters=["back_translate"])
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["augmenters"] == ["back_translate"]
    assert "labels are places in the text" in complaint(path, place, capsys)


def complaint(recipe: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a run of the recipe complains of, on one line."""
    before = files_below(place)
    code = cli.guarded(lambda: cli.app(["run", str(recipe), "--out", str(place / "out")], standalone_mode=False))
    error = capsys.readouterr().err
    assert code == 2
    assert len(error.strip().splitlines()) <= 6
    assert "Traceback" not in error
    assert files_below(place) == before
    return " ".join(error.split())
