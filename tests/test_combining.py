"""Soups and ensembles of finished runs: who goes in, exact weights, a fair comparison, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.builders import build_learner, build_material, build_model, run_steps, write_examples, write_recipe
from tunesmith import cli
from tunesmith.combining import artifacts_of
from tunesmith.data.splits import fingerprint
from tunesmith.ensembles import make_ensemble, notes
from tunesmith.errors import ArtifactError, DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import Origin, add_file, load_artifact, save_artifact, seal, verify
from tunesmith.inference.predictor import Predictor
from tunesmith.judging import judge_artifact
from tunesmith.learnt_from import SOURCES, sources_of
from tunesmith.soups import make_soup


def trained(place: Path, name: str, steps: int = 30, seed: int = 0, identity: str = "tiny", **changes: object) -> Path:
    """The artifact of a few steps on the recipe's data, without all else that a run does."""
    recipe = write_recipe(place, **changes)
    experiment = Experiment.from_yaml(recipe)
    splits = experiment.data.load("class", experiment.seed, ("text",)).splits
    torch.manual_seed(0)  # one start for all
    model, task, encoder = build_model(place / "model", experiment.task, splits.train)
    learner = replace(build_learner(model), seed=seed)
    run_steps(learner, build_material(task, encoder, splits.train), steps=steps, rate=3e-3, batch_size=8)
    learner.weights.finish()
    prints = {split: fingerprint(examples) for split, examples in splits.named().items()}
    origin = Origin(experiment.to_yaml(), prints, identity, {"torch": "2"}, seed)
    save_artifact(place / name, model.eval(), task, encoder, origin, "")
    return place / name


def weights(artifact: Path) -> dict[str, Tensor]:
    return load_file(artifact / "model.safetensors")


def changed(artifact: Path, name: str, change) -> Path:
    """A copy of an artifact with other weights."""
    place = artifact.with_name(name)
    place.mkdir()
    for path in artifact.iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    save_file(
        {key: change(key, value).contiguous() for key, value in weights(artifact).items()}, place / "model.safetensors"
    )
    seal(place)
    return place


