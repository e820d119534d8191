"""Other words by a local language model that follows instructions."""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith.augmentation.rewriters.answers import Chain, open_task
from tunesmith.errors import RecipeError
from tunesmith.tasks import TextGeneration


@dataclass(frozen=True)
class ChatModel:
    """Ask a local causal language model, by its own chat template.

    Needs: a causal language model that follows instructions, or an artifact of the task text_generation.

    Attributes:
        model: a folder, a short name of the catalogue, or a hub id.
        temperature: draw words from the distribution divided by this; 0 takes the likeliest each time.
        top_p: draw from the likeliest words up to this probability.
        repetition_penalty: divides the scores of words that stand already; 1 is off.
        max_new_tokens: the most tokens of an answer.
    """

    model: str = "smollm2-135m"
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 128

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.max_new_tokens < 1:
            raise RecipeError("temperature must not be negative, and max_new_tokens at least 1.", where="augmenters.by")
        _ = self.task  # its own settings are checked here

    @property
    def task(self) -> TextGeneration:
        """The task that asks and reads answers."""
        return TextGeneration(
            sampling_temperature=self.temperature,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            max_new_tokens=self.max_new_tokens,
        )

    def opened(self) -> Chain:
        """The model, loaded.

        Raises:
            ModelError: it cannot be found or read.
        """
        return Chain((open_task(self.model, self.task),))
