"""Recommendation: no answer knows its label, items are read by their texts, and two encoders learn planted rules."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders import HISTORIES, ITEM_TEXTS, build_learner, build_material, build_model, run_steps
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import Full, HeadOnly
from tunesmith.tasks import Recommendation
from tunesmith.tasks.encoding import IGNORED, Batch
from tunesmith.tasks.item_batches import among, sampled
from tunesmith.tasks.item_encoders import ItemHead

SMALL = Recommendation(size=8, layers=1, dropout=0.0, id_dropout=0.0, answers=20)
FORMS = {
    "sequential": SMALL,
    "two_tower": replace(SMALL, encoder="two_tower", layers=2),
    "texts": replace(SMALL, learn_texts=True),
    "sampled": replace(SMALL, softmax="sampled", negatives=3),
}


def items_of(texts: dict[str, str]) -> list[Example]:
    return [Example(item, text) for item, text in texts.items()]


def trained(
    task: Recommendation,
    texts: dict[str, str],
    examples: list[Example],
    folder: Path,
    *,
    steps: int = 0,
    rate: float = 3e-3,
) -> Predictor:
    """A model that has read the items and learnt from the histories for so many steps."""
    torch.manual_seed(0)
    method = Full() if task.learn_texts else HeadOnly()
    model, prepared, encoder = build_model(folder, task, [*items_of(texts), *examples], method)
    material = build_material(prepared, encoder, examples)
    memory = [prepared.encode(example, encoder) for example in [*items_of(texts), *examples]]
    material = replace(material, memory=memory)
    material.settle(model)
    if steps:
        run_steps(build_learner(model, clip=1.0), material, steps=steps, rate=rate, batch_size=32)
        material.settle(model)
    return Predictor(model.eval(), prepared, encoder)


def head_of(predictor: Predictor) -> ItemHead:
    assert isinstance(predictor.model.head, ItemHead)
    return predictor.model.head


def popularity_of(predictor: Predictor) -> tuple[int, ...]:
    assert isinstance(predictor.task, Recommendation)
    return predictor.task.popularity


def answer_all(predictor: Predictor, examples: list[Example]) -> float:
    """The share of the examples whose best item is the label."""
    answers = predictor.predict(examples)
    return float(np.mean([answer.label == example.label for answer, example in zip(answers, examples, strict=True)]))


# What an answer may know


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_the_same_whatever_its_label(form: str, tiny_model_folder: Path) -> None:
    predictor = trained(FORMS[form], ITEM_TEXTS, HISTORIES, tiny_model_folder, steps=3)
    history = ("1", "3")
    labels: list[str | None] = [None, *(item for item in ITEM_TEXTS if item not in history)]
    answers = [predictor.predict([Example("x", "", label, history=history)])[0] for label in labels]
    bare = answers[0]
    assert not bare.ranks
    for label, answer in zip(labels[1:], answers[1:], strict=True):
        assert answer.scores == bare.scores
        assert answer.ranks["model"] == 1 + list(bare.scores).index(str(label))


@pytest.mark.parametrize("form", FORMS)
def test_what_follows_a_place_does_not_change_its_user(form: str, tiny_model_folder: Path) -> None:
    predictor = trained(FORMS[form], ITEM_TEXTS, HISTORIES, tiny_model_folder, steps=3)
    head = head_of(predictor)
    vectors = head.vectors(head.states)
    one, other = (head.users(vectors, torch.tensor([row])) for row in ([0, 1, 2, 3, 4], [0, 1, 2, 8, 7]))
    torch.testing.assert_close(one[:, :3], other[:, :3])
    assert not torch.allclose(one[:, 3:], other[:, 3:], atol=1e-3)


@pytest.mark.parametrize("longest", [2, 3, 10])
def test_every_place_is_asked_for_the_item_that_follows_and_the_oldest_are_cut(
    longest: int, tiny_model_folder: Path
) -> None:
    examples = [Example("a", "", "5", history=("1", "2", "3", "4")), Example("b", "", "9", history=("8",))]
    task = replace(SMALL, max_history=longest)
    _, task, encoder = build_model(tiny_model_folder, task, [*items_of(ITEM_TEXTS), *examples], HeadOnly())
    encoded = [task.encode(example, encoder) for example in examples]
    assert [item.dropped for item in encoded] == [max(0, 4 - longest), 0]
    batch = task.collate(encoded, 0)
    candidates = batch.media["candidates"]
    assert batch.targets is not None
    pairs = [
        [(int(item), int(candidates[place])) for item, place in zip(row, targets, strict=True) if item >= 0]
        for row, targets in zip(batch.media["history"], batch.targets, strict=True)
    ]
    assert pairs == [[(0, 1), (1, 2), (2, 3), (3, 4)][-longest:], [(7, 8)]]
    assert (batch.targets == IGNORED).equal(batch.media["history"] < 0)
    assert batch.units == sum(len(row) for row in pairs)


# What is answered


def test_what_a_user_has_is_never_recommended_and_answers_are_ranked(tiny_model_folder: Path) -> None:
    predictor = trained(replace(SMALL, answers=4), ITEM_TEXTS, HISTORIES, tiny_model_folder)
    for answer, example in zip(predictor.predict(HISTORIES), HISTORIES, strict=True):
        assert not set(answer.scores) & set(example.history)
        assert len(answer.scores) == min(4, len(ITEM_TEXTS) - len(example.history))
        assert list(answer.scores.values()) == sorted(answer.scores.values(), reverse=True)
        assert answer.label == next(iter(answer.scores))
        assert {item: answer.texts[item] for item in answer.scores} == {
            item: ITEM_TEXTS[item] for item in answer.scores
        }
    (full,) = trained(SMALL, ITEM_TEXTS, HISTORIES, tiny_model_folder).predict(HISTORIES[:1])
    assert sum(full.scores.values()) == pytest.approx(1)
    (none,) = predictor.predict([Example("x", "", history=tuple(ITEM_TEXTS))])
    assert (none.label, none.scores) == ("", {})
    (taken,) = predictor.predict([Example("x", "", "1", history=("1", "2"))])
    assert set(taken.ranks.values()) == {0}


def test_popularity_and_item_knn_know_the_training_histories_alone(tiny_model_folder: Path) -> None:
    predictor = trained(SMALL, ITEM_TEXTS, HISTORIES, tiny_model_folder)
    sequences = [[*map(int, example.history), int(str(example.label))] for example in HISTORIES]
    counts = Counter(item for sequence in sequences for item in sequence)
    assert popularity_of(predictor) == tuple(counts[int(item)] for item in ITEM_TEXTS)
    has = np.zeros((len(sequences), 10))
    for user, sequence in enumerate(sequences):
        has[user, sequence] = 1
    lengths = np.maximum(np.linalg.norm(has, axis=0), 1)
    cosine = has.T @ has / np.outer(lengths, lengths)
    np.fill_diagonal(cosine, 0)
    for history, label in ((("1", "4"), "3"), (("9",), "6"), (("8", "2", "5"), "7")):
        (answer,) = predictor.predict([Example("x", "", label, history=history)])
        free = [item for item in range(1, 10) if str(item) not in history]
        near = cosine[[int(item) for item in history]].sum(0).round(6)
        popular = [-item for _, item in sorted(((counts[item], -item) for item in free), reverse=True)]
        alike = [-item for _, item in sorted(((near[item], -item) for item in free), reverse=True)]
        assert answer.ranks["popularity"] == 1 + popular.index(int(label))
        assert answer.ranks["item_knn"] == 1 + alike.index(int(label))


def test_an_unknown_item_and_a_missing_history_are_refused(tiny_model_folder: Path) -> None:
    predictor = trained(SMALL, ITEM_TEXTS, HISTORIES, tiny_model_folder)
    with pytest.raises(DataError, match=r"Unknown item '33'\. Did you mean '3'"):
        predictor.predict([Example("x", "", history=("33",))])
    with pytest.raises(DataError, match="There is no history"):
        predictor.predict_texts(["1,2"])


# What is learnt


def test_the_sequential_encoder_learns_an_order_that_a_mean_does_not_see(tiny_model_folder: Path) -> None:
    words = ("good", "bad", "day", "work", "paris", "rome", "london", "blue")
    texts = {str(n): f"film {word}" for n, word in enumerate(words)}

    def walk(number: int) -> Example:
        """Three neighbours on a circle of items, one way or the other, and the one that is next on that way."""
        start, way = number % 8, (1, -1)[number // 8 % 2]
        *history, label = (str((start + way * step) % 8) for step in range(4))
        return Example(str(number), "", label, history=tuple(history))

    train, test = [walk(n) for n in range(64)], [walk(n) for n in range(16)]
    task = Recommendation(size=16, layers=1, dropout=0.0, id_dropout=0.0)
    sequential = trained(task, texts, train, tiny_model_folder, steps=80, rate=1e-2)
    two_tower = trained(
        replace(task, encoder="two_tower", layers=2), texts, train, tiny_model_folder, steps=80, rate=1e-2
    )
    assert answer_all(sequential, test) == 1
    assert 0.4 <= answer_all(two_tower, test) <= 0.6  # either end of the three, whichever way they were taken


def kinds(count: int, cold: tuple[str, ...] = ()) -> tuple[dict[str, str], list[Example]]:
    """Items of two kinds by their texts, and users who take one kind only, never the `cold` items."""
    words = ["day", "work", "film", "paris", "rome", "london"]
    texts = {f"{kind}{n}": f"{kind} {word}" for kind in ("red", "blue") for n, word in enumerate(words)}
    draw = random.Random(0)
    examples = []
    for number in range(count):
        own = [item for item in texts if item.startswith(("red", "blue")[number % 2]) and item not in cold]
        *history, label = draw.sample(own, 4)
        examples.append(Example(str(number), "", label, history=tuple(history)))
    return texts, examples


@pytest.mark.parametrize("form", FORMS)
def test_each_encoder_learns_which_items_belong_together(form: str, tiny_model_folder: Path) -> None:
    texts, train = kinds(64)
    predictor = trained(replace(FORMS[form], size=16), texts, train, tiny_model_folder, steps=60, rate=1e-2)
    for answer, example in zip(predictor.predict(train[:20]), train[:20], strict=True):
        kind = example.history[0][:3]
        assert {item[:3] for item in list(answer.scores)[:3]} == {kind}


@pytest.mark.parametrize("form", ["sequential", "two_tower", "texts"])
def test_an_item_that_no_one_has_yet_is_recommended_by_its_text(form: str, tiny_model_folder: Path) -> None:
    texts, train = kinds(64, cold=("red0", "blue5"))
    task = replace(FORMS[form], size=16, id_dropout=0.3)
    predictor = trained(task, texts, train, tiny_model_folder, steps=150, rate=1e-2)
    assert popularity_of(predictor)[list(texts).index("red0")] == 0
    red, blue = (Example(kind, "", history=(f"{kind}1", f"{kind}2")) for kind in ("red", "blue"))
    for example, own, foreign in ((red, "red0", "blue5"), (blue, "blue5", "red0")):
        (answer,) = predictor.predict([example])
        places = list(answer.scores)
        assert places.index(own) < 4 <= places.index(foreign)  # the user has two of the six of a kind


def test_an_item_without_training_has_no_vector_of_its_own(tiny_model_folder: Path) -> None:
    texts, train = kinds(16, cold=("red0",))
    predictor = trained(SMALL, texts, train, tiny_model_folder, steps=5, rate=1e-1)
    head, place = head_of(predictor), list(texts).index("red0")
    with torch.no_grad():
        learnt = head.vectors(head.states) - head.text(head.norm(head.states))
    assert not learnt[place].any()
    assert learnt[torch.arange(len(texts)) != place].abs().sum(1).min() > 0


def test_a_body_that_learns_must_be_asked_to_read_again_and_the_other_way_round(tiny_model_folder: Path) -> None:
    for task, method in ((SMALL, Full()), (replace(SMALL, learn_texts=True), HeadOnly())):
        model, prepared, _ = build_model(tiny_model_folder, task, [*items_of(ITEM_TEXTS), *HISTORIES], method)
        with pytest.raises(RecipeError) as caught:
            prepared.settle(model, ())
        assert caught.value.where == "task.learn_texts"


# The loss over sampled items


def test_the_chance_to_be_sampled_is_how_often_an_item_is() -> None:
    draw, torch_draws = np.random.default_rng(0), 4000
    torch.manual_seed(0)
    shares = np.array([0.5, 0.2, 0.2, 0.1, 0.0])
    known = torch.tensor([0, 1, 2, 3])
    seen, told = np.zeros(5), np.full(5, np.nan)
    for _ in range(torch_draws):
        targets = torch.from_numpy(draw.choice(5, 3, p=shares))
        candidates, logarithms = sampled(
            torch.cat([targets, torch.tensor([IGNORED])]), known, torch.from_numpy(shares), 2
        )
        assert set(targets.tolist()) <= set(candidates.tolist()) <= {0, 1, 2, 3}
        assert candidates.tolist() == sorted(set(candidates.tolist()))
        seen[candidates.numpy()] += 1
        told[candidates.numpy()] = logarithms.exp().numpy()
    assert seen[:4] / torch_draws == pytest.approx(told[:4], abs=0.03)


def test_targets_are_places_among_the_candidates() -> None:
    found = among(torch.tensor([[7, 3, IGNORED], [9, 4, 2]]), torch.tensor([2, 3, 7]))
    assert found.tolist() == [[2, 1, IGNORED], [IGNORED, IGNORED, 0]]
    assert among(torch.tensor([1]), torch.tensor([], dtype=torch.long)).tolist() == [IGNORED]


@pytest.mark.parametrize("correction", [True, False])
def test_the_loss_takes_the_logarithm_of_the_chance_off_the_scores(correction: bool, tiny_model_folder: Path) -> None:
    task = replace(SMALL, softmax="sampled", negatives=2, correction=correction)
    model, task, encoder = build_model(tiny_model_folder, task, [*items_of(ITEM_TEXTS), *HISTORIES], HeadOnly())
    torch.manual_seed(4)
    batch = task.collate([task.encode(example, encoder) for example in HISTORIES[:3]], 0)
    candidates = batch.media["candidates"].tolist()
    places = sum(len(example.history) for example in HISTORIES[:3])
    total, known = sum(task.popularity), sum(count > 0 for count in task.popularity)
    chances = [1 - (1 - task.popularity[n] / total) ** places * (1 - 1 / known) ** 2 for n in candidates]
    logits = torch.randn(places, len(candidates))
    wanted = [candidates.index(int(item) - 1) for e in HISTORIES[:3] for item in [*e.history, str(e.label)][1:]]
    rows = logits.double().numpy() - (np.log(chances) if correction else 0)
    expected = np.mean([math.log(np.exp(row).sum()) - row[place] for row, place in zip(rows, wanted, strict=True)])
    assert float(task.loss(model.head, logits, batch)) == pytest.approx(expected, rel=1e-5)


def test_the_full_loss_is_over_all_items_that_training_has(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, SMALL, [*items_of(ITEM_TEXTS), *HISTORIES], HeadOnly())
    batch: Batch = task.collate([task.encode(HISTORIES[0], encoder)], 0)
    assert batch.media["candidates"].tolist() == list(range(8))  # item 9 is no one's
    assert not batch.media["chances"].any()


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": 0}, "size must be at least 1"),
        ({"max_history": 0}, "max_history must be at least 1"),
        ({"answers": 0}, "answers must be at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1"),
        ({"id_dropout": -0.1}, "id_dropout must be at least 0"),
        ({"negatives": -1}, "negatives must not be negative"),
        ({"size": 9}, "cannot be parted among 2 heads"),
        ({"encoder": "two_tower", "heads": 4}, "heads has no effect without encoder: sequential"),
        ({"item_ids": False, "id_dropout": 0.2}, "id_dropout has no effect without item_ids: true"),
        ({"negatives": 5}, "negatives has no effect without softmax: sampled"),
        ({"correction": False}, "correction has no effect without softmax: sampled"),
        ({"temperature": 0.0}, "temperature must be positive"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        Recommendation(**settings)


def test_the_width_of_two_towers_needs_no_heads() -> None:
    assert Recommendation(encoder="two_tower", size=9).size == 9


def test_without_items_there_is_nothing_to_recommend() -> None:
    with pytest.raises(DataError, match="There are no items"):
        Recommendation().prepared(HISTORIES, None)  # type: ignore[arg-type]