def run_verb(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = cli.guarded(lambda: cli.app(list(arguments), standalone_mode=False))
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return printed.out


def test_a_soup_of_a_model_with_itself_is_that_model(place: Path) -> None:
    one = trained(place, "one", steps=4)
    made = make_soup([one, one, one], place / "soup")
    soup = weights(place / "soup")
    assert all(torch.equal(soup[name], value) for name, value in weights(one).items())
    assert all(item.difference.value == 0 for item in made.comparisons)
    assert [row["kept"] for row in made.facts["ingredients"]] == [True] * 3  # type: ignore[attr-defined]


def test_a_soup_is_the_mean_of_the_runs_with_which_validation_does_not_fall(place: Path) -> None:
    good = trained(place, "good")
    near = changed(good, "near", lambda name, value: value + 1e-3 if name.startswith("head.") else value)
    bad = changed(good, "bad", lambda name, value: -3 * value if name.startswith("head.") else value)
    made = make_soup([bad, good, near], place / "soup")
    rows = {Path(row["run"]).name: row for row in made.facts["ingredients"]}  # type: ignore[attr-defined]
    assert {name: row["kept"] for name, row in rows.items()} == {"good": True, "near": True, "bad": False}
    assert rows["bad"]["with_it"] < rows["good"]["validation"]
    soup, one, other = weights(place / "soup"), weights(good), weights(near)
    for name, value in soup.items():
        torch.testing.assert_close(value, ((one[name].double() + other[name].double()) / 2).float(), rtol=0, atol=0)
    assert any("left out" in note and "bad" in note for note in made.notes)
    assert {"soup.json", "report.html", "metrics.json", "recipe.yaml"} <= set(
        json.loads((place / "soup" / "manifest.json").read_text())
    )
    assert judge_artifact(place / "soup", "", good).compared == 16


def test_runs_that_did_not_begin_at_one_model_are_no_soup(place: Path) -> None:
    one = trained(place, "one", steps=2)
    with pytest.raises(ArtifactError, match="another pre-trained model"):
        make_soup([one, trained(place, "other", steps=1, identity="other")], place / "soup")
    task = {"name": "sequence_classification", "pooling": "max"}
    with pytest.raises(ArtifactError, match=r"task.pooling 'max'"):
        make_soup([one, trained(place, "max", steps=1, task=task)], place / "soup")
    task = {"name": "sequence_classification", "problem": "binary"}
    with pytest.raises(ArtifactError, match=r"task\.problem|other shapes"):
        make_soup([one, trained(place, "binary", steps=1, task=task)], place / "soup")
    thick = changed(
        one, "thick", lambda name, value: torch.cat([value, value]) if name == "head.output.bias" else value
    )
    with pytest.raises(ArtifactError, match="other shapes"):
        make_soup([one, thick], place / "soup")
    make_ensemble([one, one], place / "both", "probabilities")
    with pytest.raises(ArtifactError, match="is an ensemble"):
        make_soup([one, place / "both"], place / "soup")
    with pytest.raises(ArtifactError, match="It is an ensemble, whose members hold the weights"):
        load_artifact(place / "both")
    assert not (place / "soup").exists()


def test_runs_chosen_by_other_examples_are_no_soup(place: Path) -> None:
    one = trained(place, "one", steps=1)
    files = write_examples(place)
    lines = Path(files["validation"]).read_text(encoding="utf-8").splitlines()
    (place / "few.csv").write_text("\n".join(lines[:9]) + "\n", encoding="utf-8")
    other = trained(place, "other", steps=1, data={**files, "validation": str(place / "few.csv")})
    with pytest.raises(DataError, match="do not have the same validation examples"):
        make_soup([one, other], place / "soup")


def test_runs_that_hold_out_other_test_examples_are_no_soup(place: Path) -> None:
    one = trained(place, "one", steps=1)
    files = write_examples(place)
    (place / "other.csv").write_text(Path(files["validation"]).read_text(encoding="utf-8"), encoding="utf-8")
    other = trained(place, "other", steps=1, data={**files, "test": str(place / "other.csv")})
    with pytest.raises(DataError, match="do not have the same test examples"):
        make_soup([one, other], place / "soup")


def test_outputs_that_mean_other_answers_have_no_mean(place: Path) -> None:
    task = {"name": "sequence_classification", "problem": "binary"}
    labels = sorted({row.split(",")[-1] for row in Path(write_examples(place)["train"]).read_text().splitlines()[1:]})
    one, other = (trained(place, label, steps=1, task={**task, "positive": label}) for label in labels)
    with pytest.raises(ArtifactError, match="do not mean the same"):
        make_ensemble([one, other], place / "together", by="probabilities")


def test_an_ensemble_stands_beside_its_best_member_with_its_cost(place: Path) -> None:
    members = [trained(place, f"m{seed}", steps=6, seed=seed) for seed in range(3)]
    made = make_ensemble(members, place / "all", "probabilities")
    assert made.facts["examples"] == 16
    assert made.facts["left_out"] == 0
    one = sum(parameter.numel() for parameter in Predictor.load(members[0]).model.parameters())
    assert made.facts["parameters"] == 3 * one
    assert float(str(made.facts["relative_time"])) > 1
    test = Experiment.from_yaml(members[0] / "recipe.yaml").data.load("class", 13, ("text",)).splits.test
    right = [
        sum(e.label == p.label for e, p in zip(test, Predictor.load(m).predict(test), strict=True)) for m in members
    ]
    accuracy = next(item for item in made.comparisons if item.name == "accuracy")
    assert accuracy.b == max(right) / 16
    judged = judge_artifact(place / "all", "", made.best)
    assert judged.split.metrics["accuracy"].value == accuracy.a
    assert judged.comparisons[0].difference == accuracy.difference or judged.compared == 16
    assert {"ensemble.json", "report.html"} <= set(json.loads((place / "all" / "manifest.json").read_text()))
    verify(place / "all")


def test_members_whose_form_says_no_number_of_parameters_are_named() -> None:
    facts = {"members": ["a", "b"], "by": "votes", "parameters": 7, "relative_time": 2.0, "seconds": 1.0, "best": "a"}
    assert "b" in next(line for line in notes({**facts, "left_out": 0}, [], ["b"]) if "does not say how many" in line)
    assert not any("does not say" in line for line in notes({**facts, "left_out": 0}, [], []))


def test_what_any_member_learnt_from_is_not_judged_by(place: Path) -> None:
    files = write_examples(place)
    one = trained(place, "one", steps=2, data=files)
    learnt = Path(files["test"]).read_text(encoding="utf-8").splitlines()[1:6]
    more = place / "more.csv"
    more.write_text(Path(files["train"]).read_text(encoding="utf-8") + "\n".join(learnt) + "\n", encoding="utf-8")
    two = trained(place, "two", steps=2, data={**files, "train": str(more)})
    made = make_ensemble([one, two], place / "all", "probabilities")
    assert made.facts["left_out"] == len(set(learnt))
    judged = judge_artifact(place / "all", "", None)
    assert any("was trained on or chosen by" in note for note in judged.notes)


def test_what_any_run_in_a_soup_learnt_from_is_not_judged_by(place: Path) -> None:
    """Its recipe is that of the best run; what the other was trained on is known too, though its folder is gone."""
    files = write_examples(place)
    one = trained(place, "one", data=files)
    learnt = Path(files["test"]).read_text(encoding="utf-8").splitlines()[1:6]
    more = place / "more.csv"
    more.write_text(Path(files["train"]).read_text(encoding="utf-8") + "\n".join(learnt) + "\n", encoding="utf-8")
    two = trained(place, "two", data={**files, "train": str(more)})
    made = make_soup([one, two], place / "soup")
    assert [row["kept"] for row in made.facts["ingredients"]] == [True, True]  # type: ignore[attr-defined]
    shutil.rmtree(one)
    shutil.rmtree(two)
    judged = judge_artifact(place / "soup", "", None)
    assert any(f"was trained on or chosen by {len(set(learnt))} of the 16" in note for note in judged.notes)


@pytest.mark.parametrize("told", ["{}", '{"1": {"recipe": []}}'])
def test_a_soup_that_does_not_say_of_which_runs_it_is_is_refused(place: Path, told: str) -> None:
    one = trained(place, "one", steps=2)
    add_file(one, SOURCES, told)
    with pytest.raises(ArtifactError, match="of which runs"):
        sources_of(one)


def test_the_verbs_say_what_went_in_and_what_it_is_worth(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(trained(place, f"m{seed}", steps=6, seed=seed)) for seed in (1, 2))
    said = run_verb(capsys, "soup", one, two, "--out", str(place / "soup"))
    assert "soup with it" in said
    assert "The weights are the mean of" in said
    said = run_verb(capsys, "ensemble", one, two, "--out", str(place / "all"), "--by", "logits")
    assert "2 members answer together by logits" in said
    assert "times as long as one" in said
    told = json.loads(run_verb(capsys, "evaluate", str(place / "all"), "--json"))
    assert told["examples"] == 16
    answers = json.loads(run_verb(capsys, "predict", str(place / "all"), "--text", "good film", "--json"))
    assert answers[0]["uncertainty"] >= 0
    told = json.loads(run_verb(capsys, "evaluate", one, "--passes", "3", "--json"))
    assert told == json.loads(run_verb(capsys, "evaluate", one, "--passes", "3", "--json"))


def test_one_run_an_empty_folder_and_a_taken_name_are_refused(place: Path) -> None:
    one = trained(place, "one", steps=1)
    with pytest.raises(ArtifactError, match="nothing to combine"):
        artifacts_of([one])
    with pytest.raises(ArtifactError, match="no finished run"):
        make_ensemble([one, place], place / "all", "probabilities")
    with pytest.raises(RecipeError, match="name is taken"):
        make_soup([one, one], one)
    add_file(one, "note.txt", "x")
    assert artifacts_of([one, one]) == [one, one]
