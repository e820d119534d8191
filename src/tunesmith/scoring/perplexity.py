"""How likely a model finds given answers, or the tokens of raw texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Example, Prediction
from tunesmith.scoring import Measure, SummedMeasure, divide, mean_measure
from tunesmith.scoring.answers import check_pairs


def measure_perplexity(predictions: Sequence[Prediction]) -> SummedMeasure:
    """Exp of the mean negative log-likelihood per token, over all tokens of all given answers."""
    return SummedMeasure("perplexity", _surprises(predictions), _perplexity, higher_is_better=False)


def measure_foretold(predictions: Sequence[Prediction]) -> list[Measure]:
    """Perplexity, loss in nats per token, and the share of tokens that were the likeliest at their place.

    All are over tokens, not means over texts; texts without a scored token add nothing. Models with other tokenizers
    have other tokens, so that their figures cannot be compared; `measure_bits` can, where all tokens are scored.
    """
    right = np.array([[one.right_tokens, one.label_tokens] for one in predictions], dtype=np.float64).reshape(-1, 2)
    return [
        measure_perplexity(predictions),
        SummedMeasure("token_loss", _surprises(predictions), _ratio, higher_is_better=False),
        SummedMeasure("token_accuracy", right, _ratio),
    ]


def measure_bits(examples: Sequence[Example], predictions: Sequence[Prediction]) -> SummedMeasure:
    """Bits per character of the texts, which models with different tokenizers can be compared by.

    Raises:
        DataError: predictions and examples do not match.
    """
    check_pairs(examples, predictions)
    bits = _surprises(predictions)[:, 0] / np.log(2)
    sums = np.column_stack([bits, np.array([len(example.text) for example in examples], dtype=np.float64)])
    return SummedMeasure("bits_per_character", sums, _ratio, higher_is_better=False)


def measure_preferences(predictions: Sequence[Prediction]) -> list[Measure]:
    """How often the better answer is found likelier than the worse, and by how much on average.

    The margin is the difference of the answers' log-likelihoods, each summed over its tokens, in the model alone.
    """
    margins = np.array([one.log_likelihood - one.rejected_log_likelihood for one in predictions])
    return [mean_measure("preference_accuracy", (margins > 0).astype(np.float64)), mean_measure("margin", margins)]


def _surprises(predictions: Sequence[Prediction]) -> NDArray[np.float64]:
    """Negative log-likelihood and tokens of each [n, 2]."""
    counts = np.array([prediction.label_tokens for prediction in predictions], dtype=np.float64)
    surprises = np.array([-prediction.log_likelihood for prediction in predictions], dtype=np.float64)
    return np.column_stack([np.where(counts > 0, surprises, 0.0), counts])


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return divide(sums[:, 0], sums[:, 1])


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    # A model that is sure of the wrong is infinitely surprised long before a double overflows.
    return np.exp(np.minimum(_ratio(sums), 700.0))
