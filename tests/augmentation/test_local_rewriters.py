"""Local models that write: those that are named, each direction its own; a text that is too long has no answer."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from tests.conftest import build_tokenizer
from tunesmith.augmentation.rewriters import answers
from tunesmith.augmentation.rewriters.answers import open_task
from tunesmith.augmentation.rewriters.chat_model import ChatModel
from tunesmith.augmentation.rewriters.ctranslate2 import CTranslate2
from tunesmith.augmentation.rewriters.seq2seq import TranslationModels
from tunesmith.errors import MissingExtraError, ModelError, RecipeError
from tunesmith.tasks import SequenceToSequence, TextGeneration


@pytest.fixture
def never_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers count that are cut: the tiny models learnt no end."""
    monkeypatch.setattr(answers, "is_unfinished", lambda task, output: False)


@pytest.mark.usefixtures("never_ending")
def test_encoder_decoders_translate_each_direction_by_its_model(tiny_bart_folder: Path, tiny_t5_folder: Path) -> None:
    opened = TranslationModels(forth=str(tiny_bart_folder), back=str(tiny_t5_folder), max_new_tokens=8).opened()
    found = opened.rewritten(["good film", "", "the day was bad"])
    assert found[1] == ""
    middle = open_task(str(tiny_bart_folder), SequenceToSequence(beams=2, max_new_tokens=8)).answers(["good film"])
    (last,) = open_task(str(tiny_t5_folder), SequenceToSequence(beams=2, max_new_tokens=8)).answers(middle)
    assert found[0] == last != ""
    assert opened.rewritten(["good film", "", "the day was bad"]) == found
    both = TranslationModels(forth=str(tiny_bart_folder), max_new_tokens=8).opened()
    assert both.identity != opened.identity
    assert opened.destination == ""


def test_a_text_beyond_the_window_has_no_translation(tiny_bart_folder: Path) -> None:
    opened = TranslationModels(forth=str(tiny_bart_folder), max_new_tokens=4).opened()
    assert opened.models[0].answers(["good " * 200]) == [""]


def test_what_had_not_ended_after_the_most_tokens_is_no_answer(
    tiny_bart_folder: Path, tiny_llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = TranslationModels(forth=str(tiny_bart_folder), max_new_tokens=4).opened().models[0]
    chat = ChatModel(model=str(tiny_llama_folder), max_new_tokens=6).opened()
    assert cut.answers(["good film"]) == [""]
    assert chat.rewritten(["good film"]) == [""]
    monkeypatch.setattr(answers, "is_unfinished", lambda task, output: False)
    assert cut.answers(["good film"]) != [""], "something was written"
    assert chat.rewritten(["good film"]) != [""]


@pytest.mark.usefixtures("never_ending")
def test_a_causal_model_answers_by_its_chat_template(tiny_llama_folder: Path) -> None:
    opened = ChatModel(model=str(tiny_llama_folder), max_new_tokens=6).opened()
    requests = ["Say this in other words: good film", "", "x" * 2000]
    found = opened.rewritten(requests)
    assert found[1:] == ["", ""]
    assert found == opened.rewritten(requests)
    drawn = ChatModel(model=str(tiny_llama_folder), max_new_tokens=6, temperature=1.0).opened()
    assert drawn.identity != opened.identity


def test_models_of_another_kind_are_refused(
    tiny_bart_folder: Path, tiny_llama_folder: Path, finished_run: Path
) -> None:
    with pytest.raises(ModelError, match="no form that writes text"):
        ChatModel(model=str(tiny_bart_folder)).opened()
    with pytest.raises(ModelError, match="no form that reads one text"):
        TranslationModels(forth=str(tiny_llama_folder)).opened()
    with pytest.raises(ModelError, match="does not write such texts"):
        open_task(str(finished_run / "artifact"), TextGeneration())


def test_mistaken_settings_are_explained() -> None:
    with pytest.raises(RecipeError, match="language and pivot are given together"):
        TranslationModels(language="eng_Latn")
    with pytest.raises(RecipeError, match="at least 1"):
        TranslationModels(beams=0)
    with pytest.raises(RecipeError, match="temperature"):
        ChatModel(temperature=-1)
    with pytest.raises(RecipeError, match="No converted model"):
        CTranslate2()
    with pytest.raises(RecipeError, match="language and pivot"):
        CTranslate2(forth="a", pivot="spa_Latn")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """A ctranslate2 that turns "good" into "bad" and puts the wanted language before; gives what it was asked."""
    asked: list[dict[str, object]] = []

    class Translator:
        def __init__(self, path: str, *, device: str, compute_type: str) -> None:
            asked.append({"path": path, "device": device, "compute_type": compute_type})

        def translate_batch(self, rows, *, target_prefix, beam_size, max_decoding_length, max_batch_size):
            asked.append({"rows": rows, "prefix": target_prefix, "beams": beam_size, "most": max_decoding_length})
            swapped = [["bad" if token == "good" else token for token in row] for row in rows]
            return [SimpleNamespace(hypotheses=[row]) for row in swapped]

    made = ModuleType("ctranslate2")
    made.Translator = Translator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ctranslate2", made)
    return asked


def test_converted_models_are_asked_in_tokens(library: list[dict[str, object]], tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    build_tokenizer().save_pretrained(tmp_path)
    opened = CTranslate2(forth=str(tmp_path), beams=3, max_new_tokens=9, compute="int8").opened()
    assert opened.rewritten(["good film", "", "a good day", "a " * 70]) == ["bad film", "", "a bad day", ""]
    assert library[0] == {"path": str(tmp_path), "device": "cpu", "compute_type": "int8"}
    rows = [["[CLS]", "good", "film", "[SEP]"], ["[CLS]", "a", "good", "day", "[SEP]"]]
    assert library[2] == {"rows": rows, "prefix": None, "beams": 3, "most": 9}
    short = CTranslate2(forth=str(tmp_path), max_new_tokens=4).opened()
    assert short.models[0].answers(["good film", "a film"]) == ["", ""], "they had not ended"


def test_converted_models_that_are_not_there_are_explained(
    library: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match=r"no model\.bin"):
        CTranslate2(forth=str(tmp_path)).opened()
    (tmp_path / "model.bin").write_bytes(b"weights")
    with pytest.raises(ModelError, match="no tokenizer"):
        CTranslate2(forth=str(tmp_path)).opened()
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(MissingExtraError, match="'ctranslate2' is not installed"):
        CTranslate2(forth=str(tmp_path)).opened()
