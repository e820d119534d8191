"""Learnt tokens: before the text, or in every layer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tunesmith.errors import RecipeError
from tunesmith.methods.selective import learn_only
from tunesmith.models.anatomy import attention_layers, takes_positions
from tunesmith.models.attention import Prefix, can_take_prefix, look_at_prefixes
from tunesmith.models.model import Model
from tunesmith.models.soft_prompt import SoftPrompt


@dataclass(frozen=True)
class PrefixTuning:
    """Learnt keys and values before those of the text, in every layer (Li and Liang 2021, sec. 4.2).

    The text keeps its places and its whole length. The keys and values are learnt as they are; the paper's network that
    makes them served the stability of its large models.

    Refused: a body whose attention takes no further keys (MPNet, DeBERTa), and an encoder-decoder.

    Attributes:
        tokens: learnt keys and values per layer.
    """

    tokens: int = 20

    def __post_init__(self) -> None:
        see_tokens(self.tokens)

    @property
    def learning_rate(self) -> float:
        """Vectors far from the output take large steps."""
        return 1e-2

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put a prefix into each attention layer."""
        insert_prefixes(model, self.tokens)

    def merge(self, model: Model) -> None:
        """A prefix is no weight of the body, so it stays."""


@dataclass(frozen=True)
class PTuningV2:
    """Deep prompts for understanding tasks (Liu et al. 2022, sec. 3.2): prefixes in every layer, and a head of its own.

    The same form as prefix tuning, with fewer tokens, since simple classification wants few (paper, sec. 4.3).

    Refused: as for prefix tuning.

    Attributes:
        tokens: learnt keys and values per layer.
    """

    tokens: int = 8

    def __post_init__(self) -> None:
        see_tokens(self.tokens)

    @property
    def learning_rate(self) -> float:
        """As for prefix tuning."""
        return 1e-2

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put a prefix into each attention layer."""
        insert_prefixes(model, self.tokens)

    def merge(self, model: Model) -> None:
        """A prefix is no weight of the body, so it stays."""


@dataclass(frozen=True)
class PromptTuning:
    """Learnt vectors before the text's own (Lester et al. 2021, sec. 2), begun from words of the vocabulary (sec. 3.2).

    Their states are taken off again above the body, so that the first token is still the first and each word has its
    own state: what is pooled or tagged is never a learnt token.

    Refused: a body that cannot be told where tokens stand, and an encoder-decoder.

    Attributes:
        tokens: learnt vectors before the text.
    """

    tokens: int = 20

    def __post_init__(self) -> None:
        see_tokens(self.tokens)

    @property
    def learning_rate(self) -> float:
        """Vectors far from the output take large steps (paper, sec. 3.2: 0.3 with Adafactor)."""
        return 2e-2

    def apply(self, model: Model) -> None:
        """Freeze the pre-trained weights and put learnt vectors before the text."""
        if model.gives_classes:
            raise RecipeError(
                f"The classifier of a {type(model.body).__name__} reads the first token, before which none can be put.",
                where="method",
                to_do="Use lora or p_tuning_v2.",
            )
        if not takes_positions(model.body) or model.body.config.is_encoder_decoder:
            raise RecipeError(
                f"A {type(model.body).__name__} cannot be told where tokens stand, so none can be put before the text.",
                where="method",
                to_do="Use lora or houlsby.",
            )
        table = model.word_embeddings
        assert isinstance(table, nn.Embedding), "bodies have a table of word vectors"
        model.soft_prompt = SoftPrompt(table, self.tokens)
        learn_only(model, lambda name: name.startswith("soft_prompt."))

    def merge(self, model: Model) -> None:
        """The vectors are no weights of the body, so they stay."""


def insert_prefixes(model: Model, tokens: int) -> None:
    """Put a prefix into each attention layer of the body, and let only these learn.

    Raises:
        RecipeError: the body computes its attention where no keys can be added.
    """
    layers = attention_layers(model.body)
    if not can_take_prefix(model.body) or not layers or model.body.config.is_encoder_decoder:
        raise RecipeError(
            f"The attention of a {type(model.body).__name__} takes no further keys and values.",
            where="method",
            to_do="Use lora, houlsby or prompt_tuning, or a BERT, RoBERTa or Llama kind of model.",
        )
    look_at_prefixes(model.body)
    for layer, width in layers:
        layer.register_module("prefix", Prefix(tokens, width).to(model.device))
    learn_only(model, lambda name: ".prefix." in name)


def see_tokens(tokens: int) -> None:
    """See that there are learnt tokens.

    Raises:
        RecipeError: there are none.
    """
    if not 1 <= tokens <= 512:
        raise RecipeError("tokens must be at least 1 and at most 512.", where="method.tokens")
