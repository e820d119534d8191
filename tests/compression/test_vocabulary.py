"""Pieces taken out of tokenizers: texts of the kept scripts are read and answered as before, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

from tests.builders import CLASSES, DIALOGUES, SPANS, build_model, torch_model
from tests.compression.workbench import save, trained_model, workshop_of
from tests.conftest import SIZES
from tunesmith.compression import Vocabulary
from tunesmith.compression.pieces import pieces_of, read_by, with_pieces
from tunesmith.data.records import Example
from tunesmith.data.scripts import script_of
from tunesmith.errors import ModelError, RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import SequenceClassification, TextGeneration, TokenClassification

MIXED = ["Anna went to Rome", "good 2012!", "x", "no-one's naïve", "张三在北京", "good 张 day"]


@pytest.mark.parametrize(
    ("character", "script"),
    [
        ("a", "Latin"), ("é", "Latin"), ("张", "Han"), ("々", "Han"), ("ж", "Cyrillic"), ("ا", "Arabic"),
        ("あ", "Hiragana"), ("ｱ", "Katakana"), ("한", "Hangul"), ("Ａ", "Latin"), ("ﬁ", "Latin"), ("7", ""), ("，", ""),
        ("€", ""), ("\u0301", ""), ("🙂", ""), ("अ", "Devanagari"), ("ि", "Devanagari"),
        ("\u00b5", ""), ("\u2126", ""), ("\u03bc", "Greek"),
    ],
)  # fmt: skip
def test_script_of_a_character(character: str, script: str) -> None:
    assert script_of(character) == script


def test_texts_of_kept_scripts_are_answered_the_same_to_the_last_bit(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, TokenClassification(casing=False), SPANS)
    latin = [replace(one, label=None) for one in SPANS if one.text.isascii()]
    before = Predictor(trained.model, trained.task, trained.encoder)
    expected, answers = before.logits(before.encode(latin)), before.predict(latin)
    size = len(trained.encoder.tokenizer)
    made = Vocabulary(scripts=("Latin",)).compress(trained, workshop_of(trained, SPANS, tmp_path))
    assert made.facts["before"] == size
    assert made.facts["kept"] == len(made.trained.encoder.tokenizer) < size - 100
    assert (made.facts["texts"], made.facts["affected"]) == (16, 2)  # the Chinese sentence, in both splits
    served = Predictor.load(save(made.trained, tmp_path / "small"))
    assert cast(nn.Embedding, torch_model(served).body.get_input_embeddings()).num_embeddings == made.facts["kept"]
    assert torch_model(served).config.vocab_size == made.facts["kept"]
    for one, other in zip(expected, served.logits(served.encode(latin)), strict=True):
        assert torch.equal(one, other)
    assert served.predict(latin) == answers


def test_seen_pieces_and_single_characters(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    tokenizer = trained.encoder.tokenizer
    made = Vocabulary(keep="seen").compress(trained, workshop_of(trained, CLASSES, tmp_path))
    left = set(made.trained.encoder.tokenizer.get_vocab())
    assert {"good", "film", "a", "##z", "张", "[CLS]"} <= left
    assert not {"london", "people"} & left
    assert made.facts["affected"] == 0
    # An unseen word is cut into letters: nothing is lost, but it is read otherwise.
    assert made.trained.encoder.tokenizer.tokenize("london") == ["l", "##o", "##n", "##d", "##o", "##n"]
    assert tokenizer.tokenize("london") == ["london"]


def test_pieces_of_a_file(tiny_model_folder: Path, tmp_path: Path) -> None:
    trained = trained_model(tiny_model_folder, SequenceClassification(), CLASSES)
    (tmp_path / "texts.txt").write_text("london people\n", encoding="utf-8")
    step = Vocabulary(keep="seen", texts=str(tmp_path / "texts.txt"))
    made = step.compress(trained, workshop_of(trained, CLASSES, tmp_path))
    assert "london" in made.trained.encoder.tokenizer.get_vocab()
    assert made.facts["affected"] == 2 * len(CLASSES)


def unigram() -> PreTrainedTokenizerFast:
    """A Unigram tokenizer of letters, words and characters of three scripts, whose padding is number 1."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("жж", -4.0), ("▁жук", -5.0)]
    pieces += [(letter, -6.0 - number / 10) for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")]
    pieces += [
        ("▁good", -4.5),
        ("▁bad", -4.6),
        ("oo", -4.7),
        ("▁day", -5.1),
        ("北京", -5.0),
        ("北", -7.0),
        ("京", -7.1),
    ]
    pieces += [("ж", -9.5), ("ук", -12.0), ("▁the", -4.2), ("▁film", -5.3)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>",
        sep_token="</s>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    )  # fmt: skip


def test_a_unigram_tokenizer_cuts_as_before(tmp_path: Path) -> None:
    tokenizer = unigram()
    pieces = pieces_of(tokenizer)
    kept = Vocabulary().kept(pieces, None)
    names = tokenizer.convert_ids_to_tokens(kept)
    assert not {"жж", "▁жук", "ж"} & set(names)
    assert {"<mask>", "ук", "北京", "▁good"} <= set(names)  # the least score sets the price of unknown characters
    smaller = with_pieces(tokenizer, kept)
    assert smaller.pad_token_id == 1
    assert smaller.convert_ids_to_tokens(smaller("good")["input_ids"]) == ["<s>", "▁good", "</s>"]
    texts = ["good day", "the bad film goood", "北京 good 南", "zebra xü"]
    for old, new in zip(read_by(tokenizer, texts), read_by(smaller, texts), strict=True):
        assert smaller.convert_ids_to_tokens(new) == tokenizer.convert_ids_to_tokens(old)


def test_a_roberta_with_fewer_unigram_pieces_answers_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tokenizer = unigram()
    config = RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=66, pad_token_id=1, type_vocab_size=1, **SIZES
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    trained = trained_model(tmp_path / "model", SequenceClassification(), CLASSES)
    before = Predictor(trained.model, trained.task, trained.encoder)
    asked = [Example(str(n), text) for n, text in enumerate(["good day", "the bad film", "北京 good"])]
    expected = before.logits(before.encode(asked))
    made = Vocabulary().compress(trained, workshop_of(trained, CLASSES, tmp_path))
    served = Predictor.load(save(made.trained, tmp_path / "small"))
    for one, other in zip(expected, served.logits(served.encode(asked)), strict=True):
        assert torch.equal(one, other)


def test_what_has_no_pieces_to_take_out_is_refused(tiny_llama_folder: Path, tiny_filler_folder: Path) -> None:
    model, task, _ = build_model(tiny_llama_folder, TextGeneration(), DIALOGUES)
    with pytest.raises(ModelError, match="output layer over its vocabulary"):
        Vocabulary().check(model, task)
    model, classes, _ = build_model(tiny_llama_folder, SequenceClassification(), CLASSES)
    with pytest.raises(ModelError, match="merging pairs"):
        Vocabulary().check(model, classes)
    with pytest.raises(RecipeError, match="Did you mean 'Latin'"):
        Vocabulary(scripts=("Latn",))
    with pytest.raises(RecipeError, match="no use"):
        Vocabulary(texts="a.txt")
