"""A few rows for each task as a user's files may have them: on docs/data.md, in new recipes, and read by a test."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.data.sample import Sample, lines, sample
from tunesmith.data.written_samples import WRITTEN

_CONLL = sample(
    "CoNLL columns: a word (of Chinese a character) and its tag per line, an empty line between sentences",
    "train.conll",
    *("李 B-PER", "明 I-PER", "在 O", "北 B-ORG", "京 I-ORG", "大 I-ORG", "学 I-ORG", "教 O", "书 O"),
    "",
    *("上 B-LOC", "海 I-LOC", "下 O", "雨 O"),
)

SAMPLES: Mapping[str, tuple[Sample, ...]] = {
    "sequence_classification": (
        sample(
            "CSV, a class per text",
            "train.csv",
            "text,label",
            "A joy from start to end.,positive",
            '"Slow, and far too long.",negative',
        ),
        sample(
            "JSON lines, a class per text",
            "train.jsonl",
            '{"text": "房间干净，服务周到。", "label": "正面"}',
            '{"text": "隔音太差，一夜没睡。", "label": "负面"}',
        ),
        sample(
            "CSV with Chinese names of columns, a number per text",
            "train.csv",
            "评论,评分",
            "味道很好，分量也足。,4.5",
            "等了一个小时，菜还是凉的。,1",
            task={"problem": "regression"},
        ),
        sample(
            "JSON lines, several classes per text or none; in CSV they are parted by a bar, as in delivery|price",
            "train.jsonl",
            '{"text": "It came late and cost too much.", "labels": ["delivery", "price"]}',
            '{"text": "Thank you!", "labels": []}',
            task={"problem": "multi_label"},
        ),
        sample(
            "Text lines with fastText's labels",
            "train.txt",
            "__label__positive A joy from start to end.",
            "__label__negative Slow and far too long.",
        ),
        sample(
            "TSV without a header, the label first",
            "train.tsv",
            "正面\t房间干净，服务周到。",
            "负面\t隔音太差，一夜没睡。",
            data={"header": ["label", "text"]},
        ),
    ),
    "token_classification": (
        sample(
            "JSON lines with spans: characters are counted from 0, the end is not included",
            "train.jsonl",
            '{"text": "Ada Lovelace was born in London.", "spans": [{"start": 0, "end": 12, "label": "PER"}, '
            '{"start": 25, "end": 31, "label": "LOC"}]}',
            '{"text": "It rained all day.", "spans": []}',
        ),
        _CONLL,
        sample(
            "JSON lines with words and their tags",
            "train.jsonl",
            '{"tokens": ["Ada", "lives", "in", "New", "York"], "ner_tags": ["B-PER", "O", "O", "B-LOC", "I-LOC"]}',
            '{"tokens": ["It", "rained"], "ner_tags": ["O", "O"]}',
        ),
        sample(
            "JSON lines as CLUENER has them: type, text, first and last character (which is included)",
            "train.jsonl",
            '{"text": "李明去了上海。", "label": {"name": {"李明": [[0, 1]]}, "address": {"上海": [[4, 5]]}}}',
            '{"text": "今天下雨。", "label": {}}',
        ),
    ),
    "few_shot_tagging": (
        sample(
            "JSON lines with spans, by characters",
            "train.jsonl",
            '{"text": "李明在北京大学教书。", "spans": [{"start": 0, "end": 2, "label": "PER"}, '
            '{"start": 3, "end": 7, "label": "ORG"}]}',
            '{"text": "Ada works.", "spans": [{"start": 0, "end": 3, "label": "PER"}]}',
        ),
        _CONLL,
    ),
    "relation_classification": (
        sample(
            "CSV with both entities marked in the text",
            "train.csv",
            "text,label",
            'The <e1>storm</e1> caused the <e2>flood</e2>.,"Cause-Effect(e1,e2)"',
            "The <e1>car</e1> passed the <e2>house</e2>.,Other",
        ),
        sample(
            'JSON lines with columns e1 and e2: the entity\'s text, or its place as {"start": 0, "end": 2}',
            "train.jsonl",
            '{"text": "李明在北京大学教书。", "e1": "李明", "e2": "北京大学", "label": "任职(e1,e2)"}',
            '{"text": "苹果由乔布斯创办。", "e1": {"start": 0, "end": 2}, "e2": {"start": 3, "end": 6}, '
            '"label": "创办(e2,e1)"}',
        ),
        sample(
            "Numbered sentences, as SemEval-2010 task 8 has them",
            "train.txt",
            '1\t"The <e1>storm</e1> caused the <e2>flood</e2>."',
            "Cause-Effect(e1,e2)",
            "Comment:",
            "",
            '2\t"The <e1>car</e1> passed the <e2>house</e2>."',
            "Other",
            "Comment:",
            data={"format": "semeval"},
        ),
    ),
    "sentence_pairs": (
        sample(
            "CSV, a class per pair",
            "train.csv",
            "sentence1,sentence2,label",
            "The shop opens at nine.,At nine the shop opens.,same",
            "The shop opens at nine.,The shop is closed.,different",
        ),
        sample(
            "JSON lines, a class per pair",
            "train.jsonl",
            '{"premise": "两个孩子在踢球。", "hypothesis": "有人在运动。", "label": "蕴含"}',
            '{"premise": "两个孩子在踢球。", "hypothesis": "孩子们睡着了。", "label": "矛盾"}',
        ),
        sample(
            "CSV, how like the two are",
            "train.csv",
            "sentence1,sentence2,score",
            "A man plays a guitar.,Someone makes music.,3.8",
            "A man plays a guitar.,A dog runs.,0.2",
            task={"problem": "similarity"},
        ),
        sample(
            "JSON lines, how well a passage answers a query (kept together by data.group)",
            "train.jsonl",
            '{"query": "怎么退货", "passage": "七天内可以申请退货。", "label": 1}',
            '{"query": "怎么退货", "passage": "本店周末照常营业。", "label": 0}',
            task={"problem": "ranking", "encoder": "bi"},
            data={"group": "query"},
        ),
    ),
    "question_answering": (
        sample(
            "JSON lines; answer_start may be missing, and no answer is an empty list",
            "train.jsonl",
            '{"context": "The Nile flows north into the Mediterranean.", "question": "Where does the Nile end?", '
            '"answers": [{"text": "the Mediterranean", "answer_start": 26}]}',
            '{"context": "The Nile flows north into the Mediterranean.", "question": "How long is it?", "answers": []}',
        ),
        sample(
            "CSV; the answer is found in the passage",
            "train.csv",
            "context,question,answer",
            "长江全长约6300千米，流入东海。,长江流入哪里？,东海",
            "黄河发源于青海，流入渤海。,黄河发源于哪里？,青海",
        ),
        sample(
            "JSON as SQuAD and CMRC 2018 have it",
            "train.json",
            '{"data": [{"title": "长江", "paragraphs": [{"context": "长江全长约6300千米，流入东海。", "qas": [',
            '  {"id": "1", "question": "长江有多长？", "answers": [{"text": "约6300千米", "answer_start": 4}]},',
            '  {"id": "2", "question": "长江流入哪里？", "answers": [{"text": "东海", "answer_start": 14}]}',
            "]}]}]}",
        ),
    ),
    **WRITTEN,
    "prompt_classification": (
        sample(
            "CSV; where task.label_words is silent, the label is the word that is asked for",
            "train.csv",
            "text,label",
            "A joy from start to end.,good",
            '"Slow, and far too long.",bad',
        ),
        sample(
            "JSON lines, with a template and a word for each label",
            "train.jsonl",
            '{"text": "房间干净，服务周到。", "label": "正面"}',
            '{"text": "隔音太差，一夜没睡。", "label": "负面"}',
            task={"template": "{text} 总的来说很{label}", "label_words": {"正面": "好", "负面": "差"}},
        ),
        sample(
            "CSV, two texts",
            "train.csv",
            "premise,hypothesis,label",
            "Two children play football.,Someone plays.,yes",
            "Two children play football.,They sleep.,no",
            task={"template": "{text} Does it follow that: {second} {label}"},
        ),
    ),
    "multimodal_classification": (
        sample(
            "CSV with paths of pictures, relative to the file; either of text and picture may be missing",
            "train.csv",
            "text,image,label",
            "What colour is it?,images/1.png,red",
            "What colour is it?,images/2.png,blue",
            media=("images/1.png", "images/2.png"),
        ),
        sample(
            "JSON lines with paths of recordings",
            "train.jsonl",
            '{"文本": "请帮我转接。", "录音": "recordings/1.wav", "标签": "转接"}',
            '{"文本": "我要挂失。", "录音": "", "标签": "挂失"}',
            media=("recordings/1.wav",),
            task={"modality": "audio"},
        ),
    ),
    "few_shot_classification": (
        sample(
            "CSV",
            "train.csv",
            "text,label",
            "Where is my parcel?,delivery",
            "The card was declined.,payment",
        ),
        sample(
            "JSON lines",
            "train.jsonl",
            '{"text": "包裹到哪里了？", "label": "物流"}',
            '{"text": "付款失败了。", "label": "支付"}',
        ),
    ),
    "zero_shot_classification": (
        sample(
            "CSV to judge by; nothing is learnt, so that with data.train: none alone a model needs no file",
            "test.csv",
            "text,label",
            "The striker scored twice.,sports",
            "The bank raised its rates.,business",
            data={"test": "test.csv"},
            task={"descriptions": {"sports": "sports and athletes", "business": "companies and money"}},
        ),
        sample(
            "JSON lines",
            "test.jsonl",
            '{"text": "前锋在决赛中进了两球。", "label": "体育"}',
            '{"text": "央行再次加息。", "label": "财经"}',
            data={"test": "test.jsonl"},
            task={
                "descriptions": {"体育": "体育比赛和运动员", "财经": "公司和金融"},
                "template": "这篇文章关于{label}。",
            },
        ),
    ),
    "recommendation": (
        Sample(
            "Ratings or purchases with their times (CSV or as MovieLens has them), and a file of items",
            {
                "ratings.csv": lines(
                    "user,item,rating,time",
                    *("anna,10,5,100", "anna,20,4,200", "anna,30,5,300", "anna,40,3,400"),
                    *("bob,40,2,150", "bob,10,5,250", "bob,20,4,350", "bob,30,4,450"),
                ),
                "items.csv": lines("id,title,genres", "10,Alien,Horror", "20,Heat,Crime", "30,Up,Comedy", "40,Jaws,"),
            },
            {
                "data": {
                    "format": "ratings",
                    **{part: f"ratings.csv!{part}" for part in ("train", "validation", "test")},
                    "items": "items.csv",
                }
            },
        ),
        Sample(
            "Histories, the oldest item first, with the item that came next",
            {
                "train.jsonl": lines(
                    '{"user": "小王", "history": ["1", "3"], "label": "2"}',
                    '{"user": "小李", "history": ["2", "1"], "label": "3"}',
                ),
                "items.jsonl": lines(
                    '{"id": "1", "title": "流浪地球", "genres": "科幻"}',
                    '{"id": "2", "title": "英雄", "genres": "武侠"}',
                    '{"id": "3", "title": "霸王别姬", "genres": "剧情"}',
                ),
            },
            {"data": {"train": "train.jsonl", "items": "items.jsonl"}},
        ),
    ),
}
"""Task -> the forms in which its files are usually written, the one that a new recipe shows first."""
