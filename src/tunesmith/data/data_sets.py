"""The data sets that are known by name: their files, how these are written, and what may be done with them."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.data.data_set import DataSet
from tunesmith.data.paired_data_sets import PAIRS_AND_ANSWERS

SINGLE_TEXTS: Mapping[str, DataSet] = {
    "support-finance": DataSet(
        "customer-service and finance messages, six entity types (en)",
        "CC0-1.0",
        "train.jsonl",
        "validation.jsonl",
        "test.jsonl",
    ),
    "conll2003": DataSet(
        "news, persons, organisations, places, others (en)",
        "Reuters text, research only",
        "eng.train.xz",
        "eng.testa.xz",
        "eng.testb.xz",
        reading={"format": "conll"},
    ),
    "conllpp": DataSet(
        "the test set of CoNLL-2003 with 186 sentences corrected (en)",
        "Reuters text, research only",
        test="conllpp_test.txt.xz",
        reading={"format": "conll"},
    ),
    "bc5cdr": DataSet(
        "sentences of biomedical abstracts, chemicals and diseases (en)",
        "CC BY 4.0",
        "BC5CDR-IOB/train.tsv.xz",
        "BC5CDR-IOB/devel.tsv.xz",
        "BC5CDR-IOB/test.tsv.xz",
        reading={"format": "conll"},
    ),
    **{
        f"crossner-{domain}": DataSet(
            f"sentences of Wikipedia on {domain}, {types} entity types (en)",
            *("MIT", f"{domain}/train.txt", f"{domain}/dev.txt.xz", f"{domain}/test.txt.xz", "crossner"),
            reading={"format": "conll"},
        )
        for domain, types in (("politics", 9), ("science", 17), ("music", 13), ("literature", 12), ("ai", 14))
    },
    "ncbi-disease": DataSet(
        "sentences of biomedical abstracts, diseases (en)",
        "CC BY 4.0",
        "NCBI-disease-IOB/train.tsv.xz",
        "NCBI-disease-IOB/devel.tsv.xz",
        "NCBI-disease-IOB/test.tsv.xz",
        folder="bc5cdr",
        reading={"format": "conll"},
    ),
    "cluener2020": DataSet(
        "news, ten entity types; its dev split is the test here (zh)",
        "research only",
        "train.json.xz",
        test="dev.json.xz",
        reading={"format": "jsonl"},
    ),
    "chnsenticorp": DataSet(
        "reviews of hotels, laptops and books, good or bad (zh)",
        "research only",
        "train.txt.xz",
        "dev.txt.xz",
        "test.txt.xz",
        reading={"format": "lines"},
    ),
    "clinc150": DataSet(
        "150 intents and what is out of scope (en)",
        "CC BY 3.0",
        "data_full.json.xz!train+oos_train",
        "data_full.json.xz!val+oos_val",
        "data_full.json.xz!test+oos_test",
        reading={"header": ("text", "intent")},
        hub={
            "train": "hub:clinc/clinc_oos:plus!train",
            "validation": "hub:clinc/clinc_oos:plus!validation",
            "test": "hub:clinc/clinc_oos:plus!test",
        },
    ),
    "agnews": DataSet(
        "news in four topics; 6,000 texts of the official training part, and the whole official test (en)",
        "non-commercial use",
        "sample/train.csv.xz",
        "sample/dev.csv.xz",
        "test.csv.xz",
        reading={"format": "ag_news"},
    ),
    "sst2": DataSet(
        "sentences of film reviews, good or bad (en)",
        "no licence stated",
        "stsa.binary.train.xz",
        "stsa.binary.dev",
        "stsa.binary.test.xz",
        folder="sst",
        reading={"format": "lines", "separator": " ", "label_first": True},
    ),
    "trec": DataSet(
        "questions by what kind of answer they want, six coarse classes (en)",
        "no licence stated",
        "TREC.train.xz",
        test="TREC.test",
        folder="mr-subj-trec",
        reading={
            "format": "lines",
            "separator": " ",
            "label_first": True,
            "level_separator": ":",
            "encoding": "latin-1",
        },
    ),
    "sst5": DataSet(
        "sentences of film reviews in five grades (en)",
        "no licence stated",
        "stsa.fine.train.xz",
        "stsa.fine.dev.xz",
        "stsa.fine.test.xz",
        folder="sst",
        reading={"format": "lines", "separator": " ", "label_first": True},
    ),
    "imdb-original": DataSet(
        "film reviews as they were written, good or bad (en)",
        "Apache-2.0",
        "train.tsv.xz",
        "dev.tsv.xz",
        "test.tsv.xz",
        folder="imdb-counterfactual/orig",
    ),
    "imdb-revised": DataSet(
        "the same, revised by people so that each says the opposite (en)",
        "Apache-2.0",
        "train.tsv.xz",
        "dev.tsv.xz",
        "test.tsv.xz",
        folder="imdb-counterfactual/new",
    ),
    "imdb-combined": DataSet(
        "both versions of each review (en)",
        "Apache-2.0",
        "train.tsv.xz",
        "dev.tsv.xz",
        "test.tsv.xz",
        folder="imdb-counterfactual/combined",
    ),
    "financial-phrasebank": DataSet(
        "sentences of financial news, three moods; unsplit (en)",
        "CC BY-NC-SA 3.0",
        "Sentences_50Agree.txt.xz",
        reading={"format": "lines", "separator": "@"},
    ),
    "toutiao": DataSet(
        "headlines in 15 classes (zh)",
        "no licence stated",
        "train.csv.xz",
        "dev.csv.xz",
        "test.csv.xz",
        folder="toutiao-sample-zh",
    ),
    "easy-vqa": DataSet(
        "questions about pictures of one coloured shape, 13 answers (en)",
        "MIT",
        "easy_vqa-1.0-py3-none-any.whl!train",
        test="easy_vqa-1.0-py3-none-any.whl!test",
        reading={"format": "easy_vqa"},
    ),
    "fsdd": DataSet(
        "spoken digits of six speakers, each asked five questions (en)",
        "CC BY-SA 4.0",
        "recordings-0-14.tar.xz!train",
        test="recordings-0-14.tar.xz!test",
        folder="fsdd-sample",
        reading={"format": "fsdd"},
    ),
    "squad": DataSet(
        "questions about Wikipedia articles, the answer in the text; SQuAD 1.1's dev split, the only one here (en)",
        "CC BY-SA 4.0",
        "dev-v1.1.json.zip",
        folder="squad-dev",
        reading={"format": "squad"},
    ),
    "cmrc2018": DataSet(
        "questions about Wikipedia articles, the answer in the text; the dev split, train is not here (zh)",
        "CC BY-SA 4.0",
        "cmrc2018_dev.json.xz",
        reading={"format": "squad"},
    ),
    "cold": DataSet(
        "comments, offensive or not (zh)",
        "Apache-2.0",
        "train.csv.xz",
        "dev.csv.xz",
        "test.csv.xz",
        folder="cold-zh",
        reading={"text": "TEXT"},
    ),
    "davidson-hate": DataSet(
        "tweets that are hateful (0), offensive (1) or neither (2); unsplit (en)",
        "MIT",
        "labeled_data.csv.xz",
        reading={"text": "tweet", "label": "class"},
    ),
    "hatecheck": DataSet(
        "short cases written to find what hate-speech detectors cannot do (en)",
        "CC BY 4.0",
        test="test_suite_cases.csv.xz",
        reading={"text": "test_case", "label": "label_gold"},
    ),
    "ml-100k": DataSet(
        "what 943 people rated of 1,682 films, by time; each one's last is the test (en)",
        "GroupLens terms, research only",
        "u.data.xz!train",
        "u.data.xz!validation",
        "u.data.xz!test",
        reading={"format": "ratings", "encoding": "latin-1"},
        items="u.item.xz",
    ),
}

DATA_SETS: Mapping[str, DataSet] = {**SINGLE_TEXTS, **PAIRS_AND_ANSWERS}
