"""From what a user had to what is next, by the texts of the items."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from tunesmith.data.records import Example, Prediction
from tunesmith.errors import DataError, RecipeError
from tunesmith.scoring import Measure
from tunesmith.scoring.answers import class_of
from tunesmith.scoring.recommendation import (
    ITEM_KNN,
    MODEL,
    POPULARITY,
    fit_to_ranked,
    knn_scores,
    measure_ranks,
    neighbours,
    rank_of,
)
from tunesmith.scoring.tables import Confusion, Table
from tunesmith.tasks.encoding import (
    IGNORED,
    Batch,
    BodyKind,
    Encoded,
    Network,
    TextEncoder,
    plain_piece,
)
from tunesmith.tasks.heads import BodyShape
from tunesmith.tasks.item_batches import HISTORY, among, collate_histories, sampled
from tunesmith.tasks.item_catalogue import ItemCatalogue
from tunesmith.tasks.item_encoders import NEIGHBOURS, ItemHead, ItemShape
from tunesmith.tasks.ranges import HELD, check_numbers


@dataclass(frozen=True)
class Recommendation:
    """Rank the items that a user may take next by the history; an item is its text, so that new ones are ranked too.

    The loss is over every place of a training history; answers are judged among all items that the user does not have
    yet. Beside them stand the ranks that popularity and item-kNN give.

    Needs: a file of items with their texts (data.items), and histories: rows as {"history": ["12", "7"], "label": "3"}
    or ratings with users and times (data.format: ratings; r.csv!train, r.csv!validation and r.csv!test of one file).

    Metrics: ndcg@10, hr@10 and mrr among all items, also at 5 and 20; ndcg@10 of popularity and item-kNN for the same
    users, and how far the model is above them.

    Long texts: windows over an item's text, averaged; of a history the oldest items are cut, and counted.

    Attributes:
        encoder: "sequential", a causal transformer (SASRec), or "two_tower", the history's mean through two layers.
        size: the width of item and user vectors.
        layers, heads: of the sequential encoder.
        dropout: of item vectors and in the encoder, in [0, 1).
        item_ids: whether each item of the training histories also has a learnt vector of its own.
        id_dropout: share of the items whose own vector is left out of a step, so that texts alone say enough.
        max_history: the most items of a history that are read, the newest; the cut is counted.
        softmax: over all items of the training histories ("full"), or over the batch's and some drawn ones ("sampled").
        negatives: items drawn for a step beside the batch's own ("sampled").
        correction: take the logarithm of an item's chance to be among the sampled off its score (Yi et al. 2019).
        learn_texts: whether the body learns from the items' texts; otherwise it reads them once, which is much faster.
        pooling: how token states become one; "auto" takes what the backbone was trained with.
        max_length: tokens per window of an item's text, special tokens included; 0 means the model's own limit.
        stride: tokens that neighbouring windows share.
        answers: how many of the best items an answer names.
        temperature: divides the scores before probabilities are taken; fitted on validation after training.
        item_texts: the text of each item by its id, read from data.items.
        popularity: how many training histories have each item, learnt from them.
    """

    encoder: Literal["sequential", "two_tower"] = "sequential"
    size: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    item_ids: bool = True
    id_dropout: float = 0.1
    max_history: int = 200
    softmax: Literal["full", "sampled"] = "full"
    negatives: int = 0
    correction: bool = True
    learn_texts: bool = False
    pooling: Literal["auto", "mean", "cls", "max", "last"] = "auto"
    max_length: int = 0
    stride: int = 32
    answers: int = 10
    temperature: float = 1.0
    item_texts: dict[str, str] = field(default_factory=dict, metadata={HELD: "the texts of the items"})
    popularity: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(label_smoothing=0.0, max_length=self.max_length, stride=self.stride, temperature=self.temperature)
        for name in ("size", "layers", "heads", "max_history", "answers"):
            if self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 1.", where=f"task.{name}")
        for name in ("dropout", "id_dropout"):
            if not 0 <= self.__dict__[name] < 1:
                raise RecipeError(f"{name} must be at least 0 and below 1.", where=f"task.{name}")
        if self.negatives < 0:
            raise RecipeError("negatives must not be negative.", where="task.negatives")
        if self.encoder == "sequential" and self.size % self.heads:
            raise RecipeError(
                f"size {self.size} cannot be parted among {self.heads} heads.",
                where="task.heads",
                to_do="Use a size that is a multiple of heads.",
            )
        usual = {"layers": 2, "heads": 2, "id_dropout": 0.1, "negatives": 0, "correction": True}
        for names, is_used, needed in (
            (("layers", "heads"), self.encoder == "sequential", "encoder: sequential"),
            (("id_dropout",), self.item_ids, "item_ids: true"),
            (("negatives", "correction"), self.softmax == "sampled", "softmax: sampled"),
        ):
            for name in names:
                if self.__dict__[name] != usual[name] and not is_used:
                    raise RecipeError(
                        f"{name} has no effect without {needed}.",
                        where=f"task.{name}",
                        to_do=f"Remove it, or set {needed}.",
                    )

    @property
    def labels(self) -> tuple[str, ...]:
        """None: what is answered are items, of which there may be any number."""
        return ()

    @property
    def metric(self) -> str:
        """NDCG@10 among all items that the user does not have."""
        return "ndcg@10"

    @property
    def label_kind(self) -> str:
        """The id of the next item."""
        return "item"

    @property
    def inputs(self) -> tuple[str, ...]:
        """A history of items."""
        return ("history",)

    @property
    def body(self) -> BodyKind:
        """A bare body."""
        return "encoder"

    @property
    def reads_labels(self) -> bool:
        """The rank of the given item is part of the answer."""
        return True

    @property
    def token_types(self) -> int:
        """There are no kinds of token."""
        return 0

    def prepared(self, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> Self:
        """Return a copy with the items' texts (the examples without history) and how often training has each item."""
        texts = {example.id: example.text for example in examples if not example.history} or self.item_texts
        if not texts:
            raise DataError("There are no items.", where="data.items", to_do="Give the file with the items' texts.")
        items = ItemCatalogue(texts)
        counts = Counter(number for example in examples if example.history for number in items.sequence(example))
        return replace(self, item_texts=texts, popularity=tuple(counts[number] for number in range(len(texts))))

    def arranged(self, examples: Sequence[Example], seed: int) -> Sequence[Example]:
        """The training examples as they are."""
        return examples

    def for_choosing(self) -> Self:
        """The same task."""
        return self

    @cached_property
    def catalogue(self) -> ItemCatalogue:
        """The items that there are."""
        return ItemCatalogue(self.item_texts, self.popularity)

    def encode(self, example: Example, encoder: TextEncoder) -> Encoded:
        """Turn a history into item numbers, or an item of data.items into windows of its text.

        The target is the whole sequence, so that item-kNN sees what the cut leaves out.
        """
        items = self.catalogue
        if items.holds(example):
            return Encoded(items.pieces(items.numbers[example.id], encoder, self.stride), None)
        whole = items.sequence(example)
        history = whole if example.label is None else whole[:-1]
        read = history[-self.max_history :]
        pieces = [plain_piece(read, part=HISTORY)]
        if example.label is None:
            return Encoded(tuple(pieces), None, dropped=len(history) - len(read))
        if self.learn_texts:
            for number in dict.fromkeys([*read, whole[-1]]):
                pieces += items.pieces(number, encoder, self.stride)
        return Encoded(tuple(pieces), np.array(whole, dtype=np.float64), dropped=len(history) - len(read))

    @property
    def own_texts(self) -> tuple[str, ...]:
        """The items' texts."""
        return tuple(self.item_texts.values())

    def collate(self, encoded: Sequence[Encoded], pad_id: int) -> Batch:
        """Join histories, targets and texts (see `collate_histories`), and name the items a target is chosen among.

        "candidates" [C] of the batch's `media` are numbers of items, "chances" [C] the logarithms of the chance that
        each was to be there, 0 for certain; `targets` become places among the candidates.
        """
        batch = collate_histories(encoded, pad_id)
        known = self.catalogue.known
        candidates, chances = known, torch.zeros(len(known))
        if batch.targets is None:
            return replace(batch, media={**batch.media, "candidates": candidates, "chances": chances})
        if self.softmax == "sampled":
            candidates, logarithms = sampled(batch.targets, known, self.catalogue.shares, self.negatives)
            chances = logarithms.float() if self.correction else torch.zeros(len(candidates))
        media = {**batch.media, "candidates": candidates, "chances": chances}
        return replace(batch, targets=among(batch.targets, candidates), media=media)

    def build_head(self, shape: BodyShape) -> nn.Module:
        """Item vectors, the encoder of histories, and their dot products."""
        pooling = shape.pooling if self.pooling == "auto" else self.pooling
        known = self.catalogue.known.tolist() if self.item_ids else ()
        sizes = (self.layers, self.heads, self.max_history, self.dropout, self.id_dropout)
        form = ItemShape(shape.hidden_size, self.size, pooling, self.encoder, *sizes, known)
        return ItemHead(len(self.item_texts), form)

    def loss(self, head: nn.Module, logits: Tensor, batch: Batch) -> Tensor:
        """The mean cross-entropy of the next item over all places: scores less the logarithm of being a candidate.

        s(x, y) - log p(y) for sampled candidates (Yi et al. 2019, eq. 5), so that popular items are not pushed down for
        being in many batches.
        """
        assert batch.targets is not None, "a batch for training has targets"
        wanted = batch.targets[batch.targets != IGNORED]
        losses = functional.cross_entropy(logits.float() - batch.media["chances"], wanted, reduction="sum")
        return losses / batch.units

    def settle(self, network: Network, batches: Iterable[Batch]) -> None:
        """Read the items' texts, and see for item-kNN which items the same users have.

        Raises:
            RecipeError: the body learns and `learn_texts` does not say so, or the other way round.
        """
        if network.body_learns != self.learn_texts:
            raise RecipeError(
                "The method lets the body learn, but the items' texts are read once, so it would learn nothing."
                if network.body_learns
                else "learn_texts has no effect while the body is frozen.",
                where="task.learn_texts",
                to_do="Set learn_texts: true, or method: head_only."
                if network.body_learns
                else "Remove it, or choose a method that opens the body.",
            )
        head = network.head
        assert isinstance(head, ItemHead), "the head that this task builds"
        if bool(head.settled) and not self.learn_texts:
            return
        sequences: list[list[int]] = []
        with torch.no_grad():
            for batch in batches:
                rows = [[number for number in row if number >= 0] for row in batch.media["sequence"].tolist()]
                sequences += [row for row in rows if row]
                if not all(rows):  # items stand without a history
                    head.keep(network.hidden(batch), batch)
        head.keep_neighbours(*neighbours(sequences, len(self.item_texts), NEIGHBOURS))

    def infer(self, network: Network, batch: Batch) -> list[Tensor]:
        """The scores of all items for each example, from the kept states of their texts."""
        assert isinstance(network.head, ItemHead), "the head that this task builds"
        return list(network.head.ranked(batch).float().cpu())

    def decode(
        self,
        network: Network,
        encoder: TextEncoder,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        outputs: Sequence[Tensor],
    ) -> list[Prediction]:
        """The best items that the user does not have, and the rank of the label, if there is one."""
        assert isinstance(network.head, ItemHead), "the head that this task builds"
        near = network.head.neighbours()
        return [self._answer(example, row, near) for example, row in zip(examples, outputs, strict=True)]

    def _answer(self, example: Example, row: Tensor, near: tuple[NDArray[np.int64], NDArray[np.float64]]) -> Prediction:
        sequence = self.catalogue.sequence(example)
        history = sequence if example.label is None else sequence[:-1]
        taken = set(history)
        scores = row.numpy().astype(np.float64)
        ranks = {}
        if example.label is not None:
            popular = np.array(self.popularity, dtype=np.float64)
            rankers = {MODEL: scores, POPULARITY: popular, ITEM_KNN: knn_scores(history, *near)}
            ranks = {name: rank_of(ranker, sequence[-1], taken) for name, ranker in rankers.items()}
        texts = {self.catalogue.ids[number]: self.item_texts[self.catalogue.ids[number]] for number in sequence}
        if len(taken) == len(self.item_texts):
            return Prediction(example.id, "", math.nan, texts=texts, ranks=ranks)
        scores[list(taken)] = -np.inf
        chances = softmax(scores / self.temperature)
        best = np.argsort(-scores, kind="stable")[: min(self.answers, len(scores) - len(taken))]
        given = {self.catalogue.ids[number]: float(chances[number]) for number in best}
        texts |= {item: self.item_texts[item] for item in given}
        first = self.catalogue.ids[best[0]]
        return Prediction(example.id, first, given[first], given, texts=texts, ranks=ranks)

    def measures(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Measure]:
        """NDCG, hit rate and MRR among all items, and the same users' NDCG by popularity and item-kNN."""
        for example in examples:
            class_of(example)
        return measure_ranks(examples, predictions)

    def tables(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> tuple[Table, ...]:
        """None: there are too many items."""
        return ()

    def confusion(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> Confusion | None:
        """None: there are too many items."""
        return None

    def is_correct(self, example: Example, prediction: Prediction) -> bool:
        """Whether the best item is the one that was taken."""
        return example.label == prediction.label

    def calibrated(self, encoded: Sequence[Encoded], logits: Sequence[Tensor]) -> Self:
        """Return a copy whose temperature fits the validation examples (Guo et al. 2017, sec. 4.2)."""
        pairs = [(row, item.target) for item, row in zip(encoded, logits, strict=True) if item.target is not None]
        rows = [row.numpy().astype(np.float64) for row, _ in pairs]
        return replace(self, temperature=fit_to_ranked(rows, [whole.astype(np.int64).tolist() for _, whole in pairs]))
