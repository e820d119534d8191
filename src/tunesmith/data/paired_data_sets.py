"""The data sets of pairs: translations, relations between entities, two texts judged together, instructions."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.data.data_set import DataSet

_STSB = (*("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"),)

PAIRS_AND_ANSWERS: Mapping[str, DataSet] = {
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
