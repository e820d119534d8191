"""A few examples of each entity type: enough of each, none superfluous, the same for a seed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Span
from tunesmith.data.shots import draw_shots
from tunesmith.errors import RecipeError
from tunesmith.tasks.gold import spans_of


def sentences(count: int) -> list[Example]:
    """Sentences with none to four spans, of types that are common to very rare."""
    rng = random.Random(4)
    made = []
    for number in range(count):
        types = [rng.choice("AAAAAABBC") for _ in range(rng.randint(0, 4))] + ["D"] * (number in (5, 9))
        spans = tuple(Span(2 * place, 2 * place + 1, label) for place, label in enumerate(types))
        made.append(Example(str(number), "x " * max(1, len(types)), spans))
    return made


def counted(examples: Sequence[Example]) -> Counter[str]:
    return Counter(span.label for example in examples for span in spans_of(example))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shots", [1, 2, 5])
def test_every_type_has_its_shots_and_no_sentence_is_superfluous(shots: int, seed: int) -> None:
    every = sentences(200)
    drawn, finding = draw_shots(every, shots, seed)
    wanted = {label: min(shots, count) for label, count in counted(every).items()}
    have = counted(drawn)
    assert all(have[label] >= count for label, count in wanted.items())
    for left_out in drawn:
        rest = counted([example for example in drawn if example is not left_out])
        assert any(rest[label] < count for label, count in wanted.items())
    assert finding.count == len(drawn) < len(every)
    assert [example.id for example in drawn] == sorted((example.id for example in drawn), key=int)


def test_a_type_with_too_few_spans_is_named() -> None:
    _, finding = draw_shots(sentences(200), 5, seed=1)
    assert finding.severity == "warning"
    assert "Fewer are there of D (2)" in finding.message


def test_the_seed_decides_what_is_drawn() -> None:
    every = sentences(200)
    one, again, other = (draw_shots(every, 2, seed)[0] for seed in (1, 1, 2))
    assert list(one) == list(again) != list(other)


def test_of_data_without_spans_nothing_is_drawn() -> None:
    drawn, finding = draw_shots([Example("a", "x", ())], 3, seed=1)
    assert (len(drawn), finding.count) == (0, 0)


def test_only_the_training_split_is_drawn_from_after_validation_was_held_out(tmp_path: Path) -> None:
    rows = "\n\n".join(f"Anna{number} B-PER\nwent O\nto O\nRome{number} B-LOC" for number in range(40))
    (tmp_path / "train.conll").write_text(rows + "\n", encoding="utf-8")
    loaded = Data(train=str(tmp_path / "train.conll"), format="conll", shots=3).load("spans", 1)
    assert (len(loaded.splits.train), len(loaded.splits.validation), len(loaded.splits.test)) == (3, 4, 4)
    assert any(finding.code == "shots" for finding in loaded.findings)


def test_shots_are_for_spans_and_not_beside_a_limit() -> None:
    with pytest.raises(RecipeError, match="labelled spans"):
        Data(train="x.csv", shots=3).load("class", 1)
    with pytest.raises(RecipeError, match="limit and shots"):
        Data(train="x.csv", shots=3, limit=3)
    with pytest.raises(RecipeError, match="negative"):
        Data(train="x.csv", shots=-1)
