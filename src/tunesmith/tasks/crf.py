"""Linear-chain conditional random field over IOB2 tags, and decoding that only allows what IOB2 allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tunesmith.errors import RecipeError, nearest

FORBIDDEN = -1e4
"""The score of a transition that IOB2 does not allow: as good as never, and finite in every sum."""


def forbidden_transitions(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Penalties [K, K] (from row to column) and [K] (at the start): FORBIDDEN where I-x follows neither B-x nor I-x."""
    steps = torch.zeros(len(tags), len(tags))
    start = torch.zeros(len(tags))
    for column, tag in enumerate(tags):
        if tag.startswith("I-"):
            start[column] = FORBIDDEN
            for row, before in enumerate(tags):
                if before not in (f"B-{tag[2:]}", tag):
                    steps[row, column] = FORBIDDEN
    return steps, start


def see_steps(steps: Sequence[str], tags: Sequence[str]) -> None:
    """See that further forbidden steps are of two tags each.

    Raises:
        RecipeError: one is not, or names a tag that there is not.
    """
    for step in steps:
        parts = step.split(" -> ")
        wrong = [tag for tag in parts if tag not in tags]
        if len(parts) != 2 or wrong:
            raise RecipeError(
                f"'{step}' is no step between two tags.{nearest(wrong[0], tags) if wrong else ''}",
                where="task.forbidden_steps",
                to_do=f"Write 'TAG -> TAG' with {', '.join(tags[:9])}.",
            )


def step_penalties(steps: Sequence[str], tags: Sequence[str]) -> Tensor:
    """FORBIDDEN at the steps that are named [K, K]."""
    found = torch.zeros(len(tags), len(tags))
    for step in steps:
        row, column = (tags.index(tag) for tag in step.split(" -> "))
        found[row, column] = FORBIDDEN
    return found


class LinearChainCRF(nn.Module):
    """Scores of tag sequences: emissions plus learnt transitions (Lafferty et al. 2001, eq. 1), always in float32.

    The mask [B, W] must be true for the first words of each row and false after; a row may be empty.
    """

    def __init__(self, tags: Sequence[str], *, constrained: bool = True) -> None:
        super().__init__()
        size = len(tags)
        self.tags = tuple(tags)
        self.transitions = nn.Parameter(torch.zeros(size, size))
        self.start = nn.Parameter(torch.zeros(size))
        self.end = nn.Parameter(torch.zeros(size))
        steps, start = forbidden_transitions(tags)
        self.register_buffer("step_penalty", steps if constrained else torch.zeros(size, size), persistent=False)
        self.register_buffer("start_penalty", start if constrained else torch.zeros(size), persistent=False)

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Log p(tags | emissions) of each row, [B]; emissions [B, W, K], tags [B, W]."""
        steps, start, emissions = self._scores(emissions)
        if not mask.shape[1]:
            return emissions.new_zeros(len(mask))
        # A row that is a later window of a long text may begin inside an entity.
        begins_inside = self.get_buffer("start_penalty")[tags[:, 0]] < 0
        start = torch.where(begins_inside[:, None], self.start.float(), start)
        forward = _forward(emissions, mask, steps, start)
        score = self._path_score(emissions, tags, mask, steps, start)
        total = torch.logsumexp(forward[:, -1] + self.end, dim=-1)  # the sums stand still after the last word
        return torch.where(mask[:, 0], score - total, torch.zeros_like(total))

    def viterbi(self, emissions: Tensor, mask: Tensor, forbidden: Sequence[str] = ()) -> list[list[int]]:
        """The best tag sequence of each row that takes none of the forbidden steps."""
        steps, start, emissions = self._scores(emissions)
        return viterbi(emissions, mask, steps + step_penalties(forbidden, self.tags).to(steps), start, self.end)

    def marginals(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """p(tag at word | emissions), [B, W, K], by the forward-backward algorithm; zero where the mask is false."""
        steps, start, emissions = self._scores(emissions)
        forward = _forward(emissions, mask, steps, start)
        backward = torch.zeros_like(forward)
        width = mask.shape[1]
        after = self.end.expand(len(mask), -1)
        for word in range(width - 1, -1, -1):
            is_last = mask[:, word] & ~(mask[:, word + 1] if word + 1 < width else torch.zeros_like(mask[:, 0]))
            if word + 1 < width:
                reached = (steps + (emissions[:, word + 1] + after)[:, None, :]).logsumexp(-1)
                after = torch.where(is_last[:, None], self.end, reached)
            backward[:, word] = after
        joint = forward + backward
        return joint.softmax(-1) * mask[:, :, None]

    def _scores(self, emissions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps: Tensor = self.transitions.float() + self.get_buffer("step_penalty")
        start: Tensor = self.start.float() + self.get_buffer("start_penalty")
        return steps, start, emissions.float()

    def _path_score(self, emissions: Tensor, tags: Tensor, mask: Tensor, steps: Tensor, start: Tensor) -> Tensor:
        chosen = emissions.gather(-1, tags[:, :, None])[:, :, 0] * mask
        moves = steps[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
        last = tags.gather(1, (mask.sum(1) - 1).clamp(min=0)[:, None])[:, 0]
        return chosen.sum(1) + moves.sum(1) + start.gather(1, tags[:, :1])[:, 0] + self.end[last]


def bio_viterbi(scores: Tensor, tags: Sequence[str], mask: Tensor, forbidden: Sequence[str] = ()) -> list[list[int]]:
    """The best tag sequences that IOB2 and the forbidden steps allow, under independent scores [B, W, K] of words."""
    steps, start = forbidden_transitions(tags)
    steps = steps + step_penalties(forbidden, tags)
    return viterbi(
        scores, mask, steps.to(scores.device), start.to(scores.device), torch.zeros_like(start).to(scores.device)
    )


def viterbi(emissions: Tensor, mask: Tensor, steps: Tensor, start: Tensor, end: Tensor) -> list[list[int]]:
    """The tag sequence with the highest score of each row (Viterbi 1967)."""
    if not mask.shape[1]:
        return [[] for _ in range(len(mask))]
    score = emissions[:, 0] + start
    origins = []
    for word in range(1, mask.shape[1]):
        best, origin = (score[:, :, None] + steps).max(1)
        score = torch.where(mask[:, word, None], best + emissions[:, word], score)
        origins.append(origin)
    tag = (score + end).argmax(-1)
    history = torch.stack(origins).cpu() if origins else torch.zeros(0, len(mask), 1, dtype=torch.long)
    return [
        _trace_back(int(last), history[: max(length - 1, 0), row], length)
        for row, (last, length) in enumerate(zip(tag, mask.sum(1).tolist(), strict=True))
    ]


def _trace_back(last: int, origins: Tensor, length: int) -> list[int]:
    if not length:
        return []
    path = [last]
    for origin in reversed(origins.tolist()):
        path.append(origin[path[-1]])
    return path[::-1]


def _forward(emissions: Tensor, mask: Tensor, steps: Tensor, start: Tensor) -> Tensor:
    """Log-sums of the scores of all prefixes that end at each word in each tag, [B, W, K]."""
    if not mask.shape[1]:
        return emissions
    sums = [emissions[:, 0] + start]
    for word in range(1, mask.shape[1]):
        reached = (sums[-1][:, :, None] + steps).logsumexp(1) + emissions[:, word]
        sums.append(torch.where(mask[:, word, None], reached, sums[-1]))
    return torch.stack(sums, 1)
