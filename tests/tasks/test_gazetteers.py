"""Gazetteers: the longest name on the original text, never out of the sentence itself, kept in the artifact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.builders import SPANS, build_material, build_model, write_recipe
from tunesmith import pipeline
from tunesmith.data.records import Example, Span
from tunesmith.errors import DataError, LabelError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import TokenClassification
from tunesmith.tasks.gazetteers import Matcher, digest, gazetteer_findings, read_entries
from tunesmith.tasks.heads import MARKS
from tunesmith.tasks.tagged_words import units_of

NAMES = {
    "New York": {"LOC": ""},
    "New York Times": {"ORG": ""},
    "York": {"PER": ""},
    "北京": {"LOC": ""},
    "北京大学": {"ORG": ""},
    "Jordan": {"LOC": "", "PER": ""},
}
LOC, ORG, PER, SEVERAL = (1 + 2 * kind for kind in range(4))


def marks_of(text: str) -> list[int]:
    return Matcher(NAMES).marks(text, units_of(Example("x", text)))


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("the New York Times", [0, ORG, ORG + 1, ORG + 1]),
        ("New York and York", [LOC, LOC + 1, 0, PER]),
        ("New  York", [LOC, LOC + 1]),
        ("Yorkshire", [0]),
        ("Jordan", [SEVERAL]),
        ("我在北京大学", [0, 0, ORG, ORG + 1, ORG + 1, ORG + 1]),
        ("北京北京", [LOC, LOC + 1, LOC, LOC + 1]),
        ("", []),
    ],
)
def test_the_longest_name_is_found_at_the_borders_of_words(text: str, marks: list[int]) -> None:
    assert marks_of(text) == marks


def test_a_name_known_from_one_sentence_is_not_found_in_it() -> None:
    examples = [
        Example("a", "Anna saw Bell", (Span(0, 4, "PER"), Span(9, 13, "PER"))),
        Example("b", "Bell slept", (Span(0, 4, "PER"),)),
        Example("c", "Bell rang", ()),
    ]
    entries = read_entries(("train",), examples)
    assert entries == {"Anna": {"PER": digest("Anna saw Bell")}, "Bell": {"PER": ""}}
    found = [Matcher(entries).marks(text, units_of(Example("x", text))) for text in ("Anna saw Bell", "Anna slept")]
    assert found == [[0, 0, 1], [1, 0]]
    read = [(example, units_of(example)) for example in examples]
    said = gazetteer_findings(entries, ((e, units, Matcher(entries).marks(e.text, units)) for e, units in read))
    assert "2 names of 1 types" in said[0].message
    assert "finds 2 of 3 labelled spans, and 1 places" in said[0].message


def test_a_file_of_names_is_read_and_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "names.tsv"
    path.write_text("# people\nPER\tAda  Lovelace\n\nLOC\t北京\n", encoding="utf-8")
    assert read_entries((str(path),), ()) == {"Ada Lovelace": {"PER": ""}, "北京": {"LOC": ""}}
    path.write_text("PER\tAda\nAda Lovelace\n", encoding="utf-8")
    with pytest.raises(LabelError, match="not a type, a tab and a name") as error:
        read_entries((str(path),), ())
    assert error.value.where == f"{path}:2"
    with pytest.raises(DataError, match="cannot be read"):
        read_entries((str(tmp_path / "none.tsv"),), ())


@pytest.mark.parametrize("crf", [False, True])
def test_the_head_reads_the_marks_of_every_window(crf: bool, tiny_model_folder: Path) -> None:
    task = TokenClassification(casing=False, crf=crf, gazetteer=("train",), max_length=16, stride=4)
    model, prepared, encoder = build_model(tiny_model_folder, task, SPANS, max_length=16, dropout=0.0)
    long = Example("x", " ".join(["we met Rome"] * 12), tuple(Span(7 + 12 * n, 11 + 12 * n, "LOC") for n in range(12)))
    material = build_material(prepared, encoder, [long, *SPANS])
    batch = material.batch(range(len(SPANS) + 1))
    assert len(batch.input_ids) > len(SPANS) + 1
    marks = batch.media[MARKS]
    assert marks.shape == batch.unit_mask.shape
    inside = marks[batch.example_of == 0][batch.unit_mask[batch.example_of == 0]].tolist()
    assert inside == [0, 0, 1] * 12
    other = replace(batch, media={MARKS: torch.zeros_like(marks)})
    apart = (model.eval()(batch) - model(other)).abs().sum(-1)[batch.unit_mask] > 0
    assert torch.equal(apart, (marks > 0)[batch.unit_mask])


def test_a_gazetteer_lies_in_the_artifact(place: Path) -> None:
    rows = "".join(
        f"{word} O\nwent O\nto O\n{city} B-LOC\n\n" for word in ("Anna", "Bell") for city in ("Rome", "Paris")
    )
    for split in ("train", "validation", "test"):
        (place / f"{split}.conll").write_text(rows, encoding="utf-8")
    names = place / "names.tsv"
    names.write_text("LOC\tRome\nPER\tAnna\n", encoding="utf-8")
    splits = {split: str(place / f"{split}.conll") for split in ("train", "validation", "test")}
    recipe = write_recipe(
        place,
        task={"name": "token_classification", "gazetteer": [str(names), "train"]},
        data={**splits, "accept": ["leakage", "exact_leakage", "repeated_texts"]},
        training={"epochs": 1},
    )
    result = pipeline.run(Experiment.from_yaml(recipe), place / "out", quiet=True)
    names.unlink()
    served = Predictor.load(result.artifact)
    assert served.task.entries["Rome"] == {"LOC": ""}  # type: ignore[attr-defined]
    assert served.task.entries["Anna"] == {"PER": ""}  # type: ignore[attr-defined]
    assert any(finding.code == "gazetteer" for finding in result.report.findings)
