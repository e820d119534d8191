"""How one or several networks answer: alone, with their outputs averaged, by voting, or by passes with dropout."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from tunesmith.components import name_of
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import ArtifactError, RecipeError
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.llama_cpp import LlamaCppNetwork
from tunesmith.models.anatomy import drops_inside
from tunesmith.models.model import Model
from tunesmith.tasks import TASKS, Batch, Encoded, Mixing, Task
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.tasks.mixing import Form, disagreement, mixed

Combination = Literal["probabilities", "logits", "votes"]
"""How the answers of several models become one."""


class Answering(Protocol):
    """What turns batches into outputs, and these into answers."""

    def infer(self, batch: Batch) -> list[Tensor]:
        """What is known of each example of the batch, on the CPU."""

    def decode(
        self,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The answers that these outputs mean."""


@dataclass(frozen=True)
class Member:
    """A network with its task, whose temperature is its own; alone it answers as it is."""

    network: Model | GraphNetwork | LlamaCppNetwork
    task: Task

    def infer(self, batch: Batch) -> list[Tensor]:
        """What the task asks of the network."""
        was_training = self.network.training
        self.network.eval()
        rows = self.task.infer(self.network, batch)
        self.network.train(was_training)
        return rows

    def decode(
        self,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The task's answers."""
        return self.task.decode(self.network, encoder, examples, encoded, outputs)


@dataclass(frozen=True)
class Ensemble:
    """Several networks that were trained for one task with one tokenizer, and answer as one.

    An example's output is that of each member, one after another [M, ...]. For "probabilities" each is divided by its
    member's temperature first, and so it is for "logits"; the mean needs no further one. "votes" takes what over half
    of the members answer: a class, single labels, or spans with the same borders and type; of numbers the mean.

    Attributes:
        members: the networks; the first lends the task its head and its settings.
        by: how their answers become one.
    """

    members: tuple[Member, ...]
    by: Combination = "probabilities"

    def infer(self, batch: Batch) -> list[Tensor]:
        """The outputs of all members for each example [M, ...]."""
        rows = [member.infer(batch) for member in self.members]
        return [torch.stack(found) for found in zip(*rows, strict=True)]

    def decode(
        self,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The answers of all together."""
        if self.by == "votes":
            every = [
                member.decode(encoder, examples, encoded, [output[place] for output in outputs])
                for place, member in enumerate(self.members)
            ]
            return [voted(answers) for answers in zip(*every, strict=True)]
        parts = [
            [row / member.task.temperature for row, member in zip(output, self.members, strict=True)]
            for output in outputs
        ]
        return answers_of(self.members[0], encoder, examples, encoded, parts, self.by)

    def outputs(self, batch: Batch) -> Tensor:
        """What the members' networks give for a batch, mixed: the logits that one network would give."""
        assert self.by != "votes", "votes have no logits"
        every = [member.network(batch) / member.task.temperature for member in self.members]
        form = form_of(self.members[0].task)
        assert form is not None, "only tasks whose outputs can be averaged have such an ensemble"
        return mixed(every, form, self.by)


@dataclass(frozen=True)
class DropoutPasses:
    """One network asked several times with dropout, for the mean of its probabilities (Gal and Ghahramani 2016, eq. 6).

    The masks are a function of the seed, the number of the pass and the batch, so that the same texts have the same
    answers again. Torch's generator is left as it was.
    """

    member: Member
    passes: int
    seed: int

    def infer(self, batch: Batch) -> list[Tensor]:
        """The outputs of all passes for each example [passes, ...]."""
        network, task = self.member.network, self.member.task
        device = network.device
        rows = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            network.train()
            for place in range(self.passes):
                torch.manual_seed(self.seed * 1_000_003 + place)
                rows.append(task.infer(network, batch))
            network.eval()
        return [torch.stack(found) for found in zip(*rows, strict=True)]

    def decode(
        self,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The answers of the mean probabilities, and how far the passes are apart."""
        parts = [list(output / self.member.task.temperature) for output in outputs]
        return answers_of(self.member, encoder, examples, encoded, parts, "probabilities")


def answers_of(
    member: Member,
    encoder: TextEncoder,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    parts: Sequence[Sequence[Tensor]],
    by: Literal["probabilities", "logits"],
) -> list[Prediction]:
    """What several outputs for each example mean together, read as `member`'s task reads one."""
    form = form_of(member.task)
    assert form is not None, "only tasks whose outputs can be averaged have such an ensemble"
    cool = Member(member.network, with_temperature(member.task, 1.0))
    rows = [mixed(part, form, by) for part in parts]
    answers = cool.decode(encoder, examples, encoded, rows)
    apart = [uncertainty(part, form, cool.task.label_kind) for part in parts]
    return [replace(answer, uncertainty=value) for answer, value in zip(answers, apart, strict=True)]


def uncertainty(part: Sequence[Tensor], form: Form, label_kind: str) -> float:
    """How far the outputs for one example are apart; of its words those on which they are furthest."""
    apart = disagreement(part, form).flatten()
    if not len(apart):
        return math.nan
    return float(apart.max() if label_kind == "spans" else apart[0])


def with_temperature(task: Task, temperature: float) -> Task:
    """The task with another temperature, where it has one."""
    return task if task.temperature == temperature else replace(task, temperature=temperature)  # type: ignore[type-var]


def form_of(task: Task) -> Form | None:
    """In what form the task's outputs can be averaged; None where they cannot."""
    return task.mixing if isinstance(task, Mixing) else None


def voted(answers: Sequence[Prediction]) -> Prediction:
    """What most of several answers to one example say; a score is the share of those who say it.

    Two spans that overlap cannot both have over half of the votes, since no answer holds both. Of classes with as many
    votes the one that was surer on the whole is taken.
    """
    first, size = answers[0], len(answers)
    if isinstance(first.label, float):
        numbers = [float(one.label) for one in answers]  # type: ignore[arg-type]
        mean = sum(numbers) / size
        spread = math.sqrt(sum((number - mean) ** 2 for number in numbers) / size)
        return Prediction(first.id, mean, math.nan, uncertainty=spread)
    if isinstance(first.label, str):
        votes = Counter(str(one.label) for one in answers)
        sure: Counter[str] = Counter()
        for one in answers:
            sure.update({name: score for name, score in one.scores.items() if not math.isnan(score)})
        best = max(votes, key=lambda name: (votes[name], sure[name]))
        names = dict.fromkeys([*first.scores, *votes])
        return Prediction(first.id, best, votes[best] / size, {name: votes[name] / size for name in names})
    counts = Counter(item for one in answers for item in (one.label if isinstance(one.label, tuple) else ()))
    kept = [item for item, count in counts.items() if 2 * count > size]
    spans = sorted((item for item in kept if isinstance(item, Span)), key=lambda span: (span.start, span.end))
    if spans or any(isinstance(item, Span) for item in counts) or not first.scores:
        shares = tuple(counts[span] / size for span in spans)
        least = min(shares, default=sum(not one.label for one in answers) / size)
        return Prediction(first.id, tuple(spans), least, span_scores=shares)
    scores = {name: counts[name] / size for name in first.scores}
    labels = tuple(name for name in first.scores if name in kept)
    return Prediction(first.id, labels, math.prod(max(p, 1 - p) for p in scores.values()), scores)


VOTING = ("class", "classes", "spans", "number")
"""The kinds of labels on which votes can be counted."""


def check_combinable(members: Sequence[tuple[str, Task]], by: Combination) -> None:
    """See that the answers of named members can become one.

    Raises:
        ArtifactError: the tasks differ, or their answers cannot be counted or averaged.
    """
    first_name, first = members[0]
    if by == "votes":
        if first.label_kind not in VOTING:
            raise ArtifactError(
                f"Answers of {name_of(TASKS, first)} cannot be counted as votes.", where=first_name, to_do=_ONE
            )
        return
    forms = {form_of(task) for _, task in members}
    if len(forms) > 1 or len({_meaning(task) for _, task in members}) > 1:
        raise ArtifactError(
            "The outputs of these models do not mean the same, so they have no mean.",
            where=", ".join(name for name, _ in members),
            to_do="Combine runs of one recipe, or use --by votes.",
        )
    (form,) = forms
    if form is None:
        votes = first.label_kind in VOTING
        raise ArtifactError(
            f"The outputs of {name_of(TASKS, first)} with these settings have no {by} that can be averaged.",
            where=first_name,
            to_do="Use --by votes." if votes else _ONE,
        )
    if form == "numbers" and len({_scale(task) for _, task in members}) > 1:
        raise ArtifactError(
            "These models learnt numbers on different scales, so their outputs cannot be averaged as they are.",
            where=first_name,
            to_do="Use --by votes: it takes the mean of the numbers answered.",
        )


def _meaning(task: Task) -> tuple[str, ...]:
    """What decides which answer each output of a task stands for."""
    known = vars(task)
    return tuple(str(known.get(name)) for name in ("problem", "positive", "crf", "encoder", "no_relation"))


def _scale(task: Task) -> tuple[str, ...]:
    """What a task that answers with numbers learnt of them."""
    known = vars(task)
    return tuple(str(known[name]) for name in ("mean", "scale", "low", "high") if name in known)


def check_passes(member: Member, passes: int) -> None:
    """See that passes with dropout differ, and can be averaged.

    Raises:
        RecipeError: there are fewer than two, the model has no dropout, or its outputs cannot be averaged.
    """
    if passes < 2:
        raise RecipeError("One pass with dropout is no mean.", where="--passes", to_do="Use 20, for example.")
    network = member.network
    if not isinstance(network, Model):
        raise RecipeError(
            "Only torch's form of a model has dropout to answer with.",
            where="--passes",
            to_do="Leave it out, or answer with torch.",
        )
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Dropout))
    if not drops_inside(network.body) and not any(layer.p > 0 for layer in layers):
        raise RecipeError(
            "This model has no dropout, so that its passes are all alike.", where="--passes", to_do="Leave it out."
        )
    if form_of(member.task) is None:
        raise RecipeError(
            f"The outputs of {name_of(TASKS, member.task)} with these settings cannot be averaged over passes.",
            where="--passes",
            to_do="Leave it out.",
        )


_ONE = "Use one of the runs alone."
