"""Copies of training examples: reproducible, new, none of what is held out, judged and counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.builders import write_examples, write_recipe
from tunesmith import pipeline
from tunesmith.augmentation import Augmenter, MentionReplacement, RandomDeletion, RandomSwap
from tunesmith.augmentation.audit import Audit, findings_of, share_of_lost
from tunesmith.augmentation.expand import Augmentation, Verdict, expand, originals
from tunesmith.data.records import Example, Span
from tunesmith.errors import RecipeError
from tunesmith.evaluation.results import example_row
from tunesmith.experiment import Experiment
from tunesmith.judging import Candidate
from tunesmith.preparation import prepare

BOTH: dict[str, Augmenter] = {"swap_words": RandomSwap(), "delete_words": RandomDeletion()}
EXAMPLES = [Example(str(n), f"the {word} film was shown on day {n} at noon", "x") for n, word in enumerate("abcdefgh")]


def made(settings: Augmentation, **changes: object) -> tuple[list[Example], Audit]:
    return expand(EXAMPLES, BOTH, settings, seed=3, **changes)  # type: ignore[arg-type]


def test_copies_follow_their_sources_with_new_ids_and_say_what_made_them() -> None:
    examples, audit = made(Augmentation(copies=2))
    assert examples[:8] == EXAMPLES
    assert len({example.id for example in examples}) == len(examples) == 24
    assert audit.kept.total() == 16
    copy = examples[8]
    assert copy.attributes == {"augmented_from": "0", "augmented_by": copy.id.split("/")[1]}
    assert list(originals(examples)) == EXAMPLES
    assert {name for example in examples[8:] for name in [example.attributes["augmented_by"]]} == set(BOTH)


def test_a_copy_depends_on_the_seed_and_its_source_alone() -> None:
    one, _ = made(Augmentation())
    again, _ = expand(EXAMPLES[::-1], BOTH, Augmentation(), seed=3)
    other, _ = expand(EXAMPLES, BOTH, Augmentation(), seed=4)
    assert {e.id: e.text for e in one} == {e.id: e.text for e in again}
    assert {e.text for e in one} != {e.text for e in other}


def test_how_many_examples_go_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(Augmentation(copies=2))
    monkeypatch.setattr("tunesmith.augmentation.expand.AT_ONCE", 3)
    assert made(Augmentation(copies=2)) == whole


def test_no_copy_has_the_text_of_another_example_or_of_one_that_is_held_out() -> None:
    first, _ = made(Augmentation())
    held_out = [replace(example, id=f"test {example.id}") for example in first[8:11]]
    kept, audit = made(Augmentation(), held_out=held_out)
    assert not {example.text for example in kept} & {example.text for example in held_out}
    assert audit.known.total() == 3
    assert [finding.count for finding in findings_of(audit) if finding.code == "already_known"] == [3]


def test_the_judge_refuses_copies_whose_source_it_gets_right() -> None:
    def judge(examples: Sequence[Example]) -> list[Verdict]:
        return [
            Verdict(example.id in ("3", "4", "5", "6") or example.id[0] == "7", f"as {example.id}")
            for example in examples
        ]

    kept, audit = made(Augmentation(), judge=judge)
    # Of 0 to 2 it knows nothing, 3 to 6 lose their copies, 7 is right both times.
    assert {example.id[0] for example in kept[8:]} == {"0", "1", "2", "7"}
    assert (audit.refused.total(), audit.unjudged) == (4, 3)
    flips = audit.flips()
    assert (flips.lost, flips.judged, flips.share) == (4, 5, 0.8)
    assert 0.2 < flips.low < 0.8 < flips.high < 1
    one = next(iter(audit.refusals.values()))[0]
    assert (one.label, one.answer[:4]) == ("x", "as 3")
    assert sum(audit.flips(name).judged for name in BOTH) == 5


def test_the_interval_of_lost_labels_is_wilsons_and_wider_where_copies_of_a_source_go_together() -> None:
    alone = share_of_lost([[True]] * 10 + [[False]] * 90)
    assert (round(alone.low, 4), round(alone.high, 4)) == (0.0552, 0.1744)
    together = share_of_lost([[True] * 5] * 2 + [[False] * 5] * 18)
    assert together.share == alone.share
    assert together.low < alone.low
    assert together.high > alone.high
    assert share_of_lost([]).judged == 0
    assert share_of_lost([[False]] * 30).low == 0.0
    assert 0.1 < share_of_lost([[False]] * 30).high < 0.12


def test_what_cannot_be_changed_is_counted() -> None:
    examples = [Example("1", "a day", (Span(2, 5, "time"),))]
    kept, audit = expand(examples, {"replace_mentions": MentionReplacement()}, Augmentation(copies=3), seed=0)
    assert kept == examples
    assert audit.unchanged["replace_mentions"] == 3
    assert [finding.severity for finding in findings_of(audit)] == ["warning", "note"]


def test_a_run_learns_from_copies_and_knows_them_from_what_was_read(place: Path) -> None:
    files = write_examples(place)
    recipe = write_recipe(place, data=files, training={"epochs": 1})
    plain = prepare(Experiment.from_yaml(recipe))
    changes = ["augmenters=[swap_words, {name: delete_words, share: 0.2}]", "augmentation.copies=2"]
    result = pipeline.run(Experiment.from_yaml(recipe, changes), place / "more", quiet=True)
    (found,) = [finding for finding in result.report.findings if finding.code == "augmented"]
    assert found.count > 0
    cost = result.report.cost
    assert cost.seconds_preparing > 0
    assert cost.seconds_total >= cost.seconds_preparing + cost.seconds_training
    assert result.report.sizes["train"] == len(plain.splits.train) + found.count
    assert result.report.sizes["test"] == len(plain.splits.test)
    assert result.report.fingerprints == plain.fingerprints, "the data is what was read"
    assert Candidate.load(result.artifact).learnt(), "what it learnt from is known"
    written = Experiment.from_yaml(result.artifact / "recipe.yaml")
    assert written.augmenters == Experiment.from_yaml(recipe, changes).augmenters


def test_labels_that_need_not_hold_are_not_augmented(place: Path) -> None:
    (place / "raw.txt").write_text("\n".join(f"a good day {n} for a film" for n in range(30)), encoding="utf-8")
    task = {"name": "masked_language_modeling"}
    recipe = write_recipe(place, task=task, data={"train": str(place / "raw.txt")})
    with pytest.raises(RecipeError, match="need not hold"):
        prepare(Experiment.from_yaml(recipe, ["augmenters=[swap_words]"]))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("augmenters=swap_words", "must be a list"),
        ("augmenters=[swap_wrods]", "Did you mean 'swap_words'"),
        ("augmenters=[{name: swap_words, shore: 1}]", "Did you mean 'share'"),
        ("augmenters=[swap_words, {name: swap_words, share: 0.5}]", "twice"),
        ("augmentation.copies=0", "at least 1"),
    ],
)
def test_mistaken_settings_are_explained(changes: str, said: str, place: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        Experiment.from_yaml(write_recipe(place), [changes])


@pytest.mark.parametrize(
    ("example", "kind", "row"),
    [
        (
            Example("1", "in Rome", (Span(3, 7, "place"),)),
            "spans",
            {"spans": [{"start": 3, "end": 7, "label": "place"}]},
        ),
        (Example("1", "in Rome", ()), "spans", {"spans": []}),
        (Example("1", "it's", (), words=((0, 2), (2, 4))), "spans", {"spans": [], "word_ranges": [[0, 2], [2, 4]]}),
        (Example("1", "in Rome", (), second="where?"), "answers", {"question": "where?", "answers": []}),
        (
            Example("1", "in 罗马", (Span(3, 5, "answer"),), second="where?"),
            "answers",
            {"question": "where?", "answers": [{"text": "罗马", "answer_start": 3}]},
        ),
        (
            Example("1", "a b", "r", marks=(Span(0, 1, "e1"), Span(2, 3, "e2"))),
            "class",
            {"e1": {"start": 0, "end": 1}, "e2": {"start": 2, "end": 3}, "label": "r"},
        ),
        (Example("1", "a", ("x", "y"), attributes={"source": "0"}), "classes", {"label": ["x", "y"], "source": "0"}),
    ],
)
def test_rows_of_examples_have_what_their_readers_look_for(example: Example, kind: str, row: dict[str, object]) -> None:
    assert example_row(example, kind) == {"id": "1", "text": example.text, **row}


def test_a_recipe_with_augmenters_is_written_and_read_again(place: Path) -> None:
    experiment = Experiment.from_yaml(write_recipe(place), ["augmenters=[{name: swap_terms, table: gender}]"])
    assert Experiment.from_mapping(json.loads(json.dumps(experiment.to_mapping()))) == experiment
