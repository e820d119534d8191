"""Exported feedback is read by `data.train` as it was meant, and what is left out is counted."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.remembered.conftest import answered
from tunesmith.data.dataset import Data
from tunesmith.data.records import Span
from tunesmith.remembered.labels import LabelSchema, label_check
from tunesmith.remembered.records import Feedback, Policy
from tunesmith.remembered.refusals import StoreError
from tunesmith.remembered.reviewing import Which, by_status, found, review
from tunesmith.remembered.training_rows import Exported, Wanted, training_rows

ALL = Which(("new", "accepted"))


def exported(store, wanted: Wanted) -> tuple[list[dict], Exported]:
    counts = Exported()
    return list(training_rows(store.database, wanted, counts)), counts


def loaded(rows: Iterable[dict], tmp_path, kind: str, **settings) -> list:
    path = tmp_path / "feedback.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    data = Data(train=str(path), validation="none", test="none", group="group", **settings)
    return list(data.load(kind, 1).splits.train)


def say(store, request_id, right=None, key_id="key1", **more):
    verdict = more.pop("verdict", "wrong" if right else "correct")
    return store.feedback(Feedback(request_id, 0, key_id, verdict, right, **more))


def test_classes_are_read_back_with_their_groups_and_weights(opened, tmp_path):
    store = opened()
    store.remember(
        [answered("r1", "酒店很好", subject="张三"), answered("r2", "早餐很差"), answered("r3", subject="张三")]
    )
    say(store, "r1")
    say(store, "r2", {"label": "bad"})
    say(store, "r3")
    rows, counts = exported(store, Wanted(ALL, confirmed_weight=0.25))
    examples = {one.text: one for one in loaded(rows, tmp_path, "class", weight="weight")}
    assert {text: (one.label, one.weight) for text, one in examples.items()} == {
        "酒店很好": ("good", 0.25),
        "早餐很差": ("bad", 1.0),
        "a good film": ("good", 0.25),
    }
    assert examples["酒店很好"].group == examples["a good film"].group != examples["早餐很差"].group
    assert "张三" not in json.dumps(rows, ensure_ascii=False)
    assert (counts.written, counts.corrected) == (3, 1)
    row = next(row for row in rows if row["request_id"] == "r2")
    assert (row["key"], row["model"], row["version"], row["verdict"]) == ("key1", "films", "ab" * 32, "wrong")
    assert row["given_at"].endswith("Z")


def test_spans_are_read_back_on_masked_text(opened, tmp_path):
    def mask(text):
        start = text.find("13800138000")
        return [(start, start + 11, "[TEL]")] if start >= 0 else []

    store = opened(Policy(text="masked", mask=mask), label_check({"films": LabelSchema("spans", ("PER", "TEL"))}))
    text = "打13800138000找张三"
    store.remember([answered("r1", text, answer={"spans": []}), answered("r2", text, answer={"spans": []})])
    spans = [{"start": 13, "end": 15, "label": "PER"}, {"start": 1, "end": 12, "label": "TEL"}]
    assert text[13:15] == "张三"
    say(store, "r1", {"spans": spans})
    rows, _ = exported(store, Wanted(ALL))
    (example,) = loaded(rows, tmp_path, "spans")
    assert example.text == "打[TEL]找张三"
    assert example.label == (Span(1, 6, "TEL"), Span(7, 9, "PER"))


@pytest.mark.parametrize(
    ("kind", "right", "expected"),
    [
        ("classes", {"label": ["b", "a"]}, ("a", "b")),
        ("number", {"label": 2.5}, 2.5),
        ("text", {"answer": "一个译文"}, "一个译文"),
    ],
)
def test_other_kinds_of_labels_are_read_back(opened, tmp_path, kind, right, expected):
    store = opened()
    store.remember([answered("r1", answer={"label": "other"})])
    say(store, "r1", right)
    rows, _ = exported(store, Wanted(ALL))
    assert [example.label for example in loaded(rows, tmp_path, kind)] == [expected]


def test_pairs_are_read_back(opened, tmp_path):
    store = opened()
    store.remember([answered("r1", further={"second": "另一句"})])
    say(store, "r1", {"label": "same"})
    rows, _ = exported(store, Wanted(ALL))
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(rows[0]), encoding="utf-8")
    data = Data(train=str(path), validation="none", test="none")
    (example,) = data.load("class", 1, ("text", "second")).splits.train
    assert (example.text, example.second, example.label) == ("a good film", "另一句", "same")


def test_only_what_was_accepted_is_exported_and_the_rest_is_counted(opened):
    store = opened()
    store.remember([answered(f"r{number}", f"film {number}") for number in range(8)])
    ids = [say(store, f"r{number}", {"label": "bad"}).id for number in range(8)]
    assert review(store.database, ids[:3], "accepted", "ann") == 3
    assert review(store.database, ids[3:5], "quarantined") == 2
    review(store.database, ids[5:6], "rejected")
    rows, counts = exported(store, Wanted())
    assert {row["id"] for row in rows} == set(ids[:3])
    assert counts.by_status == {"new": 2, "rejected": 1, "quarantined": 2}
    assert by_status(store.database, Which()) == {"new": 2, "accepted": 3, "rejected": 1, "quarantined": 2}
    assert review(store.database, ids[:1], "accepted") == 0
    review(store.database, ids[:1], "rejected", "bob")
    (row,) = [row for row in found(store.database, Which(("rejected",))) if row.id == ids[0]]
    assert [(step["from"], step["to"], step["by"]) for step in row.provenance["reviews"]] == [
        ("new", "accepted", "ann"),
        ("accepted", "rejected", "bob"),
    ]


def test_contradictions_are_left_out_and_agreement_is_written_once(opened):
    store = opened()
    texts = ["same", "same", "alone", "agreed", "agreed", "unsaid"]
    store.remember([answered(f"r{number}", text) for number, text in enumerate(texts)])
    say(store, "r0", {"label": "bad"}, "a")
    say(store, "r1", {"label": "fine"}, "b")
    say(store, "r2", {"label": "bad"})
    say(store, "r3", {"label": "bad"}, "a")
    say(store, "r4", {"label": "bad"}, "b")
    say(store, "r3", {"label": "bad"}, "c")
    say(store, "r5", verdict="wrong")
    rows, counts = exported(store, Wanted(ALL))
    assert sorted(row["text"] for row in rows) == ["agreed", "alone"]
    assert (counts.written, counts.agreeing, counts.conflicting, counts.without_right_answer) == (2, 2, 2, 1)
    assert len(counts.conflicts) == 2


def test_without_texts_there_is_nothing_to_learn_from(opened):
    store = opened(Policy(text="none"))
    store.remember([answered("r1")])
    say(store, "r1", {"label": "bad"})
    rows, counts = exported(store, Wanted(ALL))
    assert rows == []
    assert counts.without_text == 1


def test_columns_of_a_request_do_not_replace_our_own(opened):
    store = opened()
    store.remember([answered("r1", further={"id": "x", "label": "planted", "group": "g", "key": "k"})])
    say(store, "r1", {"label": "bad"})
    (row,) = exported(store, Wanted(ALL))[0]
    assert (row["label"], row["group"], row["key"]) == ("bad", "r1", "key1")


def test_what_makes_no_sense_is_refused(opened):
    store = opened()
    with pytest.raises(StoreError, match="no status 'acepted'"):
        Which(("acepted",))
    with pytest.raises(StoreError, match="weight"):
        Wanted(confirmed_weight=-1)
    store.remember([answered("r1")])
    known = say(store, "r1").id
    with pytest.raises(StoreError, match="no feedback with the id 'nothing'"):
        review(store.database, [known, "nothing"], "accepted")
    assert by_status(store.database, Which())["new"] == 1


@pytest.mark.parametrize(
    ("schema", "right", "said"),
    [
        (LabelSchema("class", ("a", "b")), {"label": "a"}, ""),
        (
            LabelSchema("class", ("0", "1")),
            {"label": 0},
            "none of the model's 2: 0, 1. Labels are texts: write them in quotes.",
        ),
        (LabelSchema("class", ("a", "b")), {"label": "c"}, "none of the model's 2: a, b"),
        (LabelSchema("class", ("a", "b")), {"label": ["a"]}, "none of"),
        (LabelSchema("class"), {"label": " "}, "no text"),
        (LabelSchema("class", ("a",)), {"label": "a", "text": "x"}, '"label" alone'),
        (LabelSchema("classes", ("a", "b")), {"label": ["b", "a"]}, ""),
        (LabelSchema("classes", ("a", "b")), {"label": "a"}, "list"),
        (LabelSchema("classes", ("a", "b")), {"label": ["a", 3]}, "none of"),
        (LabelSchema("number"), {"label": 3}, ""),
        (LabelSchema("number"), {"label": True}, "number"),
        (LabelSchema("number"), {"label": float("inf")}, "finite"),
        (LabelSchema("text"), {"answer": "x"}, ""),
        (LabelSchema("text"), {"answer": ""}, "text"),
        (LabelSchema("spans", ("P",)), {"spans": [{"start": 0, "end": 10, "label": "P"}]}, ""),
        (LabelSchema("spans", ("P",)), {"spans": []}, ""),
        (LabelSchema("spans", ("P",)), {"spans": [{"start": 0, "end": 11, "label": "P"}]}, "10 characters"),
        (LabelSchema("spans", ("P",)), {"spans": [{"start": 3, "end": 3, "label": "P"}]}, "10 characters"),
        (LabelSchema("spans", ("P",)), {"spans": [{"start": 0, "end": True, "label": "P"}]}, "10 characters"),
        (LabelSchema("spans", ("P",)), {"spans": [{"start": 0, "end": 1, "label": "Q"}]}, "none of"),
        (LabelSchema("spans", ("P",)), {"spans": ["P"]}, "spans such as"),
        (LabelSchema("spans", ("P",)), {"label": "P"}, '"spans" alone'),
    ],
)
def test_right_answers_are_checked_by_the_labels(schema, right, said):
    fault = label_check({"m": schema})("m", right, 10)
    assert said in fault
    assert bool(fault) == bool(said)
    assert label_check({})("m", right, 10)
