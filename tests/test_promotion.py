"""Texts without labels: a student is promoted only where it is not below the supervised model and no alarm fires."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.builders import write_examples, write_recipe
from tunesmith import pipeline, promotion
from tunesmith.data.dataset import Data, Loaded
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Prediction
from tunesmith.data.unlabelled import TAUGHT_BY
from tunesmith.errors import DataError, RecipeError, TunesmithError
from tunesmith.evaluation.intervals import Comparison, Estimate
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import file_hash, verify
from tunesmith.inference.parity import Parity
from tunesmith.semi_supervision import Teaching
from tunesmith.tasks import SequenceClassification
from tunesmith.training.fitting import Fitting

FIRM = {"name": "self_training", "threshold": 0.5, "balance": "labelled"}
QUIET = {"shift": 1.0, "dearth": 0.0, "agreement": 0.0, "least": 0.0, "right": 0.0}
"""Limits that no alarm reaches."""


@pytest.fixture(autouse=True)
def proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """That artifacts reload in a fresh process is shown elsewhere, and takes seconds each time."""
    monkeypatch.setattr(pipeline, "prove_reload", lambda predictor, artifact, examples: Parity(len(examples), 0.0))


def with_texts(place: Path, **changes: Any) -> Experiment:
    """A recipe with 24 labelled examples and texts without labels, of which some stand in another split."""
    files = write_examples(place, 24)
    held_out = [row.rsplit(",", 1)[0] for row in Path(files["test"]).read_text(encoding="utf-8").splitlines()[1:]]
    new = [f"{('good', 'bad')[n % 2]} {('film', 'day', 'work')[n % 3]} of week {n}" for n in range(30)]
    texts = place / "texts.csv"
    texts.write_text("text,label\n" + "".join(f"{text},x\n" for text in [*new, *held_out, new[0]]), encoding="utf-8")
    data = {**files, "unlabelled": str(texts), **changes.pop("data", {})}
    return Experiment.from_yaml(
        write_recipe(place, data=data, **{"semi_supervision": FIRM, "alarms": QUIET, **changes})
    )


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / promotion.TOLD).read_text(encoding="utf-8"))
    return found


def model_of(folder: Path) -> str:
    return file_hash(folder / "artifact" / "model.safetensors")


def test_the_folder_holds_both_models_and_the_promoted_one(place: Path) -> None:
    result = promotion.run(with_texts(place), place / "out", quiet=True)
    found = told(result.folder)
    verify(result.artifact)
    chosen = "students/student-1" if found["promoted"] == "student-1" else "supervised"
    assert model_of(result.folder) == model_of(result.folder / chosen)
    gap = found["validation"]["difference"]["value"]
    assert (found["promoted"] == "student-1") == (gap >= 0), "no alarm can fire here"
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert found["verdict"].split(":")[0] in page
    assert result.report.promotion[0] == found["verdict"]
    assert [one["name"] for one in found["models"]] == ["supervised", "student-1"]
    assert found["models"][0]["texts"] == 30, "copies of test and repetitions are left out"


def test_pseudo_labels_never_use_held_out_texts_and_say_whose_they_are(place: Path) -> None:
    experiment = with_texts(place)
    loaded = promotion.load(experiment)
    splits = loaded.splits
    known = {text_key(e.content) for part in (splits.train, splits.validation, splits.test) for e in part}
    assert not known & {text_key(example.content) for example in splits.unlabelled}
    assert all(example.label is None for example in splits.unlabelled)
    messages = " ".join(finding.message for finding in loaded.findings)
    assert "labels, if it has any, were not" in messages
    assert "8 unlabelled texts were left out: they stand in validation or test" in messages
    assert "1 unlabelled texts were left out: they are copies of another one" in messages
    first = promotion.trained(
        promotion.supervised(experiment),
        Loaded(replace(splits, unlabelled=()), ()),
        place / "first",
        quiet=True,
    )
    use = experiment.semi_supervision
    assert isinstance(use, Teaching)
    seen = promotion.look("supervised", first, experiment, use, splits, ())
    assert seen.survey.examples
    assert all(example.attributes[TAUGHT_BY] == "supervised" for example in seen.survey.examples)
    assert not known & {text_key(example.content) for example in seen.survey.examples}


def test_a_collapse_fires_alarms_and_nothing_is_promoted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three labelled examples of one class to one of the other, every answer taken: the start is poisoned."""
    one_sided = "text,label\ngood film,good\na good day,good\ngood work,good\nbad film,bad\n"
    (place / "few.csv").write_text(one_sided, encoding="utf-8")
    changes = {"data": {"train": str(place / "few.csv")}, "alarms": {}}
    taking_all = {"name": "self_training", "threshold": 0.0, "balance": "none", "rounds": 2}
    experiment = with_texts(place, **changes, semi_supervision=taking_all, training={"epochs": 1})
    result = promotion.run(experiment, place / "out")
    found = told(result.folder)
    assert found["promoted"] == "supervised"
    fired = {alarm["name"] for one in found["models"] for alarm in one["alarms"] if alarm["fired"]}
    assert "most" in fired, "every answer is confident at a threshold of 0"
    assert model_of(result.folder) == model_of(result.folder / "supervised")
    assert not (result.folder / "students").exists(), "no student learns from what an alarm was raised about"
    said = capsys.readouterr().err
    assert "ALARM: 30 of 30 texts (100.0%) have a confident answer" in said
    assert "The supervised model stays, since an alarm fired" in result.report.promotion[0]
    assert "ALARM" in (result.artifact / "report.html").read_text(encoding="utf-8")


