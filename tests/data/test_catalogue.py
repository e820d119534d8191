"""Real data sets: what is read has the counts that their README gives."""

from __future__ import annotations

import pytest

from tunesmith.data.catalogue import PACKAGED
from tunesmith.data.data_sets import DATA_SETS
from tunesmith.data.dataset import Data
from tunesmith.data.sources import read
from tunesmith.errors import DataError
from tunesmith.scoring.answers import spans_of

CLASSES = {
    "agnews": (5_000, 1_000, 7_600, 4),
    "chnsenticorp": (9_600, 1_200, 1_200, 2),
    "clinc150": (15_100, 3_100, 5_500, 151),
    "sst2": (6_920, 872, 1_821, 2),
    "sst5": (8_544, 1_101, 2_210, 5),
    "toutiao": (5_000, 999, 999, 15),
    "cold": (25_726, 6_431, 5_323, 2),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_counted_as_their_readme_counts(name: str) -> None:
    splits = Data(name=name).load("class", seed=1).splits
    labels = {example.label for example in splits.train}
    assert (len(splits.train), len(splits.validation), len(splits.test), len(labels)) == CLASSES[name]


@pytest.mark.real_data
def test_tweets_and_cases_of_offensive_texts_are_all_read() -> None:
    tweets = Data(name="davidson-hate").load("class", seed=1).splits.named().values()
    assert sum(map(len, tweets)) == 24_783
    assert {example.label for part in tweets for example in part} == {"0", "1", "2"}
    cases = Data(name="hatecheck")
    assert len(read(cases.source(cases.located()["test"], "class")).examples) == 3_728


@pytest.mark.real_data
def test_conll2003_has_its_sentences_words_and_entities() -> None:
    loaded = Data(name="conll2003").load("spans", seed=1)
    counted = [
        (len(part), sum(len(e.words or ()) for e in part), sum(len(spans_of(e)) for e in part))
        for part in (loaded.splits.train, loaded.splits.validation, loaded.splits.test)
    ]
    assert counted == [(14_041, 203_621, 23_499), (3_250, 51_362, 5_942), (3_453, 46_435, 5_648)]
    assert sum("read as IOB1" in finding.message for finding in loaded.findings) == 3


@pytest.mark.real_data
def test_conllpp_has_the_same_words() -> None:
    data = Data(name="conllpp")
    test = read(data.source(data.located()["test"], "spans")).examples
    assert sum(len(example.words or ()) for example in test) == 46_435


@pytest.mark.real_data
def test_cluener_has_its_entities_and_no_offset_is_wrong() -> None:
    splits = Data(name="cluener2020").load("spans", seed=1).splits
    entities = [sum(len(spans_of(e)) for e in part) for part in splits.named().values()]
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (10_748, 1_343)
    assert (entities[0] + entities[1], entities[2]) == (23_972, 3_072)


@pytest.mark.real_data
def test_the_unsplit_phrasebank_is_parted_without_loss() -> None:
    splits = Data(name="financial-phrasebank").load("class", seed=1).splits
    assert sum(len(part) for part in splits.named().values()) == 4_846


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'conll2003'"):
        Data(name="conl2003").load("spans", seed=1)


def test_a_missing_folder_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", "/nowhere")
    with pytest.raises(DataError, match="not on this machine") as error:
        Data(name="conll2003").load("spans", seed=1)
    assert "TUNESMITH_DATA" in error.value.to_do


def test_without_the_folder_the_hub_is_asked_where_it_has_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", "/nowhere")
    assert Data(name="clinc150").located()["train"].startswith("hub:clinc/clinc_oos:plus!train")


def test_every_data_set_has_a_licence_and_a_summary() -> None:
    assert all(entry.licence and entry.summary for entry in DATA_SETS.values())
    assert PACKAGED in DATA_SETS
