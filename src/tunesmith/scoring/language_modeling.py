"""How well a language model foretells tokens: loss, perplexity and accuracy over all tokens, drawn again by texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, SummedMeasure, divide
from tunesmith.scoring.answers import check_pairs

_HIGHEST = 700.0
"""The exponential of more is no float any more."""


def measure_foretold(examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
    """Perplexity, loss in nats per token, and the share of tokens that were the likeliest at their place.

    All are over tokens, not means over texts; texts without a scored token add nothing. Models with other tokenizers
    have other tokens, so that their figures cannot be compared; `bits_per_character` can, where all tokens are scored.

    Raises:
        DataError: predictions and examples do not match.
    """
    check_pairs(examples, predictions)
    sums = np.array(
        [[-one.log_likelihood if one.label_tokens else 0.0, one.right_tokens, one.label_tokens] for one in predictions]
    ).reshape(len(predictions), 3)
    return [
        SummedMeasure("perplexity", sums, _perplexity, higher_is_better=False),
        SummedMeasure("token_loss", sums, lambda total: divide(total[:, 0], total[:, 2]), higher_is_better=False),
        SummedMeasure("token_accuracy", sums, lambda total: divide(total[:, 1], total[:, 2])),
    ]


def measure_bits(examples: Sequence[Example], predictions: Sequence[Prediction]) -> SummedMeasure:
    """Bits per character of the texts, which models with different tokenizers can be compared by."""
    sums = np.array(
        [
            [-one.log_likelihood / np.log(2) if one.label_tokens else 0.0, len(example.text)]
            for example, one in zip(examples, predictions, strict=True)
        ]
    ).reshape(len(predictions), 2)
    return SummedMeasure(
        "bits_per_character", sums, lambda total: divide(total[:, 0], total[:, 1]), higher_is_better=False
    )


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exponential of the mean loss per token."""
    return np.exp(np.minimum(divide(sums[:, 0], sums[:, 2]), _HIGHEST))
