"""Bodies: what a scan counts is never less than what a parser makes, in linear time, and messages repeat nothing."""

from __future__ import annotations

import contextlib
import json
import time
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.access.body_limits import BodyCounter, BodyLimits, check_json, check_texts, read_json
from tunesmith.access.refusals import RefusedError
from tunesmith.errors import TunesmithError

LIMITS = BodyLimits()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)


def refused(body: bytes, limits: BodyLimits = LIMITS) -> str:
    with pytest.raises(RefusedError) as caught:
        read_json(body, limits)
    return caught.value.code


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def count(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(count, inner))


@settings(deadline=None)
@given(JSON, st.booleans())
def test_depth_is_exact_and_values_are_never_undercounted(value: object, ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    if depth(value):
        check_json(body, BodyLimits(depth=depth(value), number=1000))
    if depth(value) > 1:
        with pytest.raises(RefusedError, match="deeper"):
            check_json(body, BodyLimits(depth=depth(value) - 1, number=1000))
    if count(value) > 1:
        with pytest.raises(RefusedError, match="values"):
            check_json(body, BodyLimits(values=count(value) - 1, number=1000, depth=1000))
    check_json(body, BodyLimits(values=2 * count(value), number=1000, depth=1000))


@settings(deadline=None)
@given(JSON)
def test_what_passes_is_what_json_says(value: object) -> None:
    body = json.dumps(value).encode()
    assert read_json(body, BodyLimits(depth=1000, number=1000)) == value


def test_deep_and_wide_json_is_refused_before_it_is_parsed(monkeypatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("tunesmith.access.body_limits.json.loads", never)
    assert refused(b"[" * 1_000_000) == "json_too_deep"
    assert refused(b'{"a":' * 17 + b"1" + b"}" * 17) == "json_too_deep"
    assert refused(b"[" + b"1," * 60_000 + b"1]") == "json_too_large"
    assert refused(b"[" + b"[]," * 60_000 + b"1]") == "json_too_large"
    assert refused(b"[" + b"1" * 41 + b"]") == "json_number_too_long"
    assert refused(b"1e" + b"9" * 60) == "json_number_too_long"
    assert refused(b" " * 4_000_001) == "body_too_large"


def test_brackets_within_strings_are_text() -> None:
    tricky = {"a": '[[[[{{{{,,,,"\\"]' * 100, "b\\": "\\\\"}
    assert read_json(json.dumps(tricky).encode(), BodyLimits(depth=1, values=4)) == tricky


def test_other_encodings_cannot_hide_brackets() -> None:
    deep = "[" * 100 + '"∢"' + "]" * 100
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
        assert refused(deep.encode(encoding)) == "not_json"
    assert refused("\ufeff[]".encode()) == "not_json"
    assert refused(b'"\xff"') == "not_json"


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a":1,"a":2}', b"NaN", b"[Infinity]", b"nul", b'"my secret', b"[1] [2]"]
)
def test_what_is_no_json_is_refused_without_repeating_it(body: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        read_json(body, LIMITS)
    assert caught.value.code == "not_json"
    assert caught.value.__suppress_context__, "the parser's error holds the body"
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "piece",
    [b'"', b'\\"', b'"\\', b'"\\"', b"[", b"]", b",", b"1", b"1e", b" ", b"a", b"{}", b'""', b"\xe6\x97\xa5", b"\\"],
)
@pytest.mark.parametrize("start", [b"", b'"'])
def test_a_scan_takes_time_that_grows_with_the_length_alone(piece: bytes, start: bytes) -> None:
    body = start + piece * (LIMITS.bytes // len(piece) - 1)
    begin = time.process_time()
    for limits in (LIMITS, BodyLimits(depth=10**9, number=10**9)):
        with contextlib.suppress(RefusedError):
            check_json(body, limits)
    assert time.process_time() - begin < 1.5


def test_a_body_is_counted_as_it_comes_whatever_its_header_says() -> None:
    counter = BodyCounter(BodyLimits(bytes=10))
    counter.add(b"12345")
    counter.add(b"67890")
    with pytest.raises(RefusedError) as caught:
        counter.add(b"1")
    assert (caught.value.code, caught.value.status, caught.value.numbers) == ("body_too_large", 413, {"limit": 10})


@pytest.mark.parametrize(
    ("texts", "code", "numbers"),
    [
        ([], "no_items", {}),
        (["a"] * 4, "too_many_items", {"given": 4, "limit": 3}),
        (["a", "x" * 11], "text_too_long", {"item": 2, "given": 11, "limit": 10}),
        (["x" * 9, "y" * 9, "z" * 3], "texts_too_long", {"given": 21, "limit": 20}),
    ],
)
def test_texts_are_measured_before_they_are_tokenised(texts: list[str], code: str, numbers: dict) -> None:
    limits = BodyLimits(items=3, characters=10, all_characters=20)
    check_texts(["x" * 10, "y" * 10], limits)
    with pytest.raises(RefusedError) as caught:
        check_texts(texts, limits)
    assert (caught.value.code, caught.value.numbers) == (code, numbers)
    assert "x" * 9 not in str(caught.value.told("en")) + str(caught.value.told("zh"))


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(TunesmithError, match="depth is 0"):
        BodyLimits(depth=0)
