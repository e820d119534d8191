"""Feedback held against trusted examples: a planted attack is mostly set aside, honest corrections mostly are not."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tunesmith.data.records import Example
from tunesmith.doubted_feedback import Sifted, Trusted, sifted
from tunesmith.errors import DataError
from tunesmith.labelling.confident import class_thresholds, confident_classes
from tunesmith.labelling.neighbours import neighbour_shares
from tunesmith.remembered.training_rows import Claim, Voice, voice_of

NOTHING: frozenset[Claim] = frozenset()
TOWARDS = {"good": 1.0, "bad": -1.0, "between": 0.0}


def places(examples: Sequence[Example]) -> NDArray[np.float64]:
    """Texts whose first word says where they lie, with noise that the rest decides."""
    found = []
    for one in examples:
        noise = np.random.default_rng(zlib.crc32(one.text.encode())).normal(size=6)
        found.append(np.array([4 * TOWARDS.get(one.text.split()[0], 0.0), *np.zeros(5)]) + noise)
    return np.array(found)


def made(word: str, label: str, count: int, start: int = 0) -> list[Example]:
    return [Example(f"{word}{n}", f"{word} {n * 7919}", label) for n in range(start, start + count)]


def row(number: int, text: str, label: object, key: str = "key1") -> dict[str, Any]:
    return {"id": f"f{number}", "text": text, "label": label, "model": "films", "key": key}


def trusted() -> Trusted:
    between = [Example(f"t{n}", f"between {n * 31}", ("good", "bad")[n % 2]) for n in range(40)]
    return Trusted.of([*made("good", "good", 150), *made("bad", "bad", 150), *between], places)


def parted(
    rows: Sequence[Mapping[str, Any]], released: frozenset[Claim] = NOTHING, more: Sequence[Voice] = ()
) -> Sifted:
    voices = [voice for one in rows if (voice := voice_of(one)) is not None]
    return sifted(rows, [*voices, *more], trusted(), released)


def test_a_key_that_flips_a_fifth_of_the_labels_is_set_aside_and_honest_corrections_are_not() -> None:
    clear = [row(n, f"{('good', 'bad')[n % 2]} {n} x", ("good", "bad")[n % 2], f"key{n % 5}") for n in range(200)]
    hard = [row(200 + n, f"between {n} y", ("good", "bad")[n % 2], f"key{n % 5}") for n in range(40)]
    flips = [row(240 + n, f"{('good', 'bad')[n % 2]} {n} z", ("bad", "good")[n % 2], "attacker") for n in range(60)]
    found = parted([*clear, *hard, *flips])
    aside = [one.row["key"] for one in found.aside]
    assert aside.count("attacker") >= 54
    assert len(aside) - aside.count("attacker") <= 0.2 * len(hard)
    assert {one.code for one in found.aside} == {"neighbours"}
    assert len(found.kept) + len(found.aside) == 300, "nothing is dropped"
    assert found.unjudged == 0
    assert not [one for one in found.aside if one.row["text"] in one.reason]
    assert any(
        "trusted neighbours, weighted by likeness, 100% are for 'good', 0% for 'bad'" in one.reason
        for one in found.aside
    )


def test_what_a_person_released_is_not_doubted_again() -> None:
    flip = row(1, "good 5 z", "bad", "attacker")
    assert [one.row["id"] for one in parted([flip]).aside] == ["f1"]
    said = frozenset({("good 5 z", "films", "bad")})
    again = row(2, "good 5 z", "bad", "key2")
    assert [one["id"] for one in parted([flip], said).kept] == ["f1"]
    assert [one["id"] for one in parted([again], said).kept] == ["f2"], "a later row that says the same"
    others = [row(3, "good 6 z", "bad"), {**flip, "model": "another"}, row(4, "bad 5 z", "good")]
    assert not parted(others, said).kept


LONG = "good and the bank in the middle of the old town did not open on this rainy morning"


def test_other_keys_that_say_otherwise_of_near_copies_speak_against_a_row() -> None:
    mine = row(1, LONG, "good", "attacker")
    others = [Voice(f"{LONG}{end}", "films", f"key{end}", "bad") for end in (".", "!")]
    (doubt,) = parted([mine], more=others).aside
    assert (doubt.code, doubt.reason) == (
        "other_keys",
        "2 other keys say something else of like texts, 0 say the same",
    )
    elsewhere = [Voice(one.content, "another model", one.key, one.label) for one in others]
    assert not parted([mine], more=elsewhere).aside
    assert not parted([mine], more=[Voice("good is something else", "films", "key2", "bad")]).aside


def test_one_key_has_one_vote_however_often_it_speaks() -> None:
    mine = row(1, LONG, "good", "key1")
    flood = [Voice(f"{LONG}{'!' * n}", "films", "attacker", "bad") for n in range(1, 20)]
    two = [Voice(f"{LONG} ", "films", f"key{n}", "good") for n in (2, 3)]
    assert not parted([mine], more=[*flood, *two]).aside
    assert not parted([mine], more=[*flood, Voice(LONG, "films", "attacker", "good")]).aside, "it says both"


def test_two_other_keys_that_agree_outweigh_the_neighbours_and_one_does_not() -> None:
    text = f"good {LONG}"
    mine = row(1, text, "bad", "key1")
    agreeing = [Voice(f"{text}{end}", "films", f"key{end}", "bad") for end in (".", "!")]
    assert not parted([mine], more=agreeing).aside
    assert [one.code for one in parted([mine], more=agreeing[:1]).aside] == ["neighbours"]
    own = [Voice(f"{text}{end}", "films", "key1", "bad") for end in (".", "!")]
    assert [one.code for one in parted([mine], more=own).aside] == ["neighbours"], "its own key does not count"


def test_what_cannot_be_judged_is_kept_and_counted() -> None:
    found = parted([row(1, "good 3 z", "new class"), row(2, "good 4 z", ["good"])])
    assert (len(found.kept), found.unjudged) == (2, 2)


@pytest.mark.parametrize("few", [1, 2, 10])
def test_a_class_of_few_trusted_examples_speaks_against_no_label(few: int) -> None:
    """Themselves left out they have hardly a neighbour of their class, so their threshold would be next to nothing."""
    rare = [Example(f"x{n}", f"between {n * 101}", "rare") for n in range(few)]
    held = Trusted.of([*made("good", "good", 150), *made("bad", "bad", 150), *rare], places)
    assert dict(zip(held.labels, held.thresholds, strict=True))["rare"] == np.inf
    honest = [row(n, f"between {n} y", ("good", "bad")[n % 2], f"key{n}") for n in range(100)]
    reasons = [one.reason for one in sifted(honest, [], held, NOTHING).aside]
    assert not [reason for reason in reasons if "are 'rare'" in reason]


def test_neighbours_speak_against_a_label_only_with_more_of_another_class_than_of_its_own() -> None:
    """A class that is hard to tell apart has a low threshold, which it may reach where most neighbours agree."""
    held = replace(trusted(), thresholds=np.array([0.05, 0.99]))  # of bad, and of good
    rows = [row(n, f"between {n} y", "good", f"key{n}") for n in range(60)]
    aside = sifted(rows, [], held, NOTHING).aside
    shares = [[float(one) for one in re.findall(r"(\d+)%", doubt.reason)] for doubt in aside]
    assert 0 < len(aside) < 60
    assert all(of_bad >= of_good for of_bad, of_good in shares)


def test_no_trusted_examples_are_refused() -> None:
    with pytest.raises(DataError, match="10 trusted examples of 1 classes"):
        Trusted.of(made("good", "good", 10), places)


def test_shares_are_those_of_a_plain_count() -> None:
    generator = np.random.default_rng(4)
    known, asked = generator.normal(size=(50, 5)), generator.normal(size=(7, 5))
    labels = generator.integers(3, size=50)
    shares = neighbour_shares(asked, known, labels, neighbours=6)
    for vector, share in zip(asked, shares, strict=True):
        cosines = known @ vector / np.linalg.norm(known, axis=1) / np.linalg.norm(vector)
        nearest = np.argsort(-cosines)[:6]
        plain = [max(0.0, cosines[labels == c][np.isin(np.flatnonzero(labels == c), nearest)].sum()) for c in range(3)]
        assert share == pytest.approx(np.array(plain) / sum(plain))
    alone = neighbour_shares(known[:3], known, labels, neighbours=1, own=np.arange(3))
    with_itself = neighbour_shares(known[:3], known, labels, neighbours=1)
    assert (with_itself.argmax(axis=1) == labels[:3]).all()
    assert alone.shape == (3, 3)


def test_a_class_counts_where_its_threshold_is_reached() -> None:
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    thresholds = class_thresholds(np.array([0, 0, 1, 1]), shares)
    assert thresholds == pytest.approx([0.75, 0.65])
    assert confident_classes(shares, thresholds).tolist() == [0, -1, 1, -1]
