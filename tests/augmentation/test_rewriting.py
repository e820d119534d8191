"""Texts written anew: by what is asked, once each, left out where they are of no use, never where labels are places."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.augmentation.conftest import Chat, said
from tests.builders import write_recipe
from tunesmith.augmentation import BackTranslation, Paraphrase
from tunesmith.augmentation.audit import findings_of
from tunesmith.augmentation.expand import Augmentation, expand
from tunesmith.augmentation.rewriters.apertium import Apertium
from tunesmith.augmentation.rewriters.kept import Kept
from tunesmith.augmentation.rewriting import fault_of
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Span
from tunesmith.enlarging import examples_made
from tunesmith.errors import MissingExtraError, RecipeError, ResourceError, TunesmithError
from tunesmith.experiment import Experiment

TEXTS = ["a good film .", "the film was good, and 3 of us liked it", "no good film", "it rains today", "good"]
EXAMPLES = [Example(str(n), text, "x") for n, text in enumerate(TEXTS)]


def made(augmenter: Any, examples: list[Example] = EXAMPLES) -> list[str | None]:
    known = augmenter.fitted(examples)
    copies = known.augment_all(examples, [random.Random(n) for n in range(len(examples))])
    return [None if copy is None else copy.text for copy in copies]


def test_texts_go_there_and_back_by_one_process_each_way_without_marks_of_unknown_words(apertium: Path) -> None:
    assert made(BackTranslation()) == [
        "a fine movie .",
        "the movie was fine, and 3 of us liked it",
        "no fine movie",
        None,
        "fine",
    ]
    assert apertium.read_text(encoding="utf-8").split("\n")[2:] == ["-u eng-spa", "-u spa-eng", ""]


def test_nothing_is_translated_twice_and_only_what_is_new_is_asked(apertium: Path, cache: Path) -> None:
    first = made(BackTranslation(), EXAMPLES[:2])
    calls = apertium.read_text(encoding="utf-8").count("-u")
    assert made(BackTranslation(), EXAMPLES[:2]) == first
    assert apertium.read_text(encoding="utf-8").count("-u") == calls
    (kept,) = cache.iterdir()
    assert "film" not in kept.read_text(encoding="utf-8"), "sources are kept as checksums"
    assert made(BackTranslation())[:2] == first
    assert len(kept.read_text(encoding="utf-8").split()) > 0


def test_what_was_kept_outlives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    Kept(tmp_path, "a").add([("one", "1"), ("two", "2")])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        kept = Kept(tmp_path, "a")
        assert ("two" not in kept) or kept["two"] == "2"
        kept.add([("three", "3\n")])
        assert Kept(tmp_path, "a")["three"] == "3\n"
    assert "one" not in Kept(tmp_path, "b"), "each rewriter keeps its own"


def test_an_interrupted_run_goes_on_where_it_stopped(chat: Chat) -> None:
    def breaks(text: str) -> tuple[int, dict[str, str], bytes]:
        return (400, {}, b"") if "7" in text else said(f"well, {text.split()[-1]} it is")

    examples = [Example(str(n), f"it is {n}", "x") for n in range(10)]
    by = {"name": "endpoint", "url": chat.url, "model": "m", "together": 1, "tries": 1}
    chat.answer = breaks
    with pytest.raises(TunesmithError, match="400"):
        made(Paraphrase(by=by, prompts=("{text}",)), examples)
    asked = len(chat.asked)
    chat.answer = lambda text: said(f"well, {text.split()[-1]} it is")
    assert made(Paraphrase(by=by, prompts=("{text}",)), examples)[0] == "well, 0 it is"
    assert 10 <= len(chat.asked) - 4 <= asked + 8, "the four that were kept are not asked again"
    assert sum("is 0" in one["messages"][0]["content"] for one in chat.asked) == 1


@pytest.mark.parametrize(
    ("source", "new", "fault"),
    [
        ("a good film", "a fine film", ""),
        ("a good film", "  ", "no whole text"),
        ("a good film", "A  GOOD film", "the same text"),
        ("a good film", "a", "much shorter or longer"),
        ("a good film", "Sure! Here is another way to put it: a film that is good", "much shorter or longer"),
        ("seen 3 times", "seen 4 times", "other numbers"),
        ("in 1,000 days", "in 1,000 nights", ""),
        ("很好看的电影", "a nice film", "another script"),
        ("很好看的电影", "很不好看的电影", "a negation lost or added"),
        ("很好看但是太长", "很好看可是太长", ""),
        ("it is not good", "it is good too", "a negation lost or added"),
        ("it is not good", "it isn’t good", ""),
        ("i loved Berlin", "i loved Rome", "a protected word lost"),
    ],
)
def test_new_texts_that_cannot_stand_for_their_source_are_known(source: str, new: str, fault: str) -> None:
    assert fault_of(source, new, frozenset({"berlin"})) == fault


def test_what_is_of_no_use_is_counted_with_its_reason(apertium: Path) -> None:
    _, audit = expand(EXAMPLES, {"back_translate": BackTranslation()}, Augmentation(), seed=1)
    assert audit.kept["back_translate"] == 4
    (note,) = [finding for finding in findings_of(audit) if finding.code == "rewritten_amiss"]
    assert note.message == "1 texts that were written anew are of no use (the same text 1)."


@pytest.mark.parametrize("augmenter", [BackTranslation(), Paraphrase()])
@pytest.mark.parametrize(
    "example",
    [
        Example("1", "in Rome", (Span(3, 7, "place"),)),
        Example("1", "flu causes fever", "cause", marks=(Span(0, 3, "e1"), Span(11, 16, "e2"))),
    ],
)
def test_labels_that_are_places_are_refused(augmenter: BackTranslation | Paraphrase, example: Example) -> None:
    with pytest.raises(RecipeError, match="labels are places in the text"):
        augmenter.fitted([example])


def test_apertium_that_is_missing_or_lacks_a_mode_is_explained(
    apertium: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingExtraError, match="no mode 'eng-fra'"):
        Apertium(forth="eng-fra").opened()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="not installed") as raised:
        Apertium().opened()
    assert "apt-get install apertium apertium-eng-spa" in raised.value.to_do


def test_apertium_that_fails_or_hangs_is_explained(apertium: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Apertium().opened()
    script = Path(program.path)
    script.write_text("#!/bin/sh\necho 'broken rules' >&2; exit 3\n", encoding="utf-8")
    with pytest.raises(ResourceError, match="broken rules"):
        program.rewritten(["a"])
    script.write_text("#!/bin/sh\nexec sleep 20\n", encoding="utf-8")
    monkeypatch.setattr("tunesmith.augmentation.rewriters.apertium._PATIENCE", 0.0)
    monkeypatch.setattr("tunesmith.augmentation.rewriters.apertium._PER_TEXT", 0.2)
    with pytest.raises(ResourceError, match="did not answer"):
        program.rewritten(["a"])


def test_texts_stay_apart_where_the_program_joins_paragraphs(apertium: Path) -> None:
    program = Apertium().opened()
    joins = (
        '#!/bin/sh\ntext=$(cat)\ncase "$text" in *join*) echo "$text" | tr \'\\n\' \' \' ;; *) echo "$text" ;; esac\n'
    )
    Path(program.path).write_text(f"#!/bin/sh\n{joins}", encoding="utf-8")
    assert program.rewritten(["one", "join me", "", "three\n\nfour"]) == ["one", "join me", "", "three four"]


@pytest.mark.real_data
def test_two_hundred_real_sentences_come_back_in_other_words(cache: Path) -> None:
    try:
        program = Apertium().opened()
    except MissingExtraError as error:
        pytest.skip(error.what)
    examples = sentences(200)
    found = program.rewritten([example.text for example in examples])
    assert sum(bool(text) for text in found) == 200
    assert not any("*" in text for text, one in zip(found, examples, strict=True) if "*" not in one.text)
    known = BackTranslation().fitted(examples)
    copies = known.augment_all(examples, [random.Random(0)] * 200)
    kept = [copy for copy in copies if copy is not None]
    assert 150 <= len(kept) < 200, "most come back changed, and some are refused"
    (note,) = known.findings()
    assert note.count == 200 - len(kept)
    for copy in kept:
        source = next(example for example in examples if example.id == copy.id)
        shared = {*source.text.split()} & {*copy.text.lower().split()}
        assert shared, "each is the translation of its own source"
        assert fault_of(source.text, copy.text) == ""
    shares = [
        len({*one.text.split()} & {*copy.text.lower().split()}) / len({*one.text.split()})
        for one, copy in zip(examples, copies, strict=True)
        if copy is not None
    ]
    assert sum(shares) / len(shares) > 0.4


def sentences(count: int) -> list[Example]:
    """Sentences of SST-2."""
    return list(Data(name="sst2", limit=count).load("class", 13, ("text",)).splits.train)[:count]


@pytest.mark.real_data
def test_the_filter_gives_a_verdict_on_each_of_two_hundred_real_sentences(cache: Path, place: Path) -> None:
    try:
        Apertium().opened()
    except MissingExtraError as error:
        pytest.skip(error.what)
    recipe = write_recipe(place, data={"name": "sst2", "limit": 200}, augmenters=["back_translate"])
    changes = ["augmentation.judge=out_of_fold", "augmentation.folds=2", "training.epochs=2"]
    splits, audit = examples_made(Experiment.from_yaml(recipe, changes))
    kept, refused, unchanged = audit.kept.total(), audit.refused.total(), audit.unchanged.total()
    assert kept + refused + unchanged + audit.known.total() == audit.sources == 200
    flips = audit.flips()
    assert (flips.judged, flips.lost) == (kept - audit.unjudged + refused, refused)
    assert flips.judged >= 50
    assert flips.low <= flips.share <= flips.high
    assert len(audit.refusals.get("back_translate", ())) == refused
    assert all(one.label != one.answer for one in audit.refusals.get("back_translate", ()))
    assert len(splits.train) == 200 + kept
