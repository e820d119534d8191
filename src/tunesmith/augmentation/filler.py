"""A masked language model, asked which words it expects in places that are hidden from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tunesmith.augmentation.edits import Range
from tunesmith.augmentation.word_edits import is_han
from tunesmith.augmentation.words import is_word, knows_word
from tunesmith.errors import ModelError
from tunesmith.inference.predictor import best_device
from tunesmith.machine import enough_memory
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.tasks.encoding import TextEncoder

NUMBERS_AT_ONCE = 60_000_000
"""Scores that are held together: tokens times the size of the vocabulary."""

COMBINED = {1: 50, 2: 30, 3: 10}
"""Of a Chinese word with so many characters, the likeliest characters at each place that are put together."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A hidden word: its characters in the text, and the places of its mask tokens."""

    start: int
    end: int
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Masked:
    """A text's tokens, special ones included, some of which are masks, and what these hide."""

    ids: tuple[int, ...]
    gaps: tuple[Gap, ...]


@dataclass(frozen=True)
class Filler:
    """A masked language model with its output layer, and its tokenizer.

    Attributes:
        module: the network; gives scores over the vocabulary [P, T, V].
        encoder: the tokenizer with the model's window.
        rows: V, the tokens that it has scores of; some may be no token of the tokenizer.
    """

    module: PreTrainedModel
    encoder: TextEncoder
    rows: int

    @classmethod
    def load(cls, name: str) -> Filler:
        """Load a model by a folder, a short name, or a hub id.

        Raises:
            ModelError: it cannot be found or read, or its checkpoint has no trained output layer.
        """
        backbone = load(locate(name), dropout=None, kind="masked_lm")
        if backbone.missing or backbone.tokenizer.mask_token_id is None:
            lacking = ", ".join(sorted(backbone.missing)[:2]) or "a mask token"
            raise ModelError(
                f"The model '{name}' fills in no words: its checkpoint lacks {lacking}.",
                where="augmenters.model",
                to_do="Choose a masked language model such as bert-base-uncased or bert-base-chinese, or train one "
                "with task: masked_language_modeling and name its artifact.",
            )
        encoder = TextEncoder.of(backbone.tokenizer, backbone.max_length, backbone.prefix)
        module = backbone.module
        module.train(mode=False)
        nn.Module.to(module, best_device())
        return cls(module, encoder, int(module.config.vocab_size))

    def masks_for(self, word: str, tokens: int) -> int:
        """How many masks hide a word: one, but for Chinese characters that are a token each."""
        return tokens if is_han(word[0]) and tokens == len(word) else 1

    def masked(self, text: str, ids: Sequence[int], shown: range, gaps: Mapping[int, tuple[Range, int]]) -> Masked:
        """The tokens that are `shown`, with masks in the place of those from each gap's first token on."""
        mask = self.encoder.tokenizer.mask_token_id
        made: list[int] = list(self.encoder.before)
        hidden = []
        place = shown.start
        while place < shown.stop:
            if place not in gaps:
                made.append(ids[place])
                place += 1
                continue
            (start, end), covered = gaps[place]
            number = self.masks_for(text[start:end], covered)
            hidden.append(Gap(start, end, tuple(range(len(made), len(made) + number))))
            made += [mask] * number
            place += covered
        return Masked((*made, *self.encoder.after), tuple(hidden))

    def likely(self, texts: Sequence[Masked], number: int) -> list[list[list[tuple[str, float]]]]:
        """For each gap of each text up to so many words that fit, the likeliest first, with their weights."""
        found: list[list[list[tuple[str, float]]]] = [[]] * len(texts)
        for places in self._parts(texts):
            rows = self._scores([texts[place] for place in places])
            for place, row in zip(places, rows, strict=True):
                scores = iter(row)
                found[place] = [
                    self._words([next(scores) for _ in gap.places], gap.end - gap.start, number)
                    for gap in texts[place].gaps
                ]
        return found

    def _parts(self, texts: Sequence[Masked]) -> Iterator[list[int]]:
        """Texts of like length, as many as may be read at once."""
        room = NUMBERS_AT_ONCE // max(1, len(self.encoder.tokenizer))
        part: list[int] = []
        for place in sorted(range(len(texts)), key=lambda place: len(texts[place].ids)):
            if part and (len(part) + 1) * len(texts[place].ids) > room:
                yield part
                part = []
            part.append(place)
        if part:
            yield part

    def _scores(self, texts: Sequence[Masked]) -> list[Tensor]:
        """The logarithms of the probabilities at each text's masks [masks, V], without what is no word."""
        longest = max(len(text.ids) for text in texts)
        pad = self.encoder.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*text.ids, *[pad] * (longest - len(text.ids))] for text in texts])
        mask = torch.tensor([[1] * len(text.ids) + [0] * (longest - len(text.ids)) for text in texts])
        device = self.module.device
        with torch.inference_mode(), enough_memory("Take a smaller model, or shorter texts."):
            logits: Tensor = self.module(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
            rows = []
            for text, scores in zip(texts, logits, strict=True):
                places = [place for gap in text.gaps for place in gap.places]
                rows.append(scores[places].float().log_softmax(-1).cpu())
        return rows

    def _words(self, scores: Sequence[Tensor], length: int, number: int) -> list[tuple[str, float]]:
        """The likeliest words of the masks of one gap."""
        if len(scores) == 1:
            best = (scores[0] + self._barred).topk(min(max(COMBINED[1], number), len(self._surfaces)))
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            words = [(self._surfaces[token], score) for token, score in pairs if math.isfinite(score)]
            words = [
                (word, score) for word, score in words if len(word) == 1 or not is_han(word[0]) or knows_word(word)
            ]
        else:
            tops = [(row + self._barred_long).topk(COMBINED[len(scores)]) for row in scores]
            options = [list(zip(top.indices.tolist(), top.values.tolist(), strict=True)) for top in tops]
            words = []
            for parts in itertools.product(*options):
                word = "".join(self._surfaces[token] for token, _ in parts)
                score = sum(score for _, score in parts)
                if math.isfinite(score) and len(word) == length and knows_word(word):
                    words.append((word, score))
            words.sort(key=lambda pair: (-pair[1], pair[0]))
        return [(word, math.exp(score)) for word, score in words[:number]]

    @cached_property
    def _surfaces(self) -> list[str]:
        """What each token is as text."""
        tokenizer = self.encoder.tokenizer
        return [str(tokenizer.decode([number])).strip() for number in range(len(tokenizer))]

    @cached_property
    def _barred(self) -> Tensor:
        """0 for tokens that are whole words, and minus infinity for others [V]."""
        return self._bar([self._alone(number) for number in range(len(self._surfaces))])

    @cached_property
    def _barred_long(self) -> Tensor:
        """0 for tokens that are one Chinese character, and minus infinity for others [V]."""
        return self._bar([len(word) == 1 and is_han(word) for word in self._surfaces])

    def _bar(self, allowed: Sequence[bool]) -> Tensor:
        bar = torch.full((self.rows,), -math.inf)
        bar[: len(allowed)][torch.tensor(allowed)] = 0.0
        return bar

    def _alone(self, number: int) -> bool:
        """Whether a token, read as text after another word, is that token again and not a part of words."""
        return self._again[number] and number not in self.encoder.special_ids

    @cached_property
    def _again(self) -> list[bool]:
        backend = self.encoder.tokenizer.backend_tokenizer
        fits = [is_word(word) and (len(word) > 1 or is_han(word) or word in "aAiI") for word in self._surfaces]
        before = ["中" if word and is_han(word[0]) else "a " for word in self._surfaces]
        texts = [lead + word if fit else "" for lead, word, fit in zip(before, self._surfaces, fits, strict=True)]
        encoded = backend.encode_batch(texts, add_special_tokens=False)
        starts = {lead: len(backend.encode(lead.strip(), add_special_tokens=False).ids) for lead in set(before)}
        return [
            fit and len(made.ids) == starts[lead] + 1 and made.ids[-1] == number
            for number, (fit, made, lead) in enumerate(zip(fits, encoded, before, strict=True))
        ]


def first_covered(offsets: Sequence[Range], text: str, start: int, end: int) -> range | None:
    """The tokens that a word consists of; None where one of them reaches over its borders, blanks aside."""
    own = [place for place, (first, last) in enumerate(offsets) if first < end and last > start and first < last]
    if not own:
        return None
    first, last = offsets[own[0]][0], offsets[own[-1]][1]
    if text[min(first, start) : start].strip() or last > end:
        return None
    return range(own[0], own[-1] + 1)
