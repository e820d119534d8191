"""Tagging by the nearest remembered words: the nearest wins, tags stay in order, and the memory survives."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.builders import SPANS, build_learner, build_material, build_model, run_steps, write_recipe
from tunesmith.data.records import Example, Span
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.models.model import Model
from tunesmith.pipeline import Result, run
from tunesmith.preparation import prepare
from tunesmith.tasks import FewShotTagging
from tunesmith.tasks.crf import viterbi
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.tasks.nearest_words import (
    UNKNOWN,
    Choice,
    Distance,
    NearestWords,
    distances,
    moves,
    neighbour_loss,
    thinned,
    transitions,
)

TAGS = ("O", "B-X", "I-X", "B-Y", "I-Y")


def settled(folder: Path, task: FewShotTagging, examples: list[Example]) -> tuple[Model, FewShotTagging, TextEncoder]:
    """A model that remembers these examples."""
    model, task, encoder = build_model(folder, task, examples, METHODS["none"]())
    build_material(task, encoder, examples).settle(model)
    return model.eval(), task, encoder


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_examples_that_are_remembered_are_answered_with_their_own_labels(
    distance: Distance, tiny_model_folder: Path
) -> None:
    model, task, encoder = settled(tiny_model_folder, FewShotTagging(distance=distance), SPANS)
    answers = Predictor(model, task, encoder).predict(SPANS)
    assert [answer.label for answer in answers] == [example.label for example in SPANS]


@pytest.mark.parametrize(("neighbours", "first", "last"), [(1, -0.5, -2.0), (2, -4.25, -3.25), (5, -4.25, -3.25)])
def test_a_tag_is_as_near_as_the_mean_of_its_nearest_words(neighbours: int, first: float, last: float) -> None:
    head = NearestWords(2, (2, 0, 2), "euclidean", neighbours)
    of_first, of_last = torch.tensor([[1.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    head.remember([of_first, torch.zeros(0, 2), of_last])
    assert head.nearness(torch.zeros(1, 2))[0].tolist() == pytest.approx([first, UNKNOWN, last])


def test_distances_are_those_of_the_definition() -> None:
    first, second = torch.randn(5, 8), torch.randn(7, 8)
    squares = (first[:, None] - second).pow(2).mean(-1)
    torch.testing.assert_close(distances(first, second, "euclidean"), squares)
    cosines = torch.nn.functional.cosine_similarity(first[:, None], second, dim=-1)
    torch.testing.assert_close(distances(first, second, "cosine"), 1 - cosines)


def test_the_loss_is_minus_the_log_of_the_neighbours_that_are_alike() -> None:
    states, tags = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 2, -100])
    expected = []
    for one in range(5):
        weights = {o: math.exp(-float((states[one] - states[o]).pow(2).mean()) / 0.5) for o in range(5) if o != one}
        alike = sum(weight for other, weight in weights.items() if tags[other] == tags[one])
        expected.append(-math.log(alike / sum(weights.values())) if alike else 0.0)
    found = neighbour_loss(states, tags, "euclidean", 0.5)
    assert float(found) == pytest.approx(sum(expected) / 5, rel=1e-4)


@pytest.mark.parametrize("tags", [[0], [-100], [0, 1, 2]])
def test_words_without_an_equal_have_no_loss_and_a_gradient_of_zero(tags: list[int]) -> None:
    states = torch.randn(len(tags), 4, requires_grad=True)
    loss = neighbour_loss(states, torch.tensor(tags), "cosine", 0.05)
    loss.backward()
    assert states.grad is not None
    assert float(loss.detach()) == 0
    assert torch.equal(states.grad, torch.zeros_like(states))


@pytest.mark.parametrize("counts", [(), (1, 5, 9, 6, 1, 0, 9)])
def test_transitions_never_give_an_i_without_its_b(counts: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    steps, start = transitions(TAGS, counts)
    scores = torch.randn(50, 9, 5) * 1e6  # however sure the words are
    for path in viterbi(scores, torch.ones(50, 9, dtype=torch.bool), steps, start, torch.zeros(5)):
        names = ["O", *(TAGS[tag] for tag in path)]
        assert all(not b.startswith("I-") or a in (f"B-{b[2:]}", b) for a, b in itertools.pairwise(names))


def test_steps_are_as_likely_as_the_examples_have_them_and_sum_to_one() -> None:
    counts = moves(["O", "B-X", "I-X", "I-X", "O", "B-Y"])
    assert counts == (1, 0, 0, 2, 1, 0, 2)
    steps, start = transitions(TAGS, counts)
    torch.testing.assert_close(steps.exp().sum(1), torch.ones(5))
    torch.testing.assert_close(start.exp(), torch.tensor([2 / 3, 1 / 6, 0, 1 / 6, 0]))
    torch.testing.assert_close(steps[1].exp(), torch.tensor([2 / 6, 1 / 12, 3 / 6, 1 / 12, 0]))


def test_the_most_frequent_tags_give_way() -> None:
    assert thinned((100, 7, 3), 200) == (100, 7, 3)
    assert thinned((100, 7, 3), 20) == (10, 7, 3)
    assert thinned((100, 7, 0), 10) == (5, 5, 0)


def test_what_is_kept_is_spread_evenly_however_it_comes_by() -> None:
    whole = Choice(10, 4).of(10)
    choice = Choice(10, 4)
    assert torch.equal(torch.cat([choice.of(size) for size in (3, 0, 5, 2)]), whole)
    assert whole.nonzero()[:, 0].tolist() == [2, 4, 7, 9]


def test_what_is_remembered_and_forgotten_is_counted(tiny_model_folder: Path) -> None:
    _, task, _ = settled(tiny_model_folder, FewShotTagging(memory=12, labels=("LOC", "ORG", "PER")), SPANS)
    remembered, forgotten, unknown = task.announcements(SPANS, SPANS)
    assert remembered.count == sum(task.kept) <= 12
    assert forgotten.count == sum(task.counts) - remembered.count
    assert "O: " in forgotten.examples[0]
    assert unknown.examples == ("ORG",)


def test_a_type_without_examples_is_never_found_and_spoils_no_temperature(tiny_model_folder: Path) -> None:
    model, task, encoder = settled(tiny_model_folder, FewShotTagging(labels=("LOC", "ORG", "PER")), SPANS)
    foreign = [*SPANS, Example("x", "Rome was good", (Span(0, 4, "ORG"),))]
    encoded = [task.encode(example, encoder) for example in foreign]
    logits = Predictor(model, task, encoder).logits(encoded)
    known = task.calibrated(encoded[:-1], logits[:-1])
    assert task.calibrated(encoded, logits).temperature == pytest.approx(known.temperature, rel=0.2)
    found = Predictor(model, task, encoder).predict(foreign)
    assert not any("'ORG'" in str(answer.label) for answer in found)


def test_learning_brings_words_of_a_tag_together(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, FewShotTagging(), SPANS, dropout=0.0)
    steps = run_steps(build_learner(model), build_material(task, encoder, SPANS), steps=25, rate=3e-3, batch_size=8)
    assert sum(step.loss for step in steps[-5:]) < sum(step.loss for step in steps[:5])


def test_there_must_be_something_to_remember(tiny_model_folder: Path) -> None:
    with pytest.raises(DataError, match="could be remembered"):
        build_model(tiny_model_folder, FewShotTagging(labels=("X",)), [])
    with pytest.raises(RecipeError, match="have 5 tags"):
        build_model(tiny_model_folder, FewShotTagging(memory=3), SPANS)


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"memory": 0}, {"contrast": 0.0}, {"stride": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        FewShotTagging(**wrong)


CHINESE = [("张三在北京工作", "张三", "北京"), ("李四去上海", "李四", "上海"), ("王五到北京", "王五", "北京")]


def write_spans(place: Path) -> dict[str, object]:
    """Files of Chinese sentences, a character per line."""
    rows = []
    for text, person, city in CHINESE * 4:
        tags = dict.fromkeys(range(len(text)), "O")
        for word, label in ((person, "PER"), (city, "LOC")):
            first = text.index(word)
            tags |= {first: f"B-{label}", **{first + n: f"I-{label}" for n in range(1, len(word))}}
        rows.append("\n".join(f"{text[n]} {tag}" for n, tag in tags.items()))
    for split in ("train", "validation", "test"):
        (place / f"{split}.conll").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    files = {split: str(place / f"{split}.conll") for split in ("train", "validation", "test")}
    return {**files, "format": "conll", "shots": 2, "accept": ["leakage", "exact_duplicates"]}


def finished(place: Path, name: str, task: dict[str, object], **changes: object) -> Result:
    """A run on the Chinese sentences."""
    recipe = write_recipe(place, task=task, data=write_spans(place), **changes)
    return run(Experiment.from_yaml(recipe), place / name, quiet=True)


def test_a_run_without_learning_finds_chinese_entities_and_reloads_to_the_same(place: Path) -> None:
    result = finished(place, "out", {"name": "few_shot_tagging"}, method="none")
    assert {finding.code for finding in result.report.findings} >= {"shots", "remembered"}
    assert any("No step was made" in note for note in result.report.notes)
    assert not any("never a number" in note for note in result.report.notes)
    one, again = (Predictor.load(result.artifact, device="cpu") for _ in range(2))
    text = Example("x", CHINESE[0][0])
    assert one.predict([text]) == again.predict([text])
    memory = one.model.head.get_buffer("memory")
    assert isinstance(one.task, FewShotTagging)
    assert len(memory) == sum(one.task.kept)
    assert bool(memory.any())


@pytest.mark.parametrize("casing", [True, False])
def test_a_body_that_learnt_word_shapes_elsewhere_keeps_them_or_says_that_it_does_not(
    casing: bool, place: Path
) -> None:
    source = finished(place, "source", {"name": "token_classification", "casing": True})
    task = {"name": "few_shot_tagging", "casing": casing}
    recipe = write_recipe(
        place, task=task, data=write_spans(place), method="none", model={"name": str(source.artifact)}
    )
    experiment = Experiment.from_yaml(recipe)
    prepared = prepare(experiment)
    said = {finding.code for finding in prepared.findings}
    assert ("word_shapes_left_out" in said) == (not casing)
    learnt = Predictor.load(source.artifact, device="cpu").model
    model = Model(prepared.backbone, prepared.task)
    text = Example("x", "张三 Rome")
    for one in (model, learnt):
        one.eval()
    batch = prepared.task.collate([prepared.task.encode(text, prepared.encoder)], 0)
    assert torch.equal(model.hidden(batch), learnt.hidden(batch)) or not casing
