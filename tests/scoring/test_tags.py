import math
import warnings

import pytest
from seqeval.metrics import sequence_labeling, v1
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB1, IOB2, IOBES, Tokens

from tests.scoring.makers import random_tags
from tunesmith.errors import DataError, LabelError
from tunesmith.scoring.tags import measure_tags, tags_to_spans

SIZE = 10_000
SCHEMES = {"IOB1": (IOB1, "BI"), "IOB2": (IOB2, "BI"), "BIOES": (IOBES, "BIES")}


def seqeval_scores(scorer, gold, found, **settings):
    result: dict[str, float] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for average, prefix in (("micro", ""), ("macro", "macro_")):
            scores = scorer.precision_recall_fscore_support(gold, found, average=average, **settings)[:3]
            result |= {prefix + name: score for name, score in zip(("precision", "recall", "f1"), scores, strict=True)}
    return result


def test_conlleval_scores_equal_seqeval_on_random_sequences():
    gold, found = random_tags(SIZE, "BIES")
    assert measure_tags(gold, found) == pytest.approx(seqeval_scores(sequence_labeling, gold, found), abs=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_strict_scores_equal_seqeval_on_random_sequences(scheme):
    kind, prefixes = SCHEMES[scheme]
    gold, found = random_tags(SIZE, prefixes)
    expected = seqeval_scores(v1, gold, found, scheme=kind)
    assert measure_tags(gold, found, "strict", scheme) == pytest.approx(expected, abs=1e-12)


def test_conlleval_spans_equal_seqeval_sequence_by_sequence():
    for tags in random_tags(SIZE, "BIES", seed=1)[0]:
        assert tags_to_spans(tags) == [(start, end + 1, kind) for kind, start, end in get_entities(tags)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_strict_spans_equal_seqeval_sequence_by_sequence(scheme):
    kind, prefixes = SCHEMES[scheme]
    for tags in random_tags(2000, prefixes, seed=1)[0]:
        expected = [(entity.start, entity.end, entity.tag) for entity in Tokens(tags, kind).entities]
        assert tags_to_spans(tags, "strict", scheme) == expected, tags


@pytest.mark.parametrize("mode", ["conlleval", "strict"])
def test_bmes_is_bioes_with_another_letter(mode):
    for tags in random_tags(500, "BIES", seed=2)[0]:
        renamed = [tag.replace("I-", "M-") for tag in tags]
        assert tags_to_spans(renamed, mode, "BMES") == tags_to_spans(tags, mode, "BIOES")


def test_iob1_needs_no_b_at_the_start_of_a_span():
    tags = ["I-PER", "I-PER", "B-PER", "O", "I-LOC"]
    expected = [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]
    assert tags_to_spans(tags, "strict", "IOB1") == tags_to_spans(tags) == expected
    assert tags_to_spans(tags, "strict", "IOB2") == [(2, 3, "PER")]


@pytest.mark.parametrize("tag", ["PER", "B-", "X-PER", "", "O-PER", "BI-PER", "M-PER"])
def test_a_malformed_tag_is_refused(tag):
    with pytest.raises(LabelError, match="is not a tag"):
        tags_to_spans(["O", tag])


def test_strict_refuses_prefixes_of_another_scheme():
    with pytest.raises(LabelError):
        tags_to_spans(["S-PER"], "strict", "IOB2")


def test_sequences_of_different_length_are_refused():
    with pytest.raises(DataError):
        measure_tags([["O", "O"]], [["O"]])


def test_without_any_span_there_is_nothing_to_measure():
    assert all(math.isnan(value) for value in measure_tags([["O"]], [["O"]]).values())
