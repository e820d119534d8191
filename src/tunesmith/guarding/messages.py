"""What users are told when a guard objects, by code, in English and in Simplified Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

MESSAGES: Mapping[str, Mapping[Language, str]] = {
    "text_too_short": {
        "en": "The text has {value} characters; at least {limit} are needed.",
        "zh": "文本只有 {value} 个字符，至少需要 {limit} 个。",
    },
    "text_too_long": {
        "en": "The text has {value} characters; at most {limit} are allowed. Shorten it.",
        "zh": "文本有 {value} 个字符，最多允许 {limit} 个。请缩短文本。",
    },
    "too_many_tokens": {
        "en": "The text has {value} tokens; at most {limit} are allowed. Shorten it.",
        "zh": "文本有 {value} 个词元，最多允许 {limit} 个。请缩短文本。",
    },
    "too_many_items": {
        "en": "The request has {value} items; at most {limit} are allowed. Send fewer.",
        "zh": "请求包含 {value} 项，最多允许 {limit} 项。请减少数量。",
    },
    "unknown_script": {
        "en": "The text is in a script that this model has not learnt. Use a language that it was trained on.",
        "zh": "文本使用了该模型未学习过的文字。请使用模型训练时的语言。",
    },
    "unknown_language": {
        "en": "The text does not look like a language that this model has learnt ({value}, limit {limit}).",
        "zh": "文本不像该模型学习过的语言（{value}，上限 {limit}）。",
    },
    "out_of_distribution": {
        "en": "I don't know: the text is unlike what this model has learnt ({value}, limit {limit}).",
        "zh": "我不知道：该文本与模型学习过的内容不同（{value}，上限 {limit}）。",
    },
    "out_of_scope": {
        "en": "I don't know: this is none of the things that I can help with ({value}, limit {limit}).",
        "zh": "我不知道：这不在我能处理的范围内（{value}，上限 {limit}）。",
    },
    "toxic_text": {
        "en": "The text was judged offensive ({value}, limit {limit}). Say it in other words.",
        "zh": "该文本被判定为冒犯性内容（{value}，上限 {limit}）。请换一种说法。",
    },
    "toxic_answer": {
        "en": "The answer was withheld: it was judged offensive ({value}, limit {limit}).",
        "zh": "回答未显示：它被判定为冒犯性内容（{value}，上限 {limit}）。",
    },
    "prompt_injection": {
        "en": "The text looks like an attempt to change the instructions of this service ({value} signs). Rephrase it.",
        "zh": "该文本疑似试图改变本服务的指令（{value} 处迹象）。请换一种说法。",
    },
    "role_markers": {
        "en": "The text holds marks that are reserved for the roles of a dialogue ({value}). Remove them.",
        "zh": "该文本包含对话角色的保留标记（{value} 处）。请将其删除。",
    },
    "low_confidence": {
        "en": "I don't know: the confidence is {value}, below {limit}.",
        "zh": "我不知道：置信度为 {value}，低于 {limit}。",
    },
    "label_not_allowed": {
        "en": "I don't know: the answer is none of the allowed labels.",
        "zh": "我不知道：该回答不属于允许的标签。",
    },
    "labels_contradict": {
        "en": "I don't know: the answer has labels that cannot stand together.",
        "zh": "我不知道：该回答包含相互矛盾的标签。",
    },
    "label_missing": {
        "en": "I don't know: the answer lacks a label that must stand beside another.",
        "zh": "我不知道：该回答缺少必须同时出现的标签。",
    },
    "answer_too_short": {
        "en": "The answer was withheld: it has {value} characters; at least {limit} are needed.",
        "zh": "回答未显示：它只有 {value} 个字符，至少需要 {limit} 个。",
    },
    "answer_too_long": {
        "en": "The answer was withheld: it has {value} characters; at most {limit} are allowed.",
        "zh": "回答未显示：它有 {value} 个字符，最多允许 {limit} 个。",
    },
    "answer_malformed": {
        "en": "The answer was withheld: it does not have the required form.",
        "zh": "回答未显示：它不符合要求的格式。",
    },
    "forbidden_words": {
        "en": "The answer was withheld: it holds forbidden words ({value}).",
        "zh": "回答未显示：它包含禁用词（{value} 个）。",
    },
}
