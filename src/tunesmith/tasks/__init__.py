"""The kinds of problem: each task knows how to encode, lose, infer, decode and score its examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, Self, runtime_checkable

from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Finding, Prediction
from tunesmith.scoring import Measure
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.causal_language_modeling import CausalLanguageModeling
from tunesmith.tasks.encoding import Batch, BodyKind, Encoded, Network, TextEncoder
from tunesmith.tasks.few_shot_classification import FewShotClassification
from tunesmith.tasks.few_shot_tagging import FewShotTagging
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.masked_language_modeling import MaskedLanguageModeling
from tunesmith.tasks.mixing import Form
from tunesmith.tasks.multimodal_classification import MultimodalClassification
from tunesmith.tasks.prompt_classification import PromptClassification
from tunesmith.tasks.question_answering import QuestionAnswering
from tunesmith.tasks.recommendation import Recommendation
from tunesmith.tasks.relation_classification import RelationClassification
from tunesmith.tasks.sentence_pairs import SentencePairs
from tunesmith.tasks.sequence_classification import SequenceClassification
from tunesmith.tasks.sequence_to_sequence import SequenceToSequence
from tunesmith.tasks.text_generation import TextGeneration
from tunesmith.tasks.token_classification import TokenClassification
from tunesmith.tasks.zero_shot_classification import ZeroShotClassification


class Task(Protocol):
    """All that depends on the kind of problem.

    A task is a frozen dataclass. `prepared` returns a copy in which everything that must be learnt from the training
    examples or the tokenizer (labels, class weights, scale) is filled in; the other verbs need such a copy.
    """

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes or entity types, sorted; empty for regression."""

    @property
    def metric(self) -> str:
        """The metric by which checkpoints are compared and models are judged."""

    @property
    def label_kind(self) -> str:
        """The form of the labels, one of `LABEL_KINDS`."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """What an example must have, by the fields of `Example`: "text", and for example "second".

        One with a question mark may be missing where no labels are read.
        """

    @property
    def body(self) -> BodyKind:
        """Which form of a pre-trained network the task builds on."""

    @property
    def reads_labels(self) -> bool:
        """Whether an answer also says how likely the given label is, so that it must be read before answering."""

    @property
    def temperature(self) -> float:
        """What the scores are divided by before probabilities are taken; 1 before it is fitted."""

    @property
    def max_length(self) -> int:
        """Tokens per window that the recipe asks for; 0 for the model's own limit."""

    @property
    def token_types(self) -> int:
        """How many further kinds of token the backbone must tell apart (word shapes); 0 for none."""

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with labels and statistics learnt from the training examples.

        Where the data has items to recommend, these come first, as examples without a history and a label.
        """

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as the loss wants them: as they are, or for example in pairs."""

    def for_choosing(self) -> Self:
        """The task as it is asked while training, when only the metric that chooses a checkpoint matters."""

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a text into pieces that fit the encoder's window, with its label as target if it has one."""

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join encoded examples into tensors."""

    def build_head(self, shape: BodyShape) -> nn.Module:
        """The task's layer: what the body gives (states [P, T, H], or its own logits) and the batch -> logits."""

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss over the batch's `units`."""

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """Fit what is not learnt by gradients (a closed form, a memory of examples) on the training batches.

        This is done before the first step, before each validation, and at the end.
        """

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """Ask the network, and part what it gives (logits, or tokens that it wrote) by example, on the CPU."""

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """Turn what `infer` gave for each example into an answer on its original text."""

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """The metrics of these answers."""

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """Per-class results."""

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """Which class was taken for which; None where that has no meaning."""

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the answer as a whole is right."""

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples."""


@runtime_checkable
class Announcing(Protocol):
    """A task that has something to say of what it does with the training examples."""

    def announcements(self, examples: Sequence[Example], learning: Sequence[Example]) -> list[Finding]:
        """What the report shall say of the prepared task's training examples.

        `learning` is what the steps learn from, as `arranged` gave it; nothing where no step is made.
        """


@runtime_checkable
class Describing(Protocol):
    """A task that reads texts of its own for every answer, such as what its labels mean."""

    @property
    def own_texts(self) -> tuple[str, ...]:
        """These texts, as the encoder is given them."""


@runtime_checkable
class Comparing(Protocol):
    """A task that can say how far two outputs of the network for the same batch are apart."""

    @property
    def incomparable(self) -> str:
        """Why its outputs cannot be compared; empty where they can."""

    def divergence(self, one: Tensor, other: Tensor, batch: Batch, *, one_way: bool = False) -> Tensor:
        """How far two outputs are apart, the mean over the batch's `units`: see `losses.class_divergence`.

        With `one_way` it is how much `other` has to learn from `one`.
        """


@runtime_checkable
class Mixing(Protocol):
    """A task for which several outputs of `infer` for the same text can be made into one."""

    @property
    def mixing(self) -> Form | None:
        """What the outputs' last dimension holds; None where these settings leave no output that can be averaged."""


@runtime_checkable
class Writing(Protocol):
    """A task whose outputs of `infer` hold tokens that were written, so that they differ in length."""

    def apart(self, one: Tensor, other: Tensor) -> float:
        """How far two outputs for the same text are apart: the largest difference of a mean log-likelihood per token.

        What was written counts only where both wrote the same.
        """


@runtime_checkable
class Distributing(Protocol):
    """A task whose network gives each text a distribution over its classes, where its labels are one class."""

    def class_logits(self, logits: Tensor) -> Tensor:
        """One score per class [E, C] out of what the network gives, in the order of `Prediction.scores`."""


@runtime_checkable
class Separable(Protocol):
    """A task whose loss is a mean over labels, each of one example.

    Only there examples can have weights and uncertain labels, and can objectives tell groups of them apart.
    """

    def losses(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of each example, summed over its labels, its weight left aside [E].

        Times the weights, summed and divided by the batch's `units` it is the task's `loss`.
        """

    def label_counts(self, batch: Batch) -> Tensor:
        """How many labels of each example the loss averages over, its weight left aside [E]."""


TASKS: dict[str, type[Task]] = {
    "sequence_classification": SequenceClassification,
    "token_classification": TokenClassification,
    "relation_classification": RelationClassification,
    "question_answering": QuestionAnswering,
    "sentence_pairs": SentencePairs,
    "sequence_to_sequence": SequenceToSequence,
    "text_generation": TextGeneration,
    "masked_language_modeling": MaskedLanguageModeling,
    "causal_language_modeling": CausalLanguageModeling,
    "prompt_classification": PromptClassification,
    "few_shot_classification": FewShotClassification,
    "few_shot_tagging": FewShotTagging,
    "zero_shot_classification": ZeroShotClassification,
    "recommendation": Recommendation,
    "multimodal_classification": MultimodalClassification,
}

__all__ = [
    "TASKS",
    "Announcing",
    "Batch",
    "BodyShape",
    "CausalLanguageModeling",
    "Comparing",
    "Distributing",
    "Encoded",
    "FewShotClassification",
    "FewShotTagging",
    "MaskedLanguageModeling",
    "Mixing",
    "MultimodalClassification",
    "Network",
    "PromptClassification",
    "QuestionAnswering",
    "Recommendation",
    "RelationClassification",
    "SentencePairs",
    "Separable",
    "SequenceClassification",
    "SequenceToSequence",
    "Task",
    "TextGeneration",
    "TokenClassification",
    "Writing",
    "ZeroShotClassification",
]
