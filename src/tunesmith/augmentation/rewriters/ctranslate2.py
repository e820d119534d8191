"""Translation by models that were converted for CTranslate2, which runs them fast on CPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from tunesmith.augmentation.rewriters.answers import Chain
from tunesmith.errors import ModelError, RecipeError, import_extra
from tunesmith.models.backbone import load_tokenizer
from tunesmith.models.packages import checksum
from tunesmith.tasks.writing import text_of

LONGEST = 1024
"""The most tokens of a text; CTranslate2 would cut what is longer."""


@dataclass(frozen=True)
class CTranslate2:
    """Translate by models in the format of CTranslate2 (its own ct2-transformers-converter writes them).

    Needs: the package ctranslate2 (extra "ctranslate2"); folders with model.bin and, beside it or in a folder of its
    own, the tokenizer of the model that was converted.

    Attributes:
        forth, back: the folder of the converted model for each direction; back is the same where it is left out.
        forth_tokenizer, back_tokenizer: folders with tokenizer.json; left out, that of the model.
        language, pivot: the codes of the texts' language and the other one, for models that know several.
        beams: hypotheses that are kept side by side.
        max_new_tokens: the most tokens of a translation.
        compute: the numbers that it computes with: default, int8, bfloat16, float16 or float32.
    """

    forth: str = ""
    back: str = ""
    forth_tokenizer: str = ""
    back_tokenizer: str = ""
    language: str = ""
    pivot: str = ""
    beams: int = 2
    max_new_tokens: int = 256
    compute: str = "default"

    def __post_init__(self) -> None:
        if not self.forth:
            raise RecipeError("No converted model is named.", where="augmenters.by.forth", to_do="Name its folder.")
        if self.beams < 1 or self.max_new_tokens < 1:
            raise RecipeError("beams and max_new_tokens must be at least 1.", where="augmenters.by")
        if bool(self.language) != bool(self.pivot):
            raise RecipeError("language and pivot are given together.", where="augmenters.by", to_do="Add the other.")

    def opened(self) -> Chain:
        """The models, loaded.

        Raises:
            MissingExtraError: ctranslate2 is not installed.
            ModelError: a folder holds no such model or no tokenizer.
        """
        back, tokenizer = (
            self.back or self.forth,
            self.back_tokenizer or (self.forth_tokenizer if not self.back else ""),
        )
        return Chain(
            (
                self._direction(self.forth, self.forth_tokenizer, self.language, self.pivot),
                self._direction(back, tokenizer, self.pivot, self.language),
            )
        )

    def _direction(self, folder: str, tokenizer: str, source: str, target: str) -> Direction:
        library: Any = import_extra("ctranslate2", "ctranslate2")
        weights = Path(folder).expanduser() / "model.bin"
        if not weights.is_file():
            raise ModelError(
                "The folder holds no model.bin of CTranslate2.", where=folder, to_do="Convert the model for it."
            )
        read = load_tokenizer(Path(tokenizer or folder).expanduser())
        try:
            translator = library.Translator(str(weights.parent), device="cpu", compute_type=self.compute)
        except (RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:160]
            raise ModelError(f"CTranslate2 cannot load the model: {said}", where=folder) from error
        if source:
            read.src_lang = source  # only tokenizers of several languages have it
        identity = f"{checksum([weights])} {source}-{target} {self.beams} {self.max_new_tokens} {self.compute}"
        return Direction(translator, read, target, self.beams, self.max_new_tokens, identity)


@dataclass(frozen=True)
class Direction:
    """A converted model with its tokenizer."""

    translator: Any
    tokenizer: PreTrainedTokenizerBase
    target: str
    beams: int
    max_new_tokens: int
    identity: str

    def answers(self, texts: Sequence[str]) -> list[str]:
        """Each text in the other language; empty where it is empty or too long, or had not ended."""
        most = min(LONGEST, self.tokenizer.model_max_length)
        ids_of = {place: self.tokenizer(text)["input_ids"] for place, text in enumerate(texts) if text}
        asked = [place for place, ids in ids_of.items() if len(ids) <= most]
        rows = [self.tokenizer.convert_ids_to_tokens(ids_of[place]) for place in asked]
        first = [[self.target]] * len(rows) if self.target else None
        answers = self.translator.translate_batch(
            rows, target_prefix=first, beam_size=self.beams, max_decoding_length=self.max_new_tokens, max_batch_size=32
        )
        found = [""] * len(texts)
        for place, answer in zip(asked, answers, strict=True):
            tokens = answer.hypotheses[0]
            if len(tokens) >= self.max_new_tokens:
                continue
            ids = self.tokenizer.convert_tokens_to_ids(tokens[1:] if tokens[:1] == [self.target] else tokens)
            found[place] = text_of(self.tokenizer, ids)  # type: ignore[arg-type]
        return found
