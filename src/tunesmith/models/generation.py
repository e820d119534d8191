"""Answers that a body writes token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel

from tunesmith.tasks.encoding import Batch, Generation, Heard


class _Listener:
    """What transformers calls a streamer: hears the tokens of one text as they are written, the question's first."""

    def __init__(self, heard: Heard, ends: list[int]) -> None:
        self._heard = heard
        self._ends = ends
        self._is_question = True

    def put(self, value: Tensor) -> None:
        """Hear of the question's tokens, and then of one new token after another."""
        if not self._is_question:
            for token in value.flatten().tolist():
                if token not in self._ends:
                    self._heard(token)
        self._is_question = False

    def end(self) -> None:
        """Nothing follows."""


def written_tokens(body: PreTrainedModel, batch: Batch, how: Generation, heard: Heard | None = None) -> list[Tensor]:
    """The tokens that `body` writes after each piece (or from it), without the end token and what follows it.

    The same settings always give the same tokens: what is drawn is drawn by a seed of its own. Of a single piece, and
    without beams, `heard` is told each token as soon as it is written.
    """
    is_decoder = not body.config.is_encoder_decoder
    ids, mask = batch.input_ids, batch.attention_mask
    if is_decoder:
        ids, mask = left_padded(ids, mask)
    with torch.random.fork_rng(devices=[ids.device] if ids.device.type == "cuda" else []):
        torch.manual_seed(0)
        listener = _Listener(heard, ends_of(body, how)) if heard is not None and how.beams == 1 else None
        made: Any = body.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=mask, generation_config=settings(body, how), streamer=listener
        )
    written = made[:, ids.shape[1] :] if is_decoder else made[:, 1:]
    ends = ends_of(body, how)
    return [_until_end(row, ends) for row in written.cpu()]


def settings(body: PreTrainedModel, how: Generation) -> GenerationConfig:
    """The settings as transformers names them; the body's own ending and padding are kept, its habits are not."""
    known = known_tokens(body)
    options: dict[str, Any] = {
        "max_new_tokens": how.max_new_tokens,
        "num_beams": how.beams,
        "do_sample": how.temperature > 0,
        "repetition_penalty": how.repetition_penalty,
        "no_repeat_ngram_size": how.no_repeat_ngram,
        "forced_bos_token_id": how.forced_first if how.forced_first >= 0 else None,
    }
    if how.beams > 1:
        options |= {"length_penalty": how.length_penalty, "early_stopping": False}
    if how.temperature > 0:
        options |= {"temperature": how.temperature, "top_p": how.top_p}
    for name in ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id"):
        options[name] = known.get(name)
    places = known.get("max_position_embeddings")
    if body.config.is_encoder_decoder and places is not None:
        options["max_new_tokens"] = min(how.max_new_tokens, int(places) - 1)
    if how.start >= 0:
        options["decoder_start_token_id"] = how.start
    options["eos_token_id"] = ends_of(body, how) or None
    if options["pad_token_id"] is None and options["eos_token_id"]:
        options["pad_token_id"] = options["eos_token_id"][0]
    return GenerationConfig(**options)  # type: ignore[no-untyped-call]


def known_tokens(body: PreTrainedModel) -> dict[str, Any]:
    """The special tokens that the body's settings for writing, or else its configuration, name."""
    own: dict[str, Any] = body.generation_config.to_dict() if body.can_generate() else {}
    return body.config.to_dict() | {name: value for name, value in own.items() if value is not None}


def left_padded(ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows whose padding stands before the text, as a decoder must have it to go on from the last token [P, T]."""
    length = ids.shape[1]
    shift = length - mask.sum(1, keepdim=True)
    index = (torch.arange(length, device=ids.device)[None] - shift) % length
    return ids.gather(1, index), mask.gather(1, index)


def ends_of(body: PreTrainedModel, how: Generation) -> list[int]:
    """The tokens that end an answer."""
    end = known_tokens(body).get("eos_token_id")
    known = end if isinstance(end, list) else [end]
    return list(dict.fromkeys(token for token in [*known, how.end] if token is not None and token >= 0))


def _until_end(row: Tensor, ends: list[int]) -> Tensor:
    places = [place for place, token in enumerate(row.tolist()) if token in ends]
    return row[: places[0]] if places else row
