"""Models from nothing: random weights, and a tokenizer learnt from the training texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    M2M100Config,
    M2M100ForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tunesmith.errors import DataError, RecipeError
from tunesmith.models.anatomy import set_dropout
from tunesmith.models.backbone import Backbone
from tunesmith.tasks.encoding import BodyKind

SCRATCH = "scratch"
"""The name of a model that begins with nothing."""

PLACES = 512
"""The most tokens that such a model reads."""

_SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")
_PAD, _UNKNOWN, _BEGIN, _END = range(4)
_BLANK = "▁"


@dataclass(frozen=True)
class Sizes:
    """How large a model from nothing is.

    Attributes:
        layers: of an encoder-decoder, so many of each.
        hidden_size: width of a token's state.
        heads: attention heads per layer.
        feed_forward: width inside a layer's feed-forward block.
        vocabulary: the most pieces that the tokenizer learns, single characters included.
    """

    layers: int = 3
    hidden_size: int = 256
    heads: int = 4
    feed_forward: int = 1024
    vocabulary: int = 8000

    def check(self, where: str) -> None:
        """See that a model can be made of these sizes.

        Raises:
            RecipeError: it cannot.
        """
        for name, least in (("layers", 1), ("hidden_size", 1), ("heads", 1), ("feed_forward", 1), ("vocabulary", 300)):
            if self.__dict__[name] < least:
                raise RecipeError(f"{name} must be at least {least}.", where=f"{where}.{name}")
        if self.hidden_size % self.heads or (self.hidden_size // self.heads) % 2:
            raise RecipeError(
                f"hidden_size {self.hidden_size} is not an even number times heads {self.heads}.",
                where=f"{where}.heads",
                to_do="Use for example hidden_size: 256 and heads: 4.",
            )


def make_backbone(
    sizes: Sizes, kind: BodyKind, texts: Iterable[str], *, seed: int, dropout: float | None = None
) -> Backbone:
    """A body with random weights and a tokenizer of `texts`; the same texts and seed always give the same.

    An encoder-decoder is a pre-norm Transformer with fixed positions and one table for both languages and the output
    (the kind of M2M-100); an encoder is a BERT, a decoder a Llama.

    Raises:
        DataError: there is no text to learn a tokenizer from.
        RecipeError: the task needs what only training gives.
    """
    if kind not in _KINDS:
        raise RecipeError(
            "A model from scratch has no trained classifier.", where="model.name", to_do="Name a pre-trained model."
        )
    tokenizer = make_tokenizer(texts, sizes.vocabulary, kind)
    make_config, form, pooling = _KINDS[kind]
    config = make_config(sizes, len(tokenizer))
    if dropout is not None:
        set_dropout(config, dropout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = form(config)
    learnt = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
    size = json.dumps(sizes.__dict__, sort_keys=True)
    return Backbone(
        module=module,
        tokenizer=tokenizer,
        missing=frozenset(name for name, _ in module.named_parameters()),
        hidden_size=sizes.hidden_size,
        max_length=PLACES,
        pooling=pooling,
        prefix="",
        identity=f"a {config.model_type} from scratch {size}, seed {seed}, tokenizer sha256 {learnt}",
        kind=kind,
    )


def make_tokenizer(texts: Iterable[str], vocabulary: int, kind: BodyKind) -> PreTrainedTokenizerFast:
    """Byte-pair encoding within words (Sennrich et al. 2016, sec. 3), learnt from `texts`; no character is unknown.

    What the texts do not hold is cut into bytes. Text comes back as it was, but for its blanks at both ends.
    """
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.NFC()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(_BLANK, "always"), pre_tokenizers.Punctuation("isolated")]
    )
    room = vocabulary - len(_SPECIAL) - 256
    trainer = trainers.BpeTrainer(vocab_size=room, show_progress=False, limit_alphabet=max(1, room * 3 // 4))
    learner.train_from_iterator(texts, trainer)
    said = json.loads(learner.to_str())["model"]
    if not said["vocab"]:
        raise DataError(
            "There is no training text to learn a tokenizer from.",
            where="data.train",
            to_do="Give data.train, or start from a pre-trained model.",
        )
    learnt = sorted(said["vocab"], key=said["vocab"].__getitem__)
    pieces = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *learnt]
    merges = [tuple(pair) for pair in said["merges"]]
    made = Tokenizer(
        models.BPE({piece: number for number, piece in enumerate(pieces)}, merges, byte_fallback=True, fuse_unk=False)
    )
    made.normalizer, made.pre_tokenizer = learner.normalizer, learner.pre_tokenizer
    made.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = _around(kind)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=made,
        pad_token=_SPECIAL[_PAD],
        unk_token=_SPECIAL[_UNKNOWN],
        bos_token=_SPECIAL[_BEGIN],
        eos_token=_SPECIAL[_END],
        **(
            {"cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
            if kind in ("encoder", "masked_lm")
            else {}
        ),
        model_max_length=PLACES,
        clean_up_tokenization_spaces=False,
    )


def _around(kind: BodyKind) -> processors.TemplateProcessing:
    """The special tokens around a text, and between two."""
    single, pair = {
        "seq2seq": ("$A </s>", "$A </s> $B:1 </s>:1"),
        "causal_lm": ("<s> $A", "<s> $A $B:1"),
    }.get(kind, ("<s> $A </s>", "<s> $A </s> $B:1 </s>:1"))
    special = [("<s>", _BEGIN), ("</s>", _END)]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=special)


def _encoder_decoder(sizes: Sizes, vocabulary: int) -> M2M100Config:
    # A deviation of 1 / sqrt(width) is what Glorot's rule gives for square matrices, and gives tied logits of size 1.
    return M2M100Config(
        vocab_size=vocabulary,
        d_model=sizes.hidden_size,
        encoder_layers=sizes.layers,
        decoder_layers=sizes.layers,
        encoder_attention_heads=sizes.heads,
        decoder_attention_heads=sizes.heads,
        encoder_ffn_dim=sizes.feed_forward,
        decoder_ffn_dim=sizes.feed_forward,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=PLACES,
        init_std=sizes.hidden_size**-0.5,
        pad_token_id=_PAD,
        bos_token_id=_BEGIN,
        eos_token_id=_END,
        decoder_start_token_id=_BEGIN,
    )


def _encoder(sizes: Sizes, vocabulary: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        max_position_embeddings=PLACES,
        pad_token_id=_PAD,
    )


def _decoder(sizes: Sizes, vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=sizes.hidden_size,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.feed_forward,
        max_position_embeddings=PLACES,
        tie_word_embeddings=True,
        pad_token_id=_PAD,
        bos_token_id=_BEGIN,
        eos_token_id=_END,
    )


def _bare_encoder(config: BertConfig) -> BertModel:
    return BertModel(config, add_pooling_layer=False)


_KINDS: Mapping[BodyKind, tuple[Callable[[Sizes, int], Any], Callable[[Any], PreTrainedModel], str]] = {
    "seq2seq": (_encoder_decoder, M2M100ForConditionalGeneration, "cls"),
    "encoder": (_encoder, _bare_encoder, "mean"),
    "masked_lm": (_encoder, BertForMaskedLM, "mean"),
    "causal_lm": (_decoder, LlamaForCausalLM, "last"),
}
"""Of each kind of body: its configuration, its class, and how its token states become one."""
