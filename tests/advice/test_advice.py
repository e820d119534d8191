"""Advice in small: figures against their definitions, each ailment on data made for it, remedies that load."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders import without_its_last_line, write_recipe
from tests.test_cli import call
from tunesmith import cli
from tunesmith.advice import AILMENTS, Imbalanced, Leakage, Project, Scarce
from tunesmith.advice.consult import advise, changed, chosen_ailments, write_recipes
from tunesmith.advice.follow import follow
from tunesmith.advice.of_data import known_in
from tunesmith.advice.of_language import OffDomain
from tunesmith.advice.of_learning import surest
from tunesmith.advice.of_words import balanced, explained, follows, without_word, words_of
from tunesmith.advice.probe import _law, sample
from tunesmith.advice.records import Remedy, paired_gain, severity_of
from tunesmith.data.records import Example, Splits
from tunesmith.errors import DataError, RecipeError
from tunesmith.evaluation.intervals import Estimate, share_of
from tunesmith.experiment import Experiment
from tunesmith.preparation import prepare
from tunesmith.tasks.encoding import Encoded, Piece


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high)


def test_severity_is_measured_at_the_end_nearer_to_the_threshold() -> None:
    assert severity_of(estimate(0.3, 0.2, 0.4), 0.1, 0.5) == pytest.approx(0.25)
    assert severity_of(estimate(0.3, 0.05, 0.4), 0.1, 0.5) < 0, "the interval reaches the threshold"
    assert severity_of(estimate(40, 40, 55), 100, 10) == pytest.approx(0.5), "few is bad"
    assert severity_of(estimate(0.9, 0.8, 1.0), 0.1, 0.5) == 1
    assert severity_of(estimate(math.nan, math.nan, math.nan), 0.1, 0.5) == 0


def test_the_interval_of_a_share_is_wilsons() -> None:
    found = share_of(10, 100)
    assert found.low == pytest.approx(0.05523, abs=1e-4)
    assert found.high == pytest.approx(0.17437, abs=1e-4)
    assert share_of(0, 50).low == 0
    assert math.isnan(share_of(0, 0).value)


def test_a_power_law_is_found_again() -> None:
    sizes = [50, 100, 200, 400]
    exponent, doubling = _law(sizes, np.array([0.8 * size**-0.3 for size in sizes]), 400)
    assert exponent == pytest.approx(0.3)
    assert doubling == pytest.approx(0.8 * 400**-0.3 - 0.8 * 800**-0.3)


def test_a_word_explains_all_or_nothing_of_the_label() -> None:
    given = np.array([0, 1] * 50)
    assert explained(given == 1, given, 2).value == pytest.approx(1)
    assert explained(np.arange(100) < 50, given, 2).value == pytest.approx(0, abs=1e-12)
    holds = np.array([True, False] * 49 + [False, True])
    assert follows(holds, given).sum() == 98


def test_words_are_taken_out_whole() -> None:
    assert words_of("It's a zx, zxy 好的!") == {"it's", "a", "zx", ",", "zxy", "好", "的", "!"}
    assert without_word(Example("a", "A zx and ZX zxy"), "zx").text == "A and zxy"
    assert without_word(Example("a", "zx"), "zx").text == "zx", "a text stays a text"


def test_balance_keeps_as_many_with_the_word_as_without_of_each_label() -> None:
    holds, labels = np.array([True] * 5 + [False] * 5), list("aaaabbbbba")
    kept = balanced(holds, labels)
    counts = {(labels[place], bool(holds[place])) for place in kept}
    assert len(kept) == 4
    assert counts == {("a", True), ("a", False), ("b", True), ("b", False)}


def test_the_surest_answers_are_taken_of_every_class() -> None:
    chances = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 9 + [[0.2, 0.8]])
    assert sorted(surest(chances)) == [0, 19]


def test_a_gain_is_paired() -> None:
    after, before = np.array([True] * 60 + [False] * 40), np.array([True] * 50 + [False] * 50)
    found = paired_gain(after, before)
    assert found.value == pytest.approx(0.1)
    assert 0.03 < found.low < found.high < 0.17


def test_known_texts_are_found_exactly_and_nearly() -> None:
    long = "a rather long sentence about the weather in the north of the country, which is cold"
    train = [Example("a", "Good film"), Example("b", long)]
    asked = [Example("c", "good  FILM"), Example("d", f"{long}!"), Example("e", "something else")]
    assert known_in(asked, train, "class") == [0, 1]
    assert known_in(asked, train, "answers") == [0], "questions about one passage are alike by nature"


def test_near_copies_are_found_beside_copies_of_their_own() -> None:
    long = "a rather long sentence about the weather in the north of the country, which is cold and wet in winter"
    forms = [f"{long}{sign}" for sign in ("!", "?", ".", " ;", " ...", "!!", "??", " -")]
    asked = [Example(str(number), text) for number, text in enumerate(forms)]
    assert known_in(asked, [Example("t", long)], "class") == list(range(8))
    boilerplate = [Example(str(number), f"{long} {number:02}") for number in range(80)]
    assert known_in(boilerplate, [Example("t", f"{long} no")], "class") == list(range(80))
    assert known_in([Example("t", f"{long} no")], boilerplate, "class") == [0]


def test_texts_that_are_not_read_are_counted_wherever_they_stand() -> None:
    encoded = [Encoded((), None, unknown=0)] * 8000 + [Encoded((), None, unknown=10)] * 8000
    read = [
        replace(one, pieces=(Piece(np.arange(10), np.zeros(10, np.int32), np.zeros(0, np.int32)),)) for one in encoded
    ]
    figure = OffDomain().unread(read, ["a text of some thirty letters ."] * 16_000)
    assert figure.value == pytest.approx(0.5, abs=0.03)
    assert figure == OffDomain().unread(read, ["a text of some thirty letters ."] * 16_000)


def test_measured_gains_come_first_and_what_harmed_last() -> None:
    def remedy(name: str, effect: Estimate | None, basis: str = "literature") -> Remedy:
        return Remedy(name, "", basis, "", effect=effect)  # type: ignore[arg-type]

    given = [
        remedy("harms", estimate(-0.1, -0.2, -0.05)),
        remedy("read", None),
        remedy("small", estimate(0.02, 0.01, 0.03)),
        remedy("page", None, "this project's pages"),
        remedy("large", estimate(0.2, 0.1, 0.3)),
    ]
    assert [one.name for one in sorted(given, key=lambda one: one.rank)] == ["large", "small", "page", "read", "harms"]


@pytest.fixture
def project(place: Path) -> Project:
    experiment = Experiment.from_yaml(write_recipe(place))
    return Project(experiment, prepare(experiment))


def with_train(project: Project, train: list[Example]) -> Project:
    splits = replace(project.prepared.splits, train=train)
    return replace(project, prepared=replace(project.prepared, splits=splits))


def test_leaked_texts_are_counted_and_left_out(project: Project) -> None:
    # Texts so short that none is nearly another.
    train, test = ([Example(f"{name}{n}", f"{name} {n}", "good") for n in range(16)] for name in ("one", "two"))
    clean = replace(project, prepared=replace(project.prepared, splits=Splits(train, (), test)))
    before = Leakage().look(clean)
    assert before is not None
    assert not before.is_named
    leaked = with_train(clean, [*train, *test[:8]])
    found = Leakage().look(leaked)
    assert found is not None
    assert (found.is_named, found.focus, found.figure.value) == (True, "test", 0.5)
    (remedy,) = Leakage().remedies(leaked, found)
    assert remedy.train == train


def test_few_labels_and_rare_classes_are_counted(project: Project) -> None:
    scarce = Scarce().look(project)
    assert scarce is not None
    assert (scarce.figure.value, scarce.is_named) == (24, True)
    assert not Imbalanced().look(project).is_named  # type: ignore[union-attr]
    rare = with_train(project, [one for one in project.train if one.label == "good"] * 10 + [project.train[1]])
    found = Imbalanced().look(rare)
    assert found is not None
    assert found.figure.value == 240
    assert found.is_named


def test_every_remedy_gives_a_recipe_that_loads(project: Project, tmp_path: Path) -> None:
    named = chosen_ailments(())
    for name, kind in AILMENTS.items():
        if name in ("off_domain", "noisy", "shortcut"):
            continue  # these need a probe; see below and the planted cases
        symptom = named[name].look(project)
        for remedy in named[name].remedies(project, symptom) if symptom else ():
            experiment = changed(project.experiment, name, remedy)
            assert Experiment.from_mapping(experiment.to_mapping()) == experiment, (kind, remedy.name)


@pytest.mark.parametrize(
    ("task", "columns", "refused"),
    [
        ({"name": "sentence_pairs"}, "text,second,label", "text and second"),
        ({"name": "sequence_classification", "problem": "multi_label"}, "text,id,label", "'classes'"),
        ({"name": "token_classification", "crf": True}, "", "a CRF"),
    ],
)
def test_remedies_that_the_task_does_not_know_are_refused_with_the_reason(
    task: dict[str, object], columns: str, refused: str, place: Path
) -> None:
    train = place / ("few.csv" if columns else "few.conll")
    rows = [f"the film {n},part {n},{('good', 'bad')[n % 2]}" for n in range(24)]
    tagged = ["\n".join(f"{word} {tag}" for word, tag in (("Anna", "B-PER"), (f"left{n}", "O"))) for n in range(24)]
    train.write_text("\n".join([columns, *rows]) if columns else "\n\n".join(tagged), encoding="utf-8")
    recipe = write_recipe(place, task=task, data={"train": str(train), "validation_share": 0.25})
    (scarce,) = (one for one in advise(Experiment.from_yaml(recipe)).named if one.ailment == "scarce")
    assert any(refused in reason for reason in scarce.unfit), scarce.unfit
    assert "few-shot-classification" not in [one.name for one in scarce.remedies]
    assert "label-next" in [one.name for one in scarce.remedies]


def test_advice_is_written_as_recipes_that_load(place: Path) -> None:
    train = place / "many.csv"
    words = ("good", "bad")
    rows = [f"{words[n % 2]} film {n} of the year,{words[n % 2 if n % 5 else 1 - n % 2]}" for n in range(80)]
    train.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    recipe = write_recipe(place, data={"train": str(train), "validation_share": 0.2})
    # Thresholds at which all is named, so that every remedy is made.
    low = ["noisy.threshold=0.0001", "shortcut.threshold=0.01", "shortcut.leaning=-1", "leakage.threshold=0.5"]
    advice = advise(Experiment.from_yaml(recipe), chosen_ailments(low))
    assert {"noisy", "shortcut", "scarce"} <= {one.ailment for one in advice.named}
    paths = write_recipes(advice, place / "remedies")
    assert len(paths) >= 5
    for path in paths:
        loaded = Experiment.from_yaml(path)
        splits = loaded.data.load("class", loaded.seed).splits
        assert len(splits.train)
        assert [one.text for one in splits.validation] == [one.text for one in advice.splits["validation"]]


def test_a_sample_keeps_to_both_budgets(project: Project) -> None:
    encoded = project.prepared.encoded["train"]
    assert len(sample(project.train, encoded, 1, 10, 10_000)) == 10
    places = sample(project.train, encoded, 1, 48, 60)
    assert sum(encoded[place].tokens for place in places) <= 60
    assert places == sample(project.train, encoded, 1, 48, 60)


def test_a_task_without_a_probe_is_told_so(place: Path) -> None:
    recipe = write_recipe(place, task={"name": "masked_language_modeling"}, data={"train": write_text(place)})
    advice = advise(Experiment.from_yaml(recipe))
    assert "noisy" in advice.unmeasured
    assert "one class" in advice.without_probe


def write_text(folder: Path) -> str:
    path = folder / "raw.txt"
    path.write_text("\n".join(f"the film number {n} was good" for n in range(40)) + "\n", encoding="utf-8")
    return str(path)


def test_a_prescription_is_judged_by_two_runs(finished_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = finished_run / "recipe.yaml"
    found = follow(Experiment.from_yaml(recipe), finished_run, finished_run)
    assert found.comparison.difference.value == 0
    assert found.comparison.verdict == "no difference shown"
    assert found.examples + found.left_out == 16
    said = call(capsys, "advise", str(recipe), "--followed", str(finished_run), "--against", str(finished_run))
    assert "No difference shown" in said


def test_runs_are_compared_by_what_the_recipe_chooses_by(finished_run: Path) -> None:
    experiment = Experiment.from_yaml(finished_run / "recipe.yaml", ["training.metric=macro_f1"])
    assert follow(experiment, finished_run, finished_run).comparison.name == "macro_f1"
    unknown = Experiment.from_yaml(finished_run / "recipe.yaml", ["training.metric=macro_f2"])
    with pytest.raises(RecipeError, match="Did you mean 'macro_f1'"):
        follow(unknown, finished_run, finished_run)


def test_data_that_changed_say_nothing_of_what_was_learnt(finished_run: Path) -> None:
    experiment = Experiment.from_yaml(finished_run / "recipe.yaml")
    assert len(follow(experiment, finished_run, finished_run).notes) == 1
    with without_its_last_line(finished_run.parent / "train.csv"):
        notes = follow(experiment, finished_run, finished_run).notes
    assert "is not known" in notes[1]


def test_the_verb_names_the_worst_and_says_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(place)
    said = json.loads(call(capsys, "advise", str(recipe), "--json", "--out", str(place / "remedies")))
    assert said["named"][:2] == ["shortcut", "scarce"], "one word tells all of these labels"
    assert len(said["diagnoses"]) + len(said["unmeasured"]) == len(AILMENTS)
    assert all(Path(path).is_file() for path in said["recipes"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["leak.threshold=1"], "sets nothing"),
        (["leakage=1"], "sets nothing"),
        (["leakage.treshold=1"], "Did you mean 'threshold'"),
        (["leakage.threshold=much"], "leakage.threshold"),
    ],
)
def test_settings_of_ailments_are_checked(given: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        chosen_ailments(given)


def test_runs_come_in_pairs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["advise", str(write_recipe(place)), "--followed", "somewhere"]
    assert cli.guarded(lambda: cli.app(arguments, standalone_mode=False)) == 2
    assert "belong together" in capsys.readouterr().err


def test_nothing_left_to_compare_on_is_an_error(finished_run: Path, tmp_path: Path) -> None:
    experiment = Experiment.from_yaml(finished_run / "recipe.yaml")
    swapped = replace(experiment, data=replace(experiment.data, validation=experiment.data.train))
    with pytest.raises(DataError, match="neither model"):
        follow(swapped, finished_run, finished_run)
