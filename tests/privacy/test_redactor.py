"""Redacted texts: what takes a value's place, where spans come to stand, and what the key gives back."""

from __future__ import annotations

import itertools
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.privacy.samples import SAMPLES
from tunesmith.components import build
from tunesmith.errors import RecipeError, ResourceError
from tunesmith.privacy import (
    ACTIONS,
    Hash,
    Mask,
    NestedRedaction,
    Offsets,
    Partial,
    PersonalDataError,
    Pseudonymise,
    RedactionKey,
    Redactor,
    Refuse,
    restore,
    standard,
)

KEY = RedactionKey(bytes(range(64)))
OTHER = RedactionKey(bytes(range(1, 65)))
PLANTED = [
    *("13812345678", "34052419800101001X", "zhang@x.com", "4111111111111111", "京A12345", "１３８１２３４５６７８"),
    *("138\u200b1234\u200b5678", "GB82WEST12345698765432", "https://example.com/?a=1", "fe80::1:2", "123-45-6789"),
    "+41 (0)62 585 51 90",
]
PIECES = st.one_of(
    st.sampled_from(PLANTED),
    st.text(max_size=8),
    st.sampled_from(
        ["<EMAIL:", ">", "<", f"<EMAIL:{KEY.sealed('a@b.io', 'EMAIL')}>", "电话", " ", "\ud800", "<MOBILE>"]
    ),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)


def redactor(action: str = "mask") -> Redactor:
    return Redactor(standard(), build(ACTIONS, action), key=KEY)


@given(TEXTS)
@settings(max_examples=400, deadline=None)
def test_restore_gives_back_exactly_what_was_pseudonymised(text: str) -> None:
    assert restore(redactor("pseudonymise").apply(text).text, KEY).text == text


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_a_foreign_key_opens_no_pseudonym(text: str) -> None:
    redacted = redactor("pseudonymise").apply(text).text
    assert restore(redacted, OTHER).text == redacted


@given(TEXTS, st.sampled_from(["mask", "partial", "hash", "pseudonymise"]))
@settings(max_examples=300, deadline=None)
def test_every_place_outside_of_values_goes_there_and_back(text: str, action: str) -> None:
    redacted = redactor(action).apply(text)
    inside = {place for one in redacted.found for place in range(one.start, one.end)}
    for place in range(len(text)):
        start, end = redacted.offsets.to_redacted(place, place + 1)
        if place not in inside:
            assert redacted.text[start:end] == text[place]
            assert redacted.offsets.to_original(start, end) == (place, place + 1)
    for one in redacted.found:
        start, end = redacted.offsets.to_redacted(one.start, one.end)
        assert redacted.offsets.to_original(start, end) == (one.start, one.end)
        cut = redacted.offsets.to_redacted(one.start, one.start + 1)
        assert cut == (start, end), "a span that cuts a value takes all of it"
    assert redacted.offsets.to_redacted(0, len(text)) == ((0, 0) if not text else (0, len(redacted.text)))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_found_values_lie_in_the_text_in_order_and_none_over_another(text: str) -> None:
    found = redactor().find(text)
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    assert all(first.end <= second.start for first, second in itertools.pairwise(found))


def test_spans_of_a_hand_made_example() -> None:
    offsets = Offsets((((3, 14), (3, 11)), ((20, 22), (17, 25))))
    assert offsets.to_redacted(0, 3) == (0, 3)
    assert offsets.to_redacted(14, 20) == (11, 17)
    assert offsets.to_redacted(1, 5) == (1, 11)
    assert offsets.to_redacted(22, 30) == (25, 33)
    assert offsets.to_original(4, 5) == (3, 14)
    assert offsets.to_original(11, 17) == (14, 20)
    assert offsets.to_original(25, 25) == (22, 22)


def test_the_same_value_gets_the_same_pseudonym_and_hash_under_one_key_and_others_under_another() -> None:
    for action in (Pseudonymise(), Hash()):
        first, again = (action.replacement("a@b.io", "EMAIL", KEY) for _ in range(2))
        assert first == again
        assert first != action.replacement("a@b.io", "EMAIL", OTHER)
        assert first != action.replacement("a@b.io", "URL", KEY).replace("URL", "EMAIL")
        assert "a@b.io" not in first


def test_a_changed_pseudonym_and_one_under_another_kind_do_not_open() -> None:
    token = KEY.sealed("a@b.io", "EMAIL")
    changed = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    assert restore(f"<EMAIL:{changed}>", KEY).text == f"<EMAIL:{changed}>"
    assert restore(f"<URL:{token}>", KEY).counts == {}
    assert restore(f"<EMAIL:{token}>", KEY).text == "a@b.io"


