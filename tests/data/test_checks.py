"""Each check sees what it is for, counts it, and says nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from tunesmith.data.checks import check
from tunesmith.data.duplicates import gram_codes, near_duplicates, normalised
from tunesmith.data.encoding_checks import TokenCount, check_encoding
from tunesmith.data.records import Example, Finding, Span, Splits


def made(texts: list[str], label: str = "x") -> list[Example]:
    return [Example(str(n), text, label, origin=f"f:{n}") for n, text in enumerate(texts)]


def found(findings: list[Finding], code: str) -> list[Finding]:
    return [finding for finding in findings if finding.code == code]


def distinct(count: int, word: str = "text") -> list[str]:
    return [f"{word} {n} {np.random.default_rng(n).integers(1 << 60)}" for n in range(count)]


def test_clean_data_has_no_warning() -> None:
    splits = Splits(made(distinct(500)), made(distinct(300, "other")), made(distinct(300, "third")))
    assert not [finding for finding in check(splits, label_kind="class") if finding.severity != "note"]


def test_exact_duplicates_and_leakage_are_counted() -> None:
    splits = Splits(made(["One  text", "one text", "two", "three"]), (), made(["TWO", "four", "ＴＷＯ"]))
    findings = check(splits, label_kind="class")
    assert [finding.count for finding in found(findings, "exact_duplicates")] == [1, 1]
    (leak,) = found(findings, "leakage")
    assert leak.count == 2
    assert "66.7 %" in leak.message


def test_near_duplicates_are_found_across_splits_with_both_texts() -> None:
    base = "the parcel was sent to the wrong address and came back to the shop on monday"
    splits = Splits(made([base, *distinct(50)]), (), made([base.replace("monday", "sunday"), *distinct(50, "z")]))
    (pair,) = found(check(splits, label_kind="class"), "near_duplicates")
    assert "between train and test" in pair.message
    assert pair.count == 1


def test_beyond_the_limit_the_test_split_is_compared_first_and_the_rest_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tunesmith.data.checks.COMPARED", 40)
    base = "the parcel was sent to the wrong address and came back to the shop on monday"
    splits = Splits(made([base, *distinct(50)]), (), made([*distinct(30, "z"), base.replace("monday", "sunday")]))
    findings = check(splits, label_kind="class")
    (pair,) = found(findings, "near_duplicates")
    assert "between train and test" in pair.message
    (part,) = found(findings, "near_duplicates_part")
    assert "among 9 of 51 texts of train" in part.message


def test_minhash_finds_similar_pairs_as_comparing_all_would() -> None:
    generator = np.random.default_rng(3)
    letters = list("abcdefghij 北京上海")
    texts = []
    for _ in range(60):
        text = "".join(generator.choice(letters, 120))
        place = int(generator.integers(110))
        texts += [text, text[:place] + "#" + text[place + 1 :]]
    pairs = {tuple(sorted(pair)) for pair in near_duplicates(texts)}
    sets = [set(gram_codes(normalised(text)).tolist()) for text in texts]
    similar = {
        (a, b) for a in range(len(texts)) for b in range(a + 1, len(texts))
        if len(sets[a] & sets[b]) >= 0.8 * len(sets[a] | sets[b])
    }  # fmt: skip
    assert pairs <= similar
    assert len(pairs) >= 0.95 * len(similar)
    assert len(similar) == 60


def test_conflicting_labels_show_both() -> None:
    splits = Splits([Example("1", "same", "good"), Example("2", "Same", "bad"), Example("3", "other", "bad")], (), ())
    (clash,) = found(check(splits, label_kind="class"), "conflicting_labels")
    assert clash.count == 1
    assert "[bad / good]" in clash.examples[0]


def test_imbalance_and_rare_labels() -> None:
    train = made(distinct(200)) + made(distinct(3, "few"), "y")
    findings = check(Splits(train, (), ()), label_kind="class")
    assert "'x' has 200 examples, 'y' has 3" in found(findings, "class_imbalance")[0].message
    assert found(findings, "rare_labels")[0].examples == ("y: 3",)


@pytest.mark.parametrize("kind", ["class", "classes", "spans"])
def test_a_label_only_in_test_is_an_error_with_the_nearest_known(kind: str) -> None:
    def label(name: str) -> str | tuple[str, ...] | tuple[Span, ...]:
        return {"class": name, "classes": (name,), "spans": (Span(0, 1, name),)}[kind]  # type: ignore[return-value]

    train = [Example(str(n), text, label("positive")) for n, text in enumerate(distinct(20))]
    splits = Splits(train, (), [Example("t", "unseen text", label("positve"))])
    (unseen,) = found(check(splits, label_kind=kind), "unseen_labels")
    assert unseen.severity == "error"
    assert "Did you mean 'positive'?" in unseen.examples[0]


def test_a_small_test_split_is_said() -> None:
    findings = check(Splits(made(distinct(300)), (), made(distinct(20, "t"))), label_kind="class")
    assert found(findings, "small_test")[0].count == 20


EXAMPLES = [Example(str(n), f"text {n}", (Span(0, 4, "PER"),)) for n in range(10)]


def counts(tokens: int = 10, unknown: int = 0, trainable: int = 2, lost: tuple[str, ...] = ()) -> list[TokenCount]:
    return [TokenCount(tokens, unknown, trainable, lost) for _ in EXAMPLES]


@pytest.mark.parametrize(("unknown", "severity"), [(0, None), (1, "warning"), (5, "error")])
def test_unknown_tokens_are_shouted_about(unknown: int, severity: str | None) -> None:
    findings = found(check_encoding(EXAMPLES, counts(unknown=unknown), max_length=32, split="train"), "unknown_tokens")
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_long_texts_lost_spans_and_untrainable_examples_are_counted() -> None:
    made_counts = [*counts(tokens=50, lost=("PER", "LOC"))[:4], *counts(trainable=0)[:6]]
    findings = check_encoding(EXAMPLES, made_counts, max_length=32, split="train")
    assert found(findings, "long_texts")[0].count == 4
    assert "8 gold spans of train" in found(findings, "unaligned_spans")[0].message
    assert "PER 4, LOC 4" in found(findings, "unaligned_spans")[0].message
    assert found(findings, "untrainable")[0].count == 6
