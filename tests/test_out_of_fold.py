"""Copies are judged by models that saw neither their source nor its copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_examples, write_recipe
from tunesmith import enlarging, pipeline
from tunesmith import out_of_fold as judges
from tunesmith.augmentation.expand import MADE_BY, SOURCE, Verdict
from tunesmith.data.records import Example
from tunesmith.enlarging import examples_made
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.out_of_fold import judged_by, learnt, out_of_fold
from tunesmith.preparation import prepare


def experiment(place: Path, *changes: str) -> Experiment:
    recipe = write_recipe(place, data=write_examples(place), training={"epochs": 8})
    return Experiment.from_yaml(recipe, changes)


def examples_of(place: Path) -> list[Example]:
    made = experiment(place)
    return list(made.data.load("class", made.seed, ("text",)).splits.train)


def test_each_copy_is_judged_by_the_model_that_did_not_see_its_source(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []

    def teach(experiment: Experiment, examples: Sequence[Example], known: Sequence[Example]) -> Any:
        seen.append({example.id for example in examples})
        return len(seen) - 1

    monkeypatch.setattr(judges, "learnt", teach)
    monkeypatch.setattr(judges, "judged_by", lambda number: lambda asked: [Verdict(True, f"{number}") for _ in asked])
    train = examples_of(place)
    twins = [replace(train[0], id="twin"), *train]
    copies = [
        replace(one, id=f"{one.id}/x", text=f"{one.text}!", attributes={SOURCE: one.id, MADE_BY: "x"}) for one in twins
    ]
    asked = [*twins, *copies]
    verdicts = out_of_fold(experiment(place), twins, 3)(asked)
    assert len(seen) == 3
    for example, verdict in zip(asked, verdicts, strict=True):
        source = example.attributes.get(SOURCE, example.id)
        assert source not in seen[int(verdict.answer)]
    assert all(("twin" in ids) == (train[0].id in ids) for ids in seen), "the same text shares a fold"
    assert set.union(*seen) == {example.id for example in twins}


def test_a_judge_learns_the_task_of_the_recipe(place: Path) -> None:
    made, train = experiment(place), examples_of(place)
    verdicts = judged_by(learnt(made, train[:36], train))(train[36:])
    assert sum(verdict.is_right for verdict in verdicts) >= 10
    assert {verdict.answer for verdict in verdicts} == {"good", "bad"}
    again = judged_by(learnt(made, train[:36], train))(train[36:])
    assert again == verdicts


def test_a_recipe_can_have_its_copies_judged_out_of_fold(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [
        "augmenters=[{name: delete_words, share: 0.5}]",
        "augmentation.judge=out_of_fold",
        "augmentation.folds=2",
    ]
    splits, audit = examples_made(experiment(place, *changes))
    flips = audit.flips()
    assert flips.judged > 10
    assert flips.judged + audit.unjudged == audit.kept.total() + audit.refused.total()
    assert len(splits.train) == 48 + audit.kept.total()
    assert "Judge 2 of 2" in capsys.readouterr().err
    found = {finding.code: finding for finding in prepare(experiment(place, *changes)).findings}
    assert found["label_flips"].count == flips.lost
    assert "by 2 models that did not see their sources" in found["label_flips"].message


def test_a_run_learns_from_what_out_of_fold_judges_keep(place: Path) -> None:
    changes = ["augmenters=[swap_words]", "augmentation.judge=out_of_fold", "training.epochs=1"]
    first = pipeline.run(experiment(place, *changes), place / "run", quiet=True)
    again = pipeline.run(experiment(place, *changes), place / "again", quiet=True)
    found = {finding.code: finding for finding in first.report.findings}
    assert first.report.sizes["train"] == 48 + found["augmented"].count
    assert [split.metrics for split in first.report.splits] == [split.metrics for split in again.report.splits]


def test_a_check_trains_no_judge_and_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "learnt", lambda *_: pytest.fail("a judge was trained"))
    made = experiment(place, "augmenters=[swap_words]", "augmentation.judge=out_of_fold")
    codes = [finding.code for finding in pipeline.check(made)]
    assert "not_judged" in codes


def test_spans_are_judged_too(place: Path) -> None:
    numbers = ["one", "two", "three", "big", "small", "old", "great", "blue", "red", "last"]
    rows = ["Anna B-PER\nwent O\nto O\nRome B-LOC\n", "no O\none O\nsaw O\nParis B-LOC\n", "Bell B-PER\nmet O\nher O\n"]
    (place / "train.conll").write_text(
        "\n".join(f"{row}in O\nthe O\n{number} O\nday O\n" for number in numbers for row in rows), encoding="utf-8"
    )
    recipe = write_recipe(
        place,
        task={"name": "token_classification"},
        data={"train": str(place / "train.conll"), "validation": "none", "test_share": 0},
    )
    changes = ["augmenters=[mistype]", "augmentation.judge=out_of_fold", "training.epochs=1"]
    _, audit = examples_made(Experiment.from_yaml(recipe, changes))
    assert audit.kept.total() + audit.refused.total() >= 1


def test_too_few_examples_and_too_few_folds_are_explained(place: Path) -> None:
    few = [Example("1", "a", "good"), Example("2", "b", "bad")]
    with pytest.raises(DataError, match="too few training examples for 3 folds"):
        out_of_fold(experiment(place), few, 3)
    with pytest.raises(RecipeError, match="are not quantised"):
        out_of_fold(experiment(place, "method=lora", "model.quantize=int8"), few, 2)
    with pytest.raises(RecipeError, match="at least two folds"):
        experiment(place, "augmentation.folds=1")


def test_a_given_judge_that_learnt_the_sources_is_told(
    place: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = experiment(place, "augmenters=[swap_words]", f"augmentation.judge={finished_run / 'artifact'}")
    splits, audit = examples_made(made)
    sources = sum(MADE_BY not in example.attributes for example in splits.train)
    assert [(note.code, note.count) for note in audit.notes] == [("judge_learnt", sources)]
    for keys, codes in ((None, ["judge_unknown"]), (frozenset(), [])):
        monkeypatch.setattr(enlarging, "learnt_by", lambda *_, keys=keys: keys)
        assert [note.code for note in examples_made(made)[1].notes] == codes
