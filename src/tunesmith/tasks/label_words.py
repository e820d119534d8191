"""The words that stand for labels in a prompt, and how likely a language model finds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError, nearest
from tunesmith.tasks.encoding import IGNORED, Batch

LabelWords = dict[str, str | tuple[str, ...]]
"""Label -> the word or words that stand for it."""


def check_words(words: Mapping[str, str | tuple[str, ...]]) -> None:
    """See that each label has a word and no two labels share one.

    Raises:
        RecipeError: otherwise.
    """
    owner: dict[str, str] = {}
    for label in words:
        for word in words_of(label, words):
            if not word.strip():
                raise RecipeError(f"Label '{label}' has an empty word.", where="task.label_words")
            if owner.setdefault(word.strip(), label) != label:
                raise RecipeError(
                    f"The word '{word.strip()}' stands for '{owner[word.strip()]}' and for '{label}'.",
                    where="task.label_words",
                    to_do="Give each label words of its own.",
                )


def complete(words: Mapping[str, str | tuple[str, ...]], labels: Sequence[str]) -> LabelWords:
    """The words of each label: those given, or where none are given at all, the label's own name.

    Raises:
        RecipeError: some labels have words and others do not, or a word is for a label that there is not.
    """
    if not words:
        found: LabelWords = {label: (label.replace("_", " "),) for label in labels}
        check_words(found)
        return found
    strange = [label for label in words if label not in labels]
    lacking = [label for label in labels if label not in words]
    if strange or lacking:
        what = f"label_words names the unknown label '{strange[0]}'.{nearest(strange[0], labels)}" if strange else ""
        raise RecipeError(
            what or f"Label '{lacking[0]}' has no word.",
            where="task.label_words",
            to_do=f"Give a word for each of: {', '.join(labels[:8])}{' ...' if len(labels) > 8 else ''}.",
        )
    return {label: words_of(label, words) for label in labels}


def words_of(label: str, words: Mapping[str, str | tuple[str, ...]]) -> tuple[str, ...]:
    """The words of a label."""
    given = words[label]
    return (given,) if isinstance(given, str) else given


class LabelWordHead(nn.Module):
    """Logits over the vocabulary [P, U, V] at the places of label words -> a score per label [E, C].

    A word of several tokens is scored jointly: the sum of its tokens' log-probabilities, or their mean. A label with
    several words has the log of their mean probability (for one form of sentence, Schick and Schuetze 2021, sec. 3.1).
    Scores after several sets of demonstrations are averaged, which is the geometric mean of their probabilities.
    """

    def __init__(self, counts: Sequence[int], *, per_token: bool) -> None:
        super().__init__()
        self.counts = list(counts)
        self.per_token = per_token

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        """Read each word's tokens where they are asked for; see `PromptClassification.collate` for the targets."""
        assert batch.targets is not None, "the words' tokens are known"
        pieces = batch.example_of.bincount(minlength=batch.size)
        piece = (pieces.cumsum(0) - pieces)[:, None, None] + batch.targets[:, :, :1]
        tokens = batch.targets[:, :, 2:]
        units = torch.arange(tokens.shape[2], device=tokens.device)
        counted = tokens != IGNORED
        chosen = logits.log_softmax(-1)[piece, units, tokens.clamp(min=0)].masked_fill(~counted, 0.0)
        scores = chosen.sum(-1) / counted.sum(-1) if self.per_token else chosen.sum(-1)
        parts = torch.split(scores.view(len(scores), -1, sum(self.counts)), self.counts, dim=2)
        by_set = torch.stack([part.logsumexp(2) - math.log(part.shape[2]) for part in parts], dim=2)
        return by_set.mean(1)
