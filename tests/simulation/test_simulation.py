"""Active learning simulated: labels stay hidden, starts are shared, areas are exact, and a stopped one goes on."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import SPANS, write_recipe
from tests.test_cli import call
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.results import example_row
from tunesmith.experiment import Experiment
from tunesmith.selection import QUERY_STRATEGIES
from tunesmith.simulation.conduct import ROUNDS, Budget, budget_of, seeds_of, simulate
from tunesmith.simulation.curves import Curves, Point, area_under, over_seeds, rows_of
from tunesmith.stopping import words_in

SMALL = Budget(start=6, batch=4, rounds=2, candidates=20)


def curves(experiment: Experiment, folder: Path, names: str = "margin", seeds: tuple[int, ...] = (1, 2)) -> Curves:
    strategies = {name: QUERY_STRATEGIES[name]() for name in names.split(",")}
    return simulate(experiment, strategies, seeds, SMALL, folder, quiet=True)


def lasting(folder: Path) -> list[dict[str, object]]:
    """The finished rounds, without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / ROUNDS).read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_the_area_is_the_mean_height_of_the_line() -> None:
    assert area_under([10, 20, 40], [0.0, 1.0, 1.0], 10, 40) == pytest.approx((5 + 20) / 30)
    assert area_under([10, 20, 40], [0.0, 1.0, 1.0], 15, 20) == pytest.approx(0.75)
    assert area_under([10, 10], [0.3, 0.3], 10, 10) == pytest.approx(0.3)


def test_an_interval_over_seeds_is_students() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)
    assert math.isnan(over_seeds([1.0]).low)


def test_gains_are_paired_by_seed() -> None:
    def line(strategy: str, seed: int, *values: float) -> list[Point]:
        return [Point(seed, strategy, n, (), 10 * (n + 1), 50 * (n + 1), one, 0.0) for n, one in enumerate(values)]

    points = [*line("random", 1, 0.1, 0.2), *line("random", 2, 0.7, 0.8)]
    points += [*line("good", 1, 0.1, 0.4), *line("good", 2, 0.7, 1.0)]
    first, second = rows_of(points)
    assert (first.strategy, second.strategy) == ("good", "random")
    assert first.gain.value == pytest.approx(0.1)
    assert first.gain.high - first.gain.low == pytest.approx(0.0, abs=1e-9), "seeds differ, but not in what is gained"
    assert first.verdict == "better"
    assert second.verdict is None


def test_starts_are_shared_and_nothing_is_asked_twice(place: Path) -> None:
    found = curves(Experiment.from_yaml(write_recipe(place)), place / "out", "margin,coreset")
    by = {(one.strategy, one.seed, one.round): one for one in found.points}
    assert {one.strategy for one in found.points} == {"random", "margin", "coreset"}
    for seed in (1, 2):
        starts = {(by[name, seed, 0].asked, by[name, seed, 0].value) for name in ("random", "margin", "coreset")}
        assert len(starts) == 1
        for name in ("random", "margin", "coreset"):
            asked = [place for number in range(3) for place in by[name, seed, number].asked]
            assert len(asked) == len(set(asked)) == SMALL.most == by[name, seed, 2].texts
    assert by["random", 1, 0].asked != by["random", 2, 0].asked
    assert found.judging_texts == 16, "what judges is counted, too"


def test_labels_that_are_not_asked_for_change_nothing(place: Path) -> None:
    recipe = write_recipe(place)
    before = curves(Experiment.from_yaml(recipe), place / "before", seeds=(1,))
    seen = {place for one in before.points for place in one.asked}
    path = place / "train.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    turned = {"good": "bad", "bad": "good"}
    for number in range(len(lines) - 1):
        if number not in seen:
            text, label = lines[number + 1].rsplit(",", 1)
            lines[number + 1] = f"{text},{turned[label]}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    after = curves(Experiment.from_yaml(recipe), place / "after", seeds=(1,))
    assert lasting(place / "after") == lasting(place / "before")
    assert after.rows[0].area == before.rows[0].area