def test_models_are_compared_by_what_the_recipe_chooses_by() -> None:
    answers = [Prediction("1", "a", 0.9, {"a": 0.9, "b": 0.1}), Prediction("2", "a", 0.9, {"a": 0.9, "b": 0.1})]
    task = SequenceClassification(labels=("a", "b"))
    seen = promotion.Seen("supervised", None, task, answers, None, ())  # type: ignore[arg-type]
    examples = [Example("1", "x", "a"), Example("2", "y", "b")]
    assert promotion.measure(seen, examples, "macro_f1").name == "macro_f1"
    assert promotion.measure(seen, examples, "").name == task.metric


def test_a_student_below_the_supervised_model_is_not_promoted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def below(a: object, b: object, *, seed: int) -> Comparison:
        return Comparison("accuracy", 0.5, 0.75, Estimate(-0.25, -0.5, 0.0), 0.1, "no difference shown")

    monkeypatch.setattr(promotion, "compare", below)
    result = promotion.run(with_texts(place), place / "out", quiet=True)
    assert told(result.folder)["promoted"] == "supervised"
    assert model_of(result.folder) == model_of(result.folder / "supervised")
    assert "stays, since the student is below it" in result.report.promotion[0]


@pytest.mark.parametrize(
    "use",
    [
        FIRM,
        {"name": "fixmatch", "threshold": 0.5, "strong": ["swap_words", "delete_words"], "weak": ["swap_words"]},
        {"name": "uda", "threshold": 0.5, "strong": ["delete_words"], "annealing": "linear"},
    ],
    ids=lambda use: str(use["name"]),
)
def test_a_stopped_run_goes_on_to_the_same_bits(place: Path, monkeypatch: pytest.MonkeyPatch, use: Any) -> None:
    experiment = with_texts(place, semi_supervision=use, training={"checkpoint_every": 1})
    whole = promotion.run(experiment, place / "whole", quiet=True).folder
    steps = Fitting._note

    def stopping(self: Any, step: Any, log: Any, *rest: Any) -> None:
        if step.number == 5 and "students" in str(log._path):
            raise KeyboardInterrupt
        steps(self, step, log, *rest)

    monkeypatch.setattr(Fitting, "_note", stopping)
    with pytest.raises(KeyboardInterrupt):
        promotion.run(experiment, place / "cut", quiet=True)
    monkeypatch.setattr(Fitting, "_note", steps)
    again = promotion.resume(place / "cut", quiet=True).folder
    for part in ("supervised", "students/student-1", "."):
        assert model_of(again / part) == model_of(whole / part)
    assert told(again)["models"] == told(whole)["models"]


