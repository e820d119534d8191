"""Where a run may write, and what it never replaces."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.builders import write_examples, write_recipe
from tunesmith import compressing, run_folder
from tunesmith.compression import HeadPrune, Int8, Vocabulary
from tunesmith.errors import RecipeError, ResourceError
from tunesmith.experiment import Experiment
from tunesmith.preparation import Prepared
from tunesmith.tasks import Task
from tunesmith.tasks.token_classification import TokenClassification


def earlier_run(folder: Path) -> Path:
    """A folder as a run leaves it."""
    (folder / "artifact").mkdir(parents=True)
    (folder / ".artifact-x1").mkdir()
    for name in ("recipe.yaml", "log.jsonl", "metrics.json"):
        (folder / name).write_text("old", encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", ["new", "one/below/another"])
def test_a_new_folder_is_made_with_the_recipe_in_it(name: str, tmp_path: Path) -> None:
    run_folder.vet(tmp_path / name, overwrite=False)
    assert not (tmp_path / name).exists()
    run_folder.begin(tmp_path / name, "task: x\n", 1, overwrite=True)
    assert (tmp_path / name / "recipe.yaml").read_text(encoding="utf-8") == "task: x\n"


def test_an_earlier_run_is_replaced_only_when_that_was_asked(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "run")
    with pytest.raises(RecipeError, match="not empty"):
        run_folder.vet(folder, overwrite=False)
    run_folder.vet(folder, overwrite=True)
    run_folder.begin(folder, "new", 1, overwrite=True)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {"recipe.yaml": "new"}


@pytest.mark.parametrize("foreign", ["thesis.docx", "src", "runs"])
def test_what_no_run_writes_is_never_removed(foreign: str, tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "run")
    (folder / foreign).mkdir()
    with pytest.raises(RecipeError, match=f"it holds '{foreign}'"):
        run_folder.vet(folder, overwrite=True)


def test_a_folder_without_a_recipe_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    with pytest.raises(RecipeError, match=r"it has no recipe\.yaml"):
        run_folder.vet(tmp_path, overwrite=True)


@pytest.mark.parametrize("below", ["taken", "taken/run"])
def test_a_file_is_no_folder(below: str, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match="belongs to a file"):
        run_folder.vet(tmp_path / below, overwrite=True)


def test_too_small_a_disk_is_seen_before_anything_is_removed(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "run")
    with pytest.raises(ResourceError, match="MB are needed"):
        run_folder.begin(folder, "new", 1 << 60, overwrite=True)
    assert (folder / "recipe.yaml").read_text(encoding="utf-8") == "old"


def test_a_chain_needs_room_for_an_artifact_of_each_step_and_for_the_checkpoints_of_one() -> None:
    a_million = 4_000_000
    alone = run_folder.room_for(1_000_000, 10)
    for steps, artifacts, trainings in (
        ((Vocabulary(),), 1, 0),
        ((HeadPrune(rounds=3), Vocabulary(), HeadPrune(rounds=2), Int8()), 4, 3),
        ((HeadPrune(rounds=3, epochs=0),), 1, 0),
    ):
        more = run_folder.room_for(1_000_000, 10, steps) - alone
        kept = (artifacts + 2) * (a_million + (16 << 20)) + a_million * trainings * 7  # best, and two of three each
        assert more == kept + (3 * a_million if trainings else 0)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_run_looks_for_the_room_of_its_chain_before_it_trains(
    rounds: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def full(folder: Path, size: int) -> None:
        sizes.append(size)
        raise ResourceError("full")

    monkeypatch.setattr(run_folder, "need_space", full)
    more: dict[str, object] = {"unlabelled": "rest", "per_class": 4} if rounds else {}
    changes: dict[str, object] = {"semi_supervision": {"name": "self_training", "rounds": rounds}} if rounds else {}
    for steps in ([], ["vocabulary", "head_prune"]):
        recipe = write_recipe(place, data={**write_examples(place), **more}, compress=steps, **changes)
        with pytest.raises(ResourceError, match="full"):
            compressing.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    assert sizes[1] - sizes[0] > 3 * (16 << 20)
    assert not (place / "run").exists()


def test_what_appeared_since_the_first_look_is_not_removed(tmp_path: Path) -> None:
    run_folder.vet(tmp_path / "run", overwrite=False)
    earlier_run(tmp_path / "run")
    with pytest.raises(RecipeError, match="not empty"):
        run_folder.begin(tmp_path / "run", "new", 1, overwrite=False)


def test_the_folder_one_is_in_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = earlier_run(tmp_path / "run")
    monkeypatch.chdir(folder)
    for place in (Path(), folder, tmp_path):
        with pytest.raises(RecipeError, match="holds the folder you are in"):
            run_folder.vet(place, overwrite=True)


def test_a_run_is_another_when_a_file_that_its_recipe_names_changed(tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("good\tfine\n", encoding="utf-8")
    (tmp_path / "train.csv").write_text("text,label\na,b\n", encoding="utf-8")
    experiment = Experiment.from_mapping(
        {
            "name": "x",
            "task": {"name": "sequence_classification"},
            "data": {"train": str(tmp_path / "train.csv")},
            "model": {"name": "minilm-l6"},
            "augmenters": [{"name": "replace_synonyms", "lexicon": str(tmp_path / "words.tsv")}],
        }
    )

    def found() -> tuple[str, dict[str, str]]:
        known = SimpleNamespace(fingerprints={}, backbone=SimpleNamespace(identity="m"), task=experiment.task)
        return run_folder.run_id(experiment, cast(Prepared, known)), run_folder.files_of(experiment)

    name, files = found()
    assert set(files) == {str(tmp_path / "words.tsv"), str(tmp_path / "train.csv")}
    (tmp_path / "train.csv").write_text("text,label\na,c\n", encoding="utf-8")
    assert found()[0] == name, "of the data the fingerprint counts"
    assert found()[1] != files
    (tmp_path / "words.tsv").write_text("good\tnice\n", encoding="utf-8")
    assert found()[0] != name


def test_a_run_is_another_when_a_teacher_that_its_recipe_names_or_the_names_of_its_task_changed(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    experiment = Experiment.from_mapping(
        {
            "name": "x",
            "task": {"name": "token_classification"},
            "data": {"name": "support-finance"},
            "model": {"name": "minilm-l6"},
            "objective": {"name": "distillation", "teacher": str(teacher)},
        }
    )

    def found(task: Task = experiment.task) -> str:
        known = SimpleNamespace(fingerprints={}, backbone=SimpleNamespace(identity="minilm"), task=task)
        return run_folder.run_id(experiment, cast(Prepared, known))

    ids = [found()]
    for content in ("{}", '{"model.safetensors": "1"}'):
        (teacher / "manifest.json").write_text(content, encoding="utf-8")
        ids.append(found())
    ids.append(found(TokenClassification(entries={"ORG": {"acme": "Acme"}})))
    assert len(set(ids)) == 4
    assert found() == ids[2]
