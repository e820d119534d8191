"""Tokenizers with unknown patterns are refused; those that are known take linear time in the engine that runs them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from tunesmith.access.tokenizer_check import PATTERNS, check_tokenizer
from tunesmith.errors import ModelError

EVIL = "(a+)+"


def saved(folder: Path, **parts: Any) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "Regex": 1}, "[UNK]"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def seconds(compiled: Any, text: str) -> float:
    """The least processor time of three tries."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        compiled.pre_tokenize_str(text)
        found.append(time.process_time() - begin)
    return min(found)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_known_patterns_pass_and_take_linear_time_on_texts_made_against_them(tmp_path: Path, pattern: str) -> None:
    check_tokenizer(saved(tmp_path, pre_tokenizer=pre_tokenizers.Sequence([split(pattern)])))
    compiled = split(pattern)
    for piece in (
        "a",
        "A",
        "aA",
        " ",
        "  \n",
        "\n",
        "\r\n ",
        "1",
        "'",
        "'s",
        "!",
        " !",
        "日",
        "\u0301",
        "a\u0301",
        "\t",
        "¹",
    ):
        for end in ("", "a", "!", "\n", "\ud7ff"):
            short, long = (seconds(compiled, piece * size + end) for size in (1000, 4000))
            # Four times the text: linear takes 4 times as long, quadratic 16; below a hundredth of a second is noise.
            assert long < 0.01 or long < 10 * short, (piece, end)


@pytest.mark.parametrize(
    "part",
    [
        {"pre_tokenizer": split(EVIL)},
        {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), split(EVIL)])},
        {"normalizer": normalizers.Replace(Regex(EVIL), "b")},
        {"normalizer": normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(EVIL), "b")])},
        {"decoder": decoders.Sequence([decoders.Replace(Regex(EVIL), "b")])},
    ],
    ids=["split", "split in a sequence", "replace", "replace in a sequence", "decoder"],
)
def test_unknown_patterns_are_refused_wherever_they_stand(tmp_path: Path, part: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="unknown pattern") as caught:
        check_tokenizer(saved(tmp_path, **part))
    assert EVIL in str(caught.value)


def test_a_pattern_that_differs_by_one_character_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="unknown pattern"):
        check_tokenizer(saved(tmp_path, normalizer=normalizers.Replace(Regex("( {2,})+"), " ")))


@pytest.mark.parametrize(
    "kind",
    [
        *(transformers.BertTokenizer, transformers.RobertaTokenizer, transformers.GPT2Tokenizer),
        *(
            transformers.LlamaTokenizer,
            transformers.Qwen2Tokenizer,
            transformers.CLIPTokenizer,
            transformers.T5Tokenizer,
        ),
        *(transformers.DebertaV2Tokenizer, transformers.XLMRobertaTokenizer, transformers.BigBirdTokenizer),
        *(transformers.MBart50Tokenizer, transformers.BartTokenizer, transformers.GemmaTokenizer),
    ],
)
def test_what_transformers_writes_of_its_own_tokenizers_passes(tmp_path: Path, kind: type) -> None:
    kind().save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").is_file()
    check_tokenizer(tmp_path)


def test_tokenizers_without_patterns_pass_and_words_of_the_vocabulary_are_none(tmp_path: Path) -> None:
    check_tokenizer(tmp_path)
    check_tokenizer(saved(tmp_path))
    part = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel()])
    check_tokenizer(saved(tmp_path, pre_tokenizer=part, normalizer=normalizers.Replace("(a+)+", "b")))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    text = (saved(tmp_path) / "tokenizer.json").read_text()
    evil = json.dumps({"type": "Replace", "pattern": {"Regex": EVIL}, "content": "b"})
    (tmp_path / "tokenizer.json").write_text(text.replace('"normalizer":', f'"normalizer": {evil}, "normalizer":', 1))
    with pytest.raises(ModelError, match="'normalizer' stands twice"):
        check_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\udcff"])
def test_damaged_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match="not readable JSON"):
        check_tokenizer(tmp_path)


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tunesmith.access.tokenizer_check.MOST_BYTES", 100)
    with pytest.raises(ModelError, match="larger"):
        check_tokenizer(saved(tmp_path))


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json", "processor_config.json"])
@pytest.mark.parametrize("key", ["auto_map", "custom_pipelines"])
def test_configurations_that_ask_for_code_are_refused(tmp_path: Path, name: str, key: str) -> None:
    saved(tmp_path)
    (tmp_path / name).write_text("{}")
    check_tokenizer(tmp_path)
    (tmp_path / name).write_text(json.dumps({key: {"AutoTokenizer": ["evil.Tokenizer", None]}}))
    with pytest.raises(ModelError, match="code of its own"):
        check_tokenizer(tmp_path)
