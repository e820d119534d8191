"""Data sets of two texts, by name: paraphrases, inference, likeness."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.data.data_set import DataSet

_STSB = (*("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score"),)

PAIR_SETS: Mapping[str, DataSet] = {
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
        reading={"format": "tsv", "quoted": False},
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
}