def test_a_pseudonym_that_is_sent_in_is_sealed_and_not_opened() -> None:
    stolen = f"<EMAIL:{KEY.sealed('a@b.io', 'EMAIL')}>"
    redacted = redactor("pseudonymise").apply(f"tell me {stolen}").text
    assert stolen not in redacted
    assert restore(redacted, KEY).text == f"tell me {stolen}"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("13812345678", "*******5678"),
        ("4111 1111-1111 1111", "**** ****-**** 1111"),
        ("京A12345", "*******"),
        ("zhang@x.com", "*****@*.***"),
        ("张三", "**"),
    ],
)
def test_partial_keeps_the_last_four_of_long_numbers_only(value: str, said: str) -> None:
    assert Partial().replacement(value, "X", None) == said


def test_each_kind_has_its_own_action_and_only_the_kinds_asked_for_count() -> None:
    asked = Redactor(standard(), Mask(), {"EMAIL": Partial()}, kinds=("EMAIL", "MOBILE"))
    assert asked.apply("a@b.io 13812345678 京A12345").text == "*@*.** <MOBILE> 京A12345"


def test_a_refusal_tells_kinds_and_counts_and_nothing_of_the_text() -> None:
    asked = Redactor(standard(), Mask(), {"ID_CARD": Refuse()})
    with pytest.raises(PersonalDataError) as error:
        asked.apply("34052419800101001X 34052419800101001X a@b.io")
    assert error.value.counts == {"ID_CARD": 2}
    assert error.value.code == "personal_data_refused"
    said = f"{error.value} {error.value.said('en')} {error.value.said('zh')} {error.value.args}"
    assert "3405" not in said
    assert "a@b" not in said
    assert "ID_CARD (2)" in said
    assert asked.apply("a@b.io").text == "<EMAIL>"


def test_without_a_key_nothing_is_hashed() -> None:
    with pytest.raises(RecipeError, match="need a key"):
        Redactor(standard(), Hash())


def test_nested_values_are_redacted_with_their_keys_as_context_and_planted_secrets_are_gone() -> None:
    redaction = NestedRedaction.of(redactor())
    value = {
        "ssn": "123456789",
        "calls": [{"phone": "450 0840"}, {"n": 13812345678}, None, True, 1.5, 1234567],
        "a@b.io": {"text": "京A12345", "count": 3},
        "c@d.io": 1,
        "e@f.io": 2,
    }
    assert redaction.apply(value) == {
        "ssn": "<SSN>",
        "calls": [{"phone": "<PHONE>"}, {"n": "<MOBILE>"}, None, True, 1.5, 1234567],
        "<EMAIL>": {"text": "<PLATE>", "count": 3},
        "<EMAIL> (3)": 1,
        "<EMAIL> (4)": 2,
    }
    assert redaction.counts == {"SSN": 1, "PHONE": 1, "MOBILE": 1, "EMAIL": 3, "PLATE": 1}


def test_what_lies_too_deep_is_not_shown() -> None:
    value: object = "a@b.io"
    for _ in range(300):
        value = [value]
    assert "a@b.io" not in repr(NestedRedaction.of(redactor()).apply(value))


def test_nested_values_are_restored() -> None:
    value = {"said": ["a@b.io", {"b": "13812345678"}]}
    redacted = NestedRedaction.of(redactor("pseudonymise")).apply(value)
    assert "a@b.io" not in repr(redacted)
    assert NestedRedaction.restoring(KEY).apply(redacted) == value


def test_every_sample_is_gone_after_masking() -> None:
    for samples in SAMPLES.values():
        for text in samples.found:
            plain = re.sub("[⟦⟧]", "", text)
            value = text.partition("⟦")[2].partition("⟧")[0]
            if not value.startswith("S-"):
                assert value not in redactor().apply(plain).text, plain


def test_a_key_is_made_for_its_owner_alone_and_never_shown(tmp_path: Path) -> None:
    place = tmp_path / "state" / "redaction.key"
    made = RedactionKey.from_file(place, make=True)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert RedactionKey.from_file(place) == made
    assert made.secret.hex() not in repr(made)
    assert repr(made.secret) not in repr(redactor())
    place.chmod(0o644)
    with pytest.raises(ResourceError, match="Others can read"):
        RedactionKey.from_file(place)
    with pytest.raises(ResourceError, match="cannot be read"):
        RedactionKey.from_file(tmp_path / "none")
    place.write_text("abc")
    place.chmod(0o600)
    with pytest.raises(ResourceError, match="no key"):
        RedactionKey.from_file(place)
    with pytest.raises(ResourceError, match="at least 32"):
        RedactionKey(b"short")
