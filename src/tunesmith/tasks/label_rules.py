"""Rules over the labels of a text: which sets of labels they allow, the likeliest of these, and how likely all of them.

A rule is a text: "a -> b" (with a there is b), "at most one of a, b, c", or "exactly one of a, b, c". Labels that rules
tie together, directly or over others, are enumerated: of n such labels there are 2^n sets, of which the allowed ones
are kept. Labels that no rule names stay free.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tunesmith.data.records import Example, Finding
from tunesmith.errors import RecipeError, nearest
from tunesmith.tasks.gold import labels_of

MOST = 14
"""So many labels may hang together: 16,384 sets are looked at for each text."""

_COUNTED: dict[str, Callable[[NDArray[np.intp]], NDArray[np.bool_]]] = {
    "at most one of ": lambda counts: counts <= 1,
    "exactly one of ": lambda counts: counts == 1,
}


@dataclass(frozen=True)
class Rule:
    """One rule: its text, the places of its labels, and which rows of zeros and ones for these [S, n] keep it."""

    text: str
    places: tuple[int, ...]
    keeps: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]

    @classmethod
    def of(cls, text: str, labels: Sequence[str]) -> Rule:
        """Read a rule.

        Raises:
            RecipeError: it has none of the three forms, or names a label that there is not, or one twice.
        """
        start = next((start for start in _COUNTED if text.startswith(start)), "")
        if not start and text.count(" -> ") != 1:
            raise RecipeError(
                f"'{text}' is no rule.",
                where="task.rules",
                to_do='Write "a -> b", "at most one of a, b" or "exactly one of a, b".',
            )
        names = [name.strip() for name in (text.removeprefix(start).split(",") if start else text.split(" -> "))]
        for name in names:
            if name not in labels:
                raise RecipeError(
                    f"The rule '{text}' names the unknown label '{name}'.{nearest(name, labels)}",
                    where="task.rules",
                    to_do=f"Known labels: {', '.join(labels[:8])}.",
                )
        if len(set(names)) < max(len(names), 2):
            raise RecipeError(f"The rule '{text}' needs two different labels.", where="task.rules")
        places = tuple(labels.index(name) for name in names)
        if not start:
            return cls(text, places, lambda rows: ~rows[:, 0] | rows[:, 1])
        allowed = _COUNTED[start]
        return cls(text, places, lambda rows: allowed(rows.sum(1)))

    def kept_by(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which rows over all labels [S, C] keep the rule [S]."""
        return self.keeps(rows[:, list(self.places)])


@dataclass(frozen=True)
class Block:
    """Labels that hang together: their places, and all the sets of them that the rules allow, as zeros and ones."""

    places: tuple[int, ...]
    sets: NDArray[np.float32]

    @property
    def allowed(self) -> Tensor:
        """The sets [S, n]; made anew, since a tensor that is made while answering could not be learnt with."""
        return torch.from_numpy(self.sets)


@dataclass(frozen=True)
class Rules:
    """All rules of a task.

    Raises:
        RecipeError: too many labels hang together, or no set of them keeps all rules.
    """

    rules: tuple[Rule, ...]
    size: int

    @classmethod
    def of(cls, texts: Sequence[str], labels: Sequence[str]) -> Rules:
        """Read rules over these labels."""
        found = cls(tuple(Rule.of(text, labels) for text in texts), len(labels))
        _ = found.blocks  # looked at now, so that rules that exclude each other are refused before training
        return found

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The labels that rules tie together, with the sets of them that are allowed."""
        groups: list[set[int]] = []
        for rule in self.rules:
            tied = [group for group in groups if group & set(rule.places)]
            groups = [group for group in groups if group not in tied] + [set(rule.places).union(*tied)]
        return tuple(self._block(sorted(group)) for group in groups)

    def _block(self, places: list[int]) -> Block:
        own = [rule for rule in self.rules if set(rule.places) <= set(places)]
        named = "; ".join(rule.text for rule in own)
        if len(places) > MOST:
            raise RecipeError(
                f"The rules tie {len(places)} labels together; at most {MOST} can be.",
                where="task.rules",
                to_do="Leave some of them out.",
            )
        sets = (np.arange(2 ** len(places))[:, None] >> np.arange(len(places))) & 1 == 1
        rows = np.zeros((len(sets), self.size), dtype=bool)
        rows[:, places] = sets
        allowed = sets[np.logical_and.reduce([rule.kept_by(rows) for rule in own])]
        if not len(allowed):
            raise RecipeError(f"No set of labels keeps all of these rules: {named}.", where="task.rules")
        return Block(tuple(places), allowed.astype(np.float32))

    def best(self, scores: Tensor, border: float) -> tuple[Tensor, float]:
        """The likeliest set [C] that the rules allow of scores [C], and its probability among those that they allow.

        Labels count as independent but for the rules. A label without rules is given from the score `border` on; with
        rules the scores are taken relative to it.
        """
        chosen = scores >= border
        sure = functional.logsigmoid(torch.where(chosen, scores, -scores))
        for block in self.blocks:
            places = list(block.places)
            own = (block.allowed @ (scores[places] - border)).argmax()
            chosen[places] = block.allowed[own].bool()
            logs = _log_chances(scores[None, places], block.allowed)[0]
            sure[places] = (logs[own] - logs.logsumexp(0)) / len(places)
        return chosen, math.exp(float(sure.sum()))

    def semantic_loss(self, logits: Tensor) -> Tensor:
        """Minus the log of the probability that all rules hold, of each row of logits [E, C] (Xu et al. 2018, def. 1).

        The sum over blocks, which are independent of each other; exact, since all allowed sets are added up.
        """
        losses = logits.new_zeros(len(logits), dtype=torch.float32)
        for block in self.blocks:
            chances = _log_chances(logits.float()[:, list(block.places)], block.allowed.to(logits.device))
            losses = losses - chances.logsumexp(1)
        return losses.clamp(min=0.0)

    def broken(self, rows: NDArray[np.bool_]) -> list[tuple[str, NDArray[np.intp]]]:
        """Each rule that rows of labels [E, C] break, and which of them."""
        found = [(rule.text, np.flatnonzero(~rule.kept_by(rows))) for rule in self.rules]
        return [(text, places) for text, places in found if len(places)]


def check_rule_weight(rules: Sequence[str], weight: float) -> None:
    """Refuse a weight that is negative, or for which there are no rules.

    Raises:
        RecipeError: it is one of these.
    """
    if weight < 0 or (weight and not rules):
        raise RecipeError(
            "rule_weight must not be negative, and has no effect without rules.",
            where="task.rule_weight",
            to_do="Name rules in task.rules, or use 0.",
        )


def broken_rules(rules: Rules, labels: Sequence[str], examples: Sequence[Example]) -> list[Finding]:
    """A warning for each rule that labels of examples break."""
    rows = np.array([[label in labels_of(example) for label in labels] for example in examples]).reshape(
        -1, len(labels)
    )
    found = []
    for text, places in rules.broken(rows):
        shown = tuple(examples[place].origin or examples[place].id for place in places[:3])
        message = f"train: {len(places):,} examples break the rule '{text}'; no answer like theirs will be given."
        found.append(Finding("broken_rules", "warning", message, len(places), shown))
    return found


def _log_chances(scores: Tensor, allowed: Tensor) -> Tensor:
    """The log-probability of each allowed set [E, S] under independent labels with scores [E, n]."""
    return functional.logsigmoid(scores) @ allowed.T + functional.logsigmoid(-scores) @ (1 - allowed).T
