"""Translation by encoder-decoders of the hub, of a folder, or of one's own making."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.augmentation.rewriters.answers import Chain, open_task
from tunesmith.errors import RecipeError
from tunesmith.tasks import SequenceToSequence


@dataclass(frozen=True)
class TranslationModels:
    """Translate by encoder-decoders: NLLB, mBART, T5, or artifacts of the task sequence_to_sequence.

    Needs: an encoder-decoder with a fast tokenizer for each direction, or one for both.

    Attributes:
        forth, back: a folder, a short name of the catalogue, or a hub id for each direction; back is the same model
            where it is left out.
        language, pivot: the codes of the texts' language and the other one, for models that know several, such as
            eng_Latn and spa_Latn.
        forth_prefix, back_prefix: what goes before every text, for T5.
        beams: hypotheses that are kept side by side.
        max_new_tokens: the most tokens of a translation.
    """

    forth: str = "facebook/nllb-200-distilled-600M"
    back: str = ""
    language: str = ""
    pivot: str = ""
    forth_prefix: str = ""
    back_prefix: str = ""
    beams: int = 2
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        if self.beams < 1 or self.max_new_tokens < 1:
            raise RecipeError("beams and max_new_tokens must be at least 1.", where="augmenters.by")
        if bool(self.language) != bool(self.pivot):
            raise RecipeError("language and pivot are given together.", where="augmenters.by", to_do="Add the other.")

    def opened(self) -> Chain:
        """The models, loaded.

        Raises:
            ModelError: a model cannot be found or read.
            RecipeError: a language code is missing, or is not one of the model's.
        """
        first = open_task(self.forth, self._task(self.language, self.pivot, self.forth_prefix))
        second = open_task(self.back or self.forth, self._task(self.pivot, self.language, self.back_prefix))
        return Chain((first, second))

    def _task(self, source: str, target: str, prefix: str) -> SequenceToSequence:
        return SequenceToSequence(
            source_language=source,
            target_language=target,
            source_prefix=prefix,
            beams=self.beams,
            max_new_tokens=self.max_new_tokens,
        )
