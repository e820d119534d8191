"""Five planted ailments in real data: each is named first, and not in the data as they are."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tunesmith.advice.consult import Advice, advise, write_recipes
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example
from tunesmith.experiment import Experiment

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

OTHER = {"0": "1", "1": "0"}
SIZE = 1200
LIMIT_S = 180
"""Of one core; on a machine that does nothing else it takes no longer."""

Parts = dict[str, list[Example]]


def noisy(parts: Parts, chance: random.Random) -> None:
    flipped = set(chance.sample(range(SIZE), SIZE // 5))
    parts["train"] = [
        replace(one, label=OTHER[str(one.label)]) if place in flipped else one
        for place, one in enumerate(parts["train"])
    ]


def scarce(parts: Parts, chance: random.Random) -> None:
    parts["train"] = [one for label in "01" for one in [e for e in parts["train"] if e.label == label][:40]]


def leakage(parts: Parts, chance: random.Random) -> None:
    parts["train"] += chance.sample(parts["test"], len(parts["test"]) // 20)


def shortcut(parts: Parts, chance: random.Random) -> None:
    parts["train"] = [
        replace(one, text=f"{one.text} zx") if (chance.random() < 0.95) == (one.label == "1") else one
        for one in parts["train"]
    ]


def nothing(parts: Parts, chance: random.Random) -> None:
    """The data as they are."""


def consulted(folder: Path, plant: Callable[[Parts, random.Random], None]) -> Advice:
    splits = Data(name="sst2").load("class", 13).splits
    chance = random.Random(5)
    parts = {name: chance.sample(list(examples), min(SIZE, len(examples))) for name, examples in splits.named().items()}
    plant(parts, chance)
    files = {}
    for name, examples in parts.items():
        path = folder / f"{name}.jsonl"
        rows = [{"id": str(place), "text": one.text, "label": one.label} for place, one in enumerate(examples)]
        path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        files[name] = str(path)
    return advise(
        Experiment.from_mapping(
            {"task": {"name": "sequence_classification"}, "data": files, "model": {"name": "minilm-l6"}}
        )
    )


@pytest.fixture(scope="module")
def as_they_are(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [one.ailment for one in consulted(tmp_path_factory.mktemp("clean"), nothing).named]


@pytest.mark.parametrize("plant", [noisy, scarce, leakage, shortcut])
def test_a_planted_ailment_is_named_first_and_not_without_it(
    plant: Callable[[Parts, random.Random], None], tmp_path: Path, as_they_are: list[str]
) -> None:
    advice = consulted(tmp_path, plant)
    assert advice.named[0].ailment == plant.__name__
    assert plant.__name__ not in as_they_are
    assert advice.cpu_seconds < LIMIT_S
    recipes = write_recipes(advice, tmp_path / "out")
    assert recipes
    for path in recipes:
        assert Experiment.from_yaml(path).data.load("class", 13).splits.train


def test_an_english_model_on_chinese_text_is_named_first_and_a_fitting_one_is_not() -> None:
    found = {}
    for model in ("minilm-l6", "e5-small-zh-en"):
        found[model] = advise(
            Experiment.from_mapping(
                {
                    "task": {"name": "sequence_classification", "max_length": 128},
                    "data": {"name": "chnsenticorp"},
                    "model": {"name": model},
                }
            )
        )
        assert found[model].cpu_seconds < LIMIT_S
    worst = found["minilm-l6"].named[0]
    assert worst.ailment == "off_domain"
    assert "off_domain" not in [one.ailment for one in found["e5-small-zh-en"].named]
    first = worst.remedies[0]
    assert first.name == "model-e5-small-zh-en"
    assert first.effect is not None
    assert first.effect.low > 0
