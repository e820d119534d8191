"""Trackers: the recipe's settings and the run's numbers arrive, and a tracker that is not there is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.builders import write_recipe
from tunesmith import pipeline
from tunesmith.errors import MissingExtraError
from tunesmith.experiment import Experiment
from tunesmith.training.tracking import check_trackers, flat


def test_settings_are_flat_pairs_of_plain_values() -> None:
    settings = {"name": "x", "training": {"epochs": 3, "learning_rate": None}, "data": {"keep": ["a", "b"]}}
    assert dict(flat(settings)) == {
        "name": "x",
        "training.epochs": 3,
        "training.learning_rate": "None",
        "data.keep": "['a', 'b']",
    }


def test_tensorboard_gets_the_settings_and_every_step(place: Path) -> None:
    recipe = write_recipe(place, trackers=["tensorboard"], name="tracked")
    pipeline.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    folder = place / "run" / "trackers" / "tracked"
    (settings,) = folder.glob("*/hparams.yml")
    assert yaml.safe_load(settings.read_text(encoding="utf-8"))["training.epochs"] == 2
    events = EventAccumulator(str(folder))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 13))
    assert [event.step for event in events.Scalars("validation/accuracy")] == [6, 12]


def test_a_tracker_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match="'mlflow' is not installed") as error:
        check_trackers(["mlflow"])
    assert "tunesmith[tracking]" in error.value.to_do
