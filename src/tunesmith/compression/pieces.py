"""A tokenizer with fewer pieces, cut out of the JSON in which the tokenizers library keeps it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.errors import ModelError
from tunesmith.models.backbone import load_tokenizer, save_tokenizer

_WORD_START = "\u2581"
_FILE = "tokenizer.json"


@dataclass(frozen=True)
class Pieces:
    """The pieces of a tokenizer.

    Attributes:
        texts: each piece's characters, by its number, without marks of words' begins and parts; None for special ones.
        needed: numbers that must stay: special pieces, and what the tokenizer computes with.
    """

    texts: tuple[str | None, ...]
    needed: frozenset[int]


def pieces_of(tokenizer: PreTrainedTokenizerBase) -> Pieces:
    """The pieces of a WordPiece or Unigram tokenizer.

    Raises:
        ModelError: it is of another kind.
    """
    told = json.loads(tokenizer.backend_tokenizer.to_str())
    model, size = told["model"], len(tokenizer)
    texts: list[str | None] = [None] * size
    needed = {int(one["id"]) for one in told["added_tokens"]}
    if isinstance(model.get("vocab"), Mapping) and "max_input_chars_per_word" in model:
        mark = str(model.get("continuing_subword_prefix", "##"))
        for piece, number in model["vocab"].items():
            texts[number] = piece[len(mark) :] if piece.startswith(mark) and piece != mark else piece
        needed |= {model["vocab"][str(model["unk_token"])]} if model["unk_token"] in model["vocab"] else set()
    elif isinstance(model.get("vocab"), list) and "unk_id" in model:
        for number, (piece, _score) in enumerate(model["vocab"]):
            texts[number] = piece.lstrip(_WORD_START)
        needed |= {model["unk_id"]} if model["unk_id"] is not None else set()
        if model.get("byte_fallback"):
            needed |= {n for n, (piece, _) in enumerate(model["vocab"]) if piece.startswith("<0x")}
        # What an unknown character costs is reckoned from the least score of all pieces.
        needed.add(min(range(len(model["vocab"])), key=lambda number: float(model["vocab"][number][1])))
    else:
        raise ModelError(
            "The pieces of this tokenizer are made by merging pairs (BPE): each longer piece needs those that it is "
            "merged from, and pieces of bytes belong to no script, so that none can be taken out alone.",
            where="compress, vocabulary",
            to_do="Leave vocabulary out for this model.",
        )
    pad = tokenizer.pad_token_id
    # RoBERTa and its kin count places from the padding's number, which therefore must not change.
    needed |= set(range(int(pad) + 1)) if pad is not None else set()
    for number in needed:
        texts[number] = None
    return Pieces(tuple(texts), frozenset(needed))


def with_pieces(tokenizer: PreTrainedTokenizerBase, kept: Sequence[int]) -> PreTrainedTokenizerBase:
    """The tokenizer with only these pieces, numbered anew in their order."""
    place = {old: new for new, old in enumerate(kept)}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_tokenizer(tokenizer, folder)
        told = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        _renumber(told, place)
        for path in folder.iterdir():
            if path.name not in (_FILE, "tokenizer_config.json", "special_tokens_map.json") and path.suffix != ".jinja":
                path.unlink()  # other forms of the same vocabulary
        (folder / _FILE).write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        if added := settings.get("added_tokens_decoder"):
            settings["added_tokens_decoder"] = {str(place[int(old)]): one for old, one in added.items()}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
        made = load_tokenizer(folder)
    made.name_or_path = tokenizer.name_or_path
    return made


def _renumber(told: dict[str, Any], place: Mapping[int, int]) -> None:
    model = told["model"]
    if isinstance(model["vocab"], Mapping):
        model["vocab"] = {piece: place[old] for piece, old in model["vocab"].items() if old in place}
    else:
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in place]
        model["unk_id"] = None if model["unk_id"] is None else place[model["unk_id"]]
    for one in told["added_tokens"]:
        one["id"] = place[one["id"]]
    _renumber_around(told.get("post_processor"), place)


def _renumber_around(processor: object, place: Mapping[int, int]) -> None:
    """The numbers of special pieces that a processor puts around texts."""
    if not isinstance(processor, dict):
        return
    for part in processor.get("processors", ()):
        _renumber_around(part, place)
    for key in ("sep", "cls"):
        if isinstance(pair := processor.get(key), list):
            processor[key] = [pair[0], place[pair[1]]]
    special = processor.get("special_tokens")
    for one in special.values() if isinstance(special, dict) else ():
        one["ids"] = [place[old] for old in one["ids"]]


def read_by(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[list[int]]:
    """The numbers of each text's pieces, without special ones."""
    return [list(one.ids) for one in tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)]
