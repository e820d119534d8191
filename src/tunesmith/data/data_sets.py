"""The data sets that are known by name: their files, how these are written, and what may be done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DataSet:
    """A known data set.

    `train`, `validation`, `test` and `items` (what is recommended) are paths below `folder`; `reading` holds settings
    of `Data` that its form needs; `hub` holds the same splits as paths of the hub, for when the folder is not there.
    """

    summary: str
    licence: str
    train: str = ""
    validation: str = ""
    test: str = ""
    folder: str = ""
    reading: Mapping[str, Any] = field(default_factory=dict)
    hub: Mapping[str, str] = field(default_factory=dict)
    items: str = ""


_STSB = (*("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"),)

DATA_SETS: Mapping[str, DataSet] = {
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
    "trec": DataSet(
        "questions by what they ask for, six kinds (en)",
        "no licence stated",
        "TREC.train.xz",
        test="TREC.test",
        folder="mr-subj-trec",
        reading={"format": "trec", "encoding": "latin-1"},
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
    "sst5": DataSet(
        "sentences of film reviews in five grades (en)",
        "no licence stated",
        "stsa.fine.train.xz",
        "stsa.fine.dev.xz",
        "stsa.fine.test.xz",
        folder="sst",
        reading={"format": "lines", "separator": " ", "label_first": True},
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
    "ml-100k": DataSet(
        "what 943 people rated of 1,682 films, by time; each one's last is the test (en)",
        "GroupLens terms, research only",
        "u.data.xz!train",
        "u.data.xz!validation",
        "u.data.xz!test",
        reading={"format": "ratings", "encoding": "latin-1"},
        items="u.item.xz",
    ),
    "multi30k-en-de": DataSet(
        "captions of pictures and their translations; the test is that of 2016 (en-de)",
        "non-commercial research",
        "train.en.gz|train.de.gz",
        "val.en.gz|val.de.gz",
        "test_2016_flickr.en.gz|test_2016_flickr.de.gz",
        folder="multi30k",
    ),
    "tatoeba-en-zh": DataSet(
        "short sentences of everyday life and their translations; unsplit (en-zh)",
        "CC BY 2.0 FR by Tatoeba; not restated",
        "cmn.txt.xz",
        reading={"format": "lines"},
    ),
    "wmt-news-zh-en": DataSet(
        "news and their translations: dev of 2017 and test of 2018, no train (zh-en)",
        "no licence stated",
        validation="newsdev2017.zh.xz|newsdev2017.en.xz",
        test="newstest2018.zh.xz|newstest2018.en.xz",
    ),
    "semeval2010-task8": DataSet(
        "sentences with two marked nouns, nine directed relations and others (en)",
        "CC BY 3.0 by the task",
        "TRAIN_FILE.TXT.xz",
        test="TEST_FILE_FULL.TXT.xz",
        reading={"format": "semeval"},
    ),
    "sciie": DataSet(
        "sentences of scientific papers with two marked terms, seven relations (en)",
        "no licence stated",
        "re/train.txt.xz",
        "re/dev.txt.xz",
        "re/test.txt.xz",
        reading={"format": "jsonl"},
    ),
    "finre": DataSet(
        "sentences of financial news with two entities, 44 relations (zh)",
        "MIT",
        "FinRE/train.txt.xz",
        "FinRE/valid.txt.xz",
        "FinRE/test.txt.xz",
        folder="finre-sanwen-zh",
        reading={"format": "tsv", "header": ("e1", "e2", "label", "text"), "quoted": False},
    ),
    "sanwen": DataSet(
        "sentences of literature with two entities, ten relations (zh)",
        "MIT",
        "SanWen/train.txt.xz",
        "SanWen/valid.txt.xz",
        "SanWen/test.txt.xz",
        folder="finre-sanwen-zh",
        reading={"format": "tsv", "header": ("e1", "e2", "label", "text"), "quoted": False},
    ),
    "mrpc": DataSet(
        "pairs of sentences from news, paraphrases or not (en)",
        "Microsoft Research licence",
        "MRPC/msr_paraphrase_train.txt.xz",
        test="MRPC/msr_paraphrase_test.tsv.xz",
        folder="glue-small",
        reading={"format": "tsv", "text": "#1 String", "second": "#2 String", "label": "Quality", "quoted": False},
    ),
    "rte": DataSet(
        "a text and a statement that follows from it or does not; the dev split is the test here (en)",
        "no licence stated",
        "RTE/train.tsv.xz",
        test="RTE/dev.tsv",
        folder="glue-small",
        reading={"format": "tsv", "quoted": False},
    ),
    "stsb": DataSet(
        "pairs of sentences with a likeness from 0 to 5; only train, since the file called dev is a part of it (en)",
        "CC BY-SA",
        "STS-B/train.tsv.xz",
        folder="glue-small",
        reading={"format": "tsv", "header": _STSB, "quoted": False},
    ),
    "nli-counterfactual": DataSet(
        "a premise and a hypothesis of SNLI, and revisions that change the answer (en)",
        "Apache-2.0; SNLI CC BY-SA 4.0",
        "all_combined/train.tsv.xz",
        "all_combined/dev.tsv.xz",
        "all_combined/test.tsv.xz",
        reading={"format": "tsv", "label": "gold_label", "quoted": False},
    ),
    "ocnli": DataSet(
        "a premise and a hypothesis: entailment, contradiction or neither; the dev split is the test here (zh)",
        "CC BY-NC 2.0",
        "ocnli_public.zip!train.50k.json",
        test="ocnli_public.zip!dev.json",
        reading={"format": "jsonl", "group": "prem_id", "leave_out": ("-",)},
    ),
    "afqmc": DataSet(
        "pairs of questions on financial services, of one meaning or not; the dev split, unsplit (zh)",
        "no licence stated",
        "dev.json.xz",
        reading={"format": "jsonl"},
    ),
    "alpaca-5000": DataSet(
        "instructions with answers; unsplit (en)",
        "CC BY-NC 4.0",
        "alpaca_5000.json.xz",
    ),
    "alpaca-demo": DataSet(
        "instructions with answers by a large model; unsplit (en)",
        "CC BY-NC 4.0",
        "alpaca_en_demo.json.xz",
        folder="llamafactory-demos",
    ),
    "alpaca-demo-zh": DataSet(
        "instructions with answers by a large model; unsplit (zh)",
        "CC BY-NC 4.0",
        "alpaca_zh_demo.json.xz",
        folder="llamafactory-demos",
    ),
    "preference-demo": DataSet(
        "dialogues with a better and a worse answer; unsplit (en)",
        "Apache-2.0 (its repository)",
        "dpo_en_demo.json.xz",
        folder="llamafactory-demos",
    ),
    "preference-demo-zh": DataSet(
        "dialogues with a better and a worse answer; unsplit (zh)",
        "Apache-2.0 (its repository)",
        "dpo_zh_demo.json.xz",
        folder="llamafactory-demos",
    ),
    "toolcall-demo": DataSet(
        "dialogues in which tools are called; unsplit (en)",
        "Apache-2.0",
        "glaive_toolcall_en_demo.json.xz",
        folder="llamafactory-demos",
    ),
    "instruction-1100": DataSet(
        "short instructions with a polite and a rude answer; unsplit (en)",
        "Apache-2.0",
        "instruction-data-with-preference.json.xz",
    ),
    "gsm8k": DataSet("school mathematics with worked answers (en)", "MIT", "train.jsonl.xz", test="test.jsonl.xz"),
}
