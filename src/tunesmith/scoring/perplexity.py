"""How likely a model finds the given answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tunesmith.data.records import Prediction
from tunesmith.scoring import Measure, SummedMeasure, divide, mean_measure


def measure_perplexity(predictions: Sequence[Prediction]) -> SummedMeasure:
    """Exp of the mean negative log-likelihood per token, over all tokens of all given answers."""
    counts = np.array([prediction.label_tokens for prediction in predictions], dtype=np.float64)
    surprises = np.array([-prediction.log_likelihood for prediction in predictions])
    statistics = np.column_stack([np.where(counts > 0, surprises, 0.0), counts])
    return SummedMeasure("perplexity", statistics, _perplexity, higher_is_better=False)


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    # A model that is sure of the wrong is infinitely surprised long before a double overflows.
    return np.exp(np.minimum(divide(sums[:, 0], sums[:, 1]), 700.0))


def measure_preferences(predictions: Sequence[Prediction]) -> list[Measure]:
    """How often the better answer is found likelier than the worse, and by how much on average.

    The margin is the difference of the answers' log-likelihoods, each summed over its tokens, in the model alone.
    """
    margins = np.array([one.log_likelihood - one.rejected_log_likelihood for one in predictions])
    return [mean_measure("preference_accuracy", (margins > 0).astype(np.float64)), mean_measure("margin", margins)]
