"""The samples of the tasks whose answers are texts, or that learn from raw text."""

from __future__ import annotations

from collections.abc import Mapping

from tunesmith.data.sample import Sample, lines, sample

_RAW = (
    sample(
        "Text lines: a text per line",
        "train.txt",
        "Aspirin lowers the risk of stroke in some patients.",
        "The trial was stopped after two years.",
    ),
    sample(
        "JSON lines",
        "train.jsonl",
        '{"text": "阿司匹林可以降低中风的风险。"}',
        '{"text": "试验在两年后停止。"}',
    ),
    sample(
        "CSV with a column of another name, which the recipe names",
        "train.csv",
        "title,abstract",
        "Aspirin,It lowers the risk of stroke.",
        'Insulin,"It lowers blood sugar, and is injected."',
        data={"text": "abstract"},
    ),
)

WRITTEN: Mapping[str, tuple[Sample, ...]] = {
    "text_generation": (
        sample(
            "JSON lines as Alpaca has them",
            "train.jsonl",
            '{"instruction": "Translate into French.", "input": "Good morning", "output": "Bonjour"}',
            '{"instruction": "用一句话介绍长城。", "input": "", "output": "长城是中国古代的防御工程。"}',
        ),
        sample(
            "JSON lines as OpenAI has them",
            "train.jsonl",
            '{"messages": [{"role": "system", "content": "你是客服。"}, {"role": "user", "content": "怎么退货？"}, '
            '{"role": "assistant", "content": "请在订单页申请退货。"}]}',
            '{"messages": [{"role": "user", "content": "Are you open?"}, {"role": "assistant", "content": "Yes."}]}',
        ),
        sample(
            "JSON lines as ShareGPT has them",
            "train.jsonl",
            '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}, '
            '{"from": "human", "value": "Where is Rome?"}, {"from": "gpt", "value": "In Italy."}]}',
            '{"conversations": [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "你好！"}]}',
        ),
        sample(
            "CSV",
            "train.csv",
            "prompt,response",
            "Where is Rome?,In Italy.",
            '"What is 2 + 2, in words?",Four.',
        ),
        Sample(
            "JSON lines with a better and a worse answer; in each of the forms above these can be added",
            {
                "train.jsonl": lines(
                    '{"prompt": "怎么退货？", "chosen": "请在订单页申请退货。", "rejected": "不知道。"}',
                    '{"prompt": "Where is Rome?", "chosen": "In Italy.", "rejected": "In Spain."}',
                )
            },
            {
                "data": {"train": "train.jsonl"},
                "task": {"preference": True, "answers": False},
                "objective": {"name": "dpo"},
            },
        ),
    ),
    "sequence_to_sequence": (
        sample(
            "CSV",
            "train.csv",
            "source,target",
            "Good morning.,Guten Morgen.",
            '"Yes, please.","Ja, bitte."',
        ),
        sample(
            "JSON lines with Chinese names of columns: a text and its summary",
            "train.jsonl",
            '{"内容": "昨天夜里，大雨淹没了三条街道，两所学校停课。", "摘要": "大雨淹街，学校停课"}',
            '{"内容": "新桥今天通车，过江时间缩短一半。", "摘要": "新桥通车"}',
        ),
        Sample(
            "Two text files, line by line",
            {"train.en": lines("Good morning.", "Thank you."), "train.zh": lines("早上好。", "谢谢。")},
            {"data": {"train": "train.en|train.zh"}},
        ),
    ),
    "masked_language_modeling": _RAW,
    "causal_language_modeling": _RAW,
}