@pytest.mark.parametrize("cut", [0, 7])
def test_a_stopped_simulation_goes_on_to_the_same_rounds(place: Path, cut: int) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    curves(experiment, place / "out")
    whole = lasting(place / "out")
    path = place / "out" / ROUNDS
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for kept in (2, 4, 9):
        path.write_text("".join(lines[:kept]) + lines[kept][:cut], encoding="utf-8")
        curves(experiment, place / "out")
        assert lasting(place / "out") == whole


def test_more_seeds_and_strategies_are_added_to_what_is_there(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    curves(experiment, place / "out", seeds=(1,))
    before = lasting(place / "out")
    found = curves(experiment, place / "out", "margin,entropy", seeds=(1, 3))
    assert lasting(place / "out")[: len(before)] == before
    assert {(one.strategy, one.seed) for one in found.points} == {
        (name, seed) for name in ("random", "margin", "entropy") for seed in (1, 3)
    }


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("augmenters", {"augmenters": ["swap_words"]}),
        ("averaging", {"averaging": "ema"}),
        ("task.class_weights", {"task": {"name": "sequence_classification", "class_weights": "balanced"}}),
    ],
)
def test_what_would_show_hidden_labels_or_be_left_out_is_refused(
    name: str, changes: dict[str, object], place: Path
) -> None:
    with pytest.raises(RecipeError, match="until they are asked for") as caught:
        curves(Experiment.from_yaml(write_recipe(place, **changes)), place / "out")
    assert caught.value.where == name


def test_another_recipe_in_the_same_folder_is_refused(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    curves(experiment, place / "out", seeds=(1,))
    with pytest.raises(RecipeError, match="another recipe"):
        curves(replace(experiment, name="other"), place / "out", seeds=(1,))
    with pytest.raises(RecipeError, match="not empty"):
        curves(experiment, place)


def test_spans_cost_words(place: Path) -> None:
    lines = [
        json.dumps({**example_row(example, "spans"), "id": f"{number}-{example.id}"})
        for number in range(4)
        for example in SPANS
    ]
    files = {}
    for name in ("train", "validation"):
        files[name] = str(place / f"{name}.jsonl")
        Path(files[name]).write_text("\n".join(lines) + "\n", encoding="utf-8")
    recipe = write_recipe(place, task={"name": "token_classification"}, data={**files, "test": "none"})
    found = curves(Experiment.from_yaml(recipe), place / "out", seeds=(1,))
    last = max(found.points, key=lambda one: one.round)
    assert last.words > last.texts
    assert found.metric == "f1" or found.metric.endswith("f1")


def test_words_are_counted_as_given_by_blanks_or_by_characters() -> None:
    assert words_in(Example("a", "one two three")) == 3
    assert words_in(Example("a", "今天天气")) == 4
    assert words_in(Example("a", "ab cd", words=((0, 2), (3, 5)))) == 2
    assert words_in(Example("a", "我用 Python 写代码")) == 6
    assert words_in(Example("a", "one two", second="three 四 five")) == 5
    assert words_in(Example("a", "ab cd", words=((0, 2), (3, 5)), second="ef")) == 3


def test_what_cannot_be_simulated_is_said(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place))
    with pytest.raises(DataError, match="no choice"):
        simulate(experiment, {}, (1,), Budget(40, 40, 4), place / "out", quiet=True)
    with pytest.raises(RecipeError, match="learning rate"):
        curves(Experiment.from_yaml(write_recipe(place), ["training.learning_rate=auto"]), place / "auto")
    with pytest.raises(RecipeError, match="batches"):
        budget_of("batches=3")
    with pytest.raises(RecipeError, match="at least 2"):
        budget_of("start=1")
    with pytest.raises(RecipeError, match="seeds"):
        seeds_of("1,x")


def test_the_verb_writes_a_page_a_table_and_numbers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(place)
    out = place / "out"
    arguments = ["active", "simulate", str(recipe), "--strategies", "margin", "--seeds", "1,2"]
    said = call(capsys, *arguments, "--budget", "start=6,batch=4,rounds=1", "--out", str(out))
    assert "margin |" in said
    assert "16 texts of validation" in said
    assert json.loads((out / "active.json").read_text(encoding="utf-8"))["metric"] == "accuracy"
    page = (out / "active.html").read_text(encoding="utf-8")
    assert "labelled words" in page
    assert "http://" not in page.split("</script>", 1)[1]
