"""Patterns in a tokenizer.json, which its library runs on every text with a backtracking engine.

A pattern such as "(a+)+" takes exponential time on a short text that was made for it (huggingface/tokenizers, pull
request 2060, CWE-1333). Whether a pattern is harmless cannot be told in general, so only known ones pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tunesmith.errors import ModelError

MOST_BYTES = 200_000_000
_FILE = "tokenizer.json"
_CONFIGS = ("tokenizer_config.json", "config.json", "processor_config.json")
_ASKING_FOR_CODE = ("auto_map", "custom_pipelines")

PATTERNS: Mapping[str, str] = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "GPT-2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "GPT-2, shorter",
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+": "CLIP",
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    ): "Llama 3, GPT-4",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": (
        "Qwen2, Qwen2.5, Qwen3"
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    ): "Qwen3.5",
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
        r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ): "Mistral with Tekken",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+": "CLIP",
    r" {2,}": "XLM-RoBERTa, T5, BigBird, Pegasus: runs of blanks",
    r"\s+": "CLIP: runs of white space",
    r"\s{2,}|[\n\r\t]": "DeBERTa-v2, BARThez",
    r"[\n\r\t]": "breaks",
    r"\n": "Pegasus",
    r"[0-9]": "single digits",
    r"\d": "single digits",
    r"\p{N}": "single digits",
    r"\p{N}{1,3}": "groups of digits",
    r"[0-9][0-9][0-9]": "Falcon: groups of digits",
}
"""Each known pattern and who uses it. A test runs each on long texts that were made against it."""


def check_tokenizer(folder: Path) -> None:
    """See that a model's folder holds no tokenizer with unknown patterns, and no configuration that asks for code.

    A folder without tokenizer.json passes: its patterns then come from the library.

    Raises:
        ModelError: an unknown pattern, a key that stands twice (of which two readers may take different ones), a file
            that is too large or no JSON, or code that is asked for.
    """
    for name in _CONFIGS:
        if (folder / name).exists():
            found = _read(folder / name)
            for key in _ASKING_FOR_CODE:
                if isinstance(found, dict) and key in found:
                    what = f"The configuration asks for code of its own ({key}), which Tunesmith does not run."
                    raise _refusal(what, folder / name, "Choose a model that transformers supports itself.")
    path = folder / _FILE
    if not path.exists():
        return
    for place, pattern in _patterns(_read(path), ""):
        if not isinstance(pattern, str) or pattern not in PATTERNS:
            shown = repr(pattern)[:120]
            raise _refusal(
                f"The tokenizer holds an unknown pattern at {place}: {shown}. It could take forever on a short text.",
                path,
                "Use a model with a known tokenizer. If you are sure that time grows with the text alone, propose the "
                "pattern for tunesmith.access.tokenizer_check.PATTERNS.",
            )


def _patterns(value: object, place: str) -> Iterator[tuple[str, object]]:
    """All regular expressions in a tokenizer, with their places; the pieces of its vocabulary are none."""
    if isinstance(value, dict):
        for key, item in value.items():
            if place == "model" and key in ("vocab", "merges"):
                continue
            if key == "Regex":
                yield place, item
            yield from _patterns(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _patterns(item, f"{place}[{number}]")


def _read(path: Path) -> object:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refusal(f"The file is larger than {MOST_BYTES:,} bytes.", path, "Use another model.")
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (OSError, ValueError, RecursionError) as error:
        reason = f": {error}" if isinstance(error, _TwiceError) else ""
        raise _refusal(f"The file is not readable JSON{reason}.", path, "Download the model again.") from error


class _TwiceError(ValueError):
    """A key stands twice."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the key {twice[:60]!r} stands twice in one object")
    return found


def _refusal(what: str, path: Path, to_do: str) -> ModelError:
    return ModelError(what, where=str(path), to_do=to_do)