def test_the_supervised_model_is_that_of_the_recipe_without_texts_and_is_kept(place: Path) -> None:
    experiment = with_texts(place)
    first = promotion.run(experiment, place / "out", quiet=True)
    alone = pipeline.run(promotion.supervised(experiment), place / "alone", quiet=True)
    assert model_of(alone.folder) == model_of(first.folder / "supervised")
    made = (first.folder / "supervised" / "checkpoints").stat().st_mtime_ns
    changed = with_texts(place, semi_supervision={**FIRM, "threshold": 0.6})
    again = promotion.run(changed, place / "out", overwrite=True, quiet=True)
    assert (again.folder / "supervised" / "checkpoints").stat().st_mtime_ns == made, "it is not trained again"
    assert model_of(again.folder / "supervised") == model_of(alone.folder)


def test_the_rest_of_the_training_file_is_unlabelled(place: Path) -> None:
    experiment = with_texts(place, data={"unlabelled": "rest", "per_class": 4, "unlabelled_limit": 10})
    splits = promotion.load(experiment).splits
    assert (len(splits.train), len(splits.unlabelled)) == (8, 10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"unlabelled": ""}}, "need both data.unlabelled and semi_supervision"),
        ({"semi_supervision": {"name": "none"}}, "need both data.unlabelled and semi_supervision"),
        ({"data": {"unlabelled": "rest"}}, "There is no rest"),
        ({"data": {"validation": "none"}}, "Without validation examples"),
        ({"semi_supervision": {"name": "fixmatch"}}, "nothing that makes the strongly changed copies"),
        ({"semi_supervision": {"name": "self_training", "rounds": 0}}, "rounds must be at least 1"),
        ({"semi_supervision": {"name": "self_training", "threshold": 2.0}}, "must lie between 0 and 1"),
        ({"semi_supervision": {"name": "fixmatch", "ratio": 0}}, "ratio must be at least 1"),
        ({"semi_supervision": {"name": "fixmatch", "strong": ["swap_wrods"]}}, "Did you mean 'swap_words'"),
        ({"semi_supervision": {"name": "uda", "temperature": 0.0}}, "temperature must lie above 0"),
        ({"data": {"subgroups": ["label"]}}, "have no subgroups"),
        ({"alarms": {"shift": 2}}, "shift must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(place: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        promotion.run(with_texts(place, **changes), place / "out", quiet=True)
    assert message in str(caught.value)
    assert not (place / "out").exists()


def test_nothing_of_a_hidden_label_is_left_of_a_text(place: Path) -> None:
    row = '{{"text": "text {0}", "label": "a", "p": {{"a": 0.9, "b": 0.1}}, "sure": 0.5, "src": "x"}}'
    rows = [row.format(number) for number in range(30)]
    (place / "t.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    unsure = {"weight": "sure", "chances": "p", "subgroups": ("src", "label")}
    data = Data(train=str(place / "t.jsonl"), limit=4, unlabelled="rest", validation="none", test="none", **unsure)  # type: ignore[arg-type]
    texts = data.load("class", 1).splits.unlabelled
    assert len(texts) == 26
    assert {(one.label, one.weight, one.chances, one.subgroup, len(one.attributes)) for one in texts} == {
        (None, 1.0, (), "", 0)
    }


def test_texts_that_all_stand_in_the_splits_are_refused(place: Path) -> None:
    files = write_examples(place, 24)
    with pytest.raises(DataError, match="No unlabelled text is left: of 8, 8 stand in validation or test"):
        promotion.load(with_texts(place, data={"unlabelled": files["test"]}))


def test_a_single_run_does_not_leave_the_texts_out_in_silence(place: Path) -> None:
    with pytest.raises(RecipeError, match="learnt from by a student"):
        pipeline.run(with_texts(place), place / "out", quiet=True)
