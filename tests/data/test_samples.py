"""Every sample of the documents is read as it is meant, with the settings that it names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.builders import write_sample
from tunesmith.data.columns import NAMES
from tunesmith.data.records import Example, Span
from tunesmith.data.sample import Sample
from tunesmith.data.samples import SAMPLES
from tunesmith.data.source import FORMATS, Format
from tunesmith.experiment import Experiment
from tunesmith.overviews import data_page
from tunesmith.tasks import TASKS

_STORM, _CAR = "The storm caused the flood.", "The car passed the house."
_STORM_MARKS, _CAR_MARKS = {"marks": ["e1 storm", "e2 flood"]}, {"marks": ["e1 car", "e2 house"]}
_JOY, _SLOW = "A joy from start to end.", "Slow, and far too long."
_CLEAN, _LOUD = "房间干净，服务周到。", "隔音太差，一夜没睡。"
_NILE = "The Nile flows north into the Mediterranean."
_RIVER, _OTHER_RIVER = "长江全长约6300千米，流入东海。", "黄河发源于青海，流入渤海。"
_CHILDREN = "Two children play football."
_CONLL = [
    {"text": "李明在北京大学教书", "label": ["PER 李明", "ORG 北京大学"]},
    {"text": "上海下雨", "label": ["LOC 上海"]},
]
_RAW = [
    [
        {"text": "Aspirin lowers the risk of stroke in some patients."},
        {"text": "The trial was stopped after two years."},
    ],
    [{"text": "阿司匹林可以降低中风的风险。"}, {"text": "试验在两年后停止。"}],
    [{"text": "It lowers the risk of stroke."}, {"text": "It lowers blood sugar, and is injected."}],
]


def _classes(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]


def _pairs(*triples: tuple[str, str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "second": second, "label": label} for text, second, label in triples]


def _answers(*pairs: tuple[list[str], str]) -> list[dict[str, Any]]:
    return [{"text": turns[-1].partition(" ")[2], "turns": turns, "label": label} for turns, label in pairs]


MEANT: dict[str, list[list[dict[str, Any]]]] = {
    "sequence_classification": [
        _classes((_JOY, "positive"), (_SLOW, "negative")),
        _classes((_CLEAN, "正面"), (_LOUD, "负面")),
        _classes(("味道很好，分量也足。", 4.5), ("等了一个小时，菜还是凉的。", 1.0)),
        _classes(("It came late and cost too much.", ["delivery", "price"]), ("Thank you!", [])),
        _classes((_JOY, "positive"), ("Slow and far too long.", "negative")),
        _classes((_CLEAN, "正面"), (_LOUD, "负面")),
    ],
    "token_classification": [
        _classes(("Ada Lovelace was born in London.", ["PER Ada Lovelace", "LOC London"]), ("It rained all day.", [])),
        _CONLL,
        _classes(("Ada lives in New York", ["PER Ada", "LOC New York"]), ("It rained", [])),
        _classes(("李明去了上海。", ["name 李明", "address 上海"]), ("今天下雨。", [])),
    ],
    "few_shot_tagging": [
        _classes(("李明在北京大学教书。", ["PER 李明", "ORG 北京大学"]), ("Ada works.", ["PER Ada"])),
        _CONLL,
    ],
    "relation_classification": [
        [
            {"text": _STORM, "label": "Cause-Effect(e1,e2)", **_STORM_MARKS},
            {"text": _CAR, "label": "Other", **_CAR_MARKS},
        ],
        [
            {"text": "李明在北京大学教书。", "label": "任职(e1,e2)", "marks": ["e1 李明", "e2 北京大学"]},
            {"text": "苹果由乔布斯创办。", "label": "创办(e2,e1)", "marks": ["e1 苹果", "e2 乔布斯"]},
        ],
        [
            {"text": _STORM, "label": "Cause-Effect(e1,e2)", **_STORM_MARKS},
            {"text": _CAR, "label": "Other", **_CAR_MARKS},
        ],
    ],
    "sentence_pairs": [
        _pairs(
            ("The shop opens at nine.", "At nine the shop opens.", "same"),
            ("The shop opens at nine.", "The shop is closed.", "different"),
        ),
        _pairs(("两个孩子在踢球。", "有人在运动。", "蕴含"), ("两个孩子在踢球。", "孩子们睡着了。", "矛盾")),
        _pairs(("A man plays a guitar.", "Someone makes music.", 3.8), ("A man plays a guitar.", "A dog runs.", 0.2)),
        [
            {**row, "group": "怎么退货"}
            for row in _pairs(("怎么退货", "七天内可以申请退货。", 1.0), ("怎么退货", "本店周末照常营业。", 0.0))
        ],
    ],
    "question_answering": [
        _pairs(
            (_NILE, "Where does the Nile end?", ["answer the Mediterranean"]),
            (_NILE, "How long is it?", []),
        ),
        _pairs(
            (_RIVER, "长江流入哪里？", ["answer 东海"]),
            (_OTHER_RIVER, "黄河发源于哪里？", ["answer 青海"]),
        ),
        [
            {**row, "group": "长江"}
            for row in _pairs(
                (_RIVER, "长江有多长？", ["answer 约6300千米"]), (_RIVER, "长江流入哪里？", ["answer 东海"])
            )
        ],
    ],
    "text_generation": [
        _answers(
            (["user Translate into French.\n\nGood morning"], "Bonjour"),
            (["user 用一句话介绍长城。"], "长城是中国古代的防御工程。"),
        ),
        _answers(
            (["system 你是客服。", "user 怎么退货？"], "请在订单页申请退货。"),
            (["user Are you open?"], "Yes."),
        ),
        _answers(
            (["user Hi", "assistant Hello!", "user Where is Rome?"], "In Italy."),
            (["user 你好"], "你好！"),
        ),
        _answers((["user Where is Rome?"], "In Italy."), (["user What is 2 + 2, in words?"], "Four.")),
        [
            {**row, "rejected": rejected}
            for row, rejected in zip(
                _answers((["user 怎么退货？"], "请在订单页申请退货。"), (["user Where is Rome?"], "In Italy.")),
                ("不知道。", "In Spain."),
                strict=True,
            )
        ],
    ],
    "sequence_to_sequence": [
        _classes(("Good morning.", "Guten Morgen."), ("Yes, please.", "Ja, bitte.")),
        _classes(
            ("昨天夜里，大雨淹没了三条街道，两所学校停课。", "大雨淹街，学校停课"),
            ("新桥今天通车，过江时间缩短一半。", "新桥通车"),
        ),
        _classes(("Good morning.", "早上好。"), ("Thank you.", "谢谢。")),
    ],
    "masked_language_modeling": _RAW,
    "causal_language_modeling": _RAW,
    "prompt_classification": [
        _classes((_JOY, "good"), (_SLOW, "bad")),
        _classes((_CLEAN, "正面"), (_LOUD, "负面")),
        _pairs((_CHILDREN, "Someone plays.", "yes"), (_CHILDREN, "They sleep.", "no")),
    ],
    "multimodal_classification": [
        [
            {"text": "What colour is it?", "label": colour, "media": [f"image images/{number}.png"]}
            for number, colour in ((1, "red"), (2, "blue"))
        ],
        [
            {"text": "请帮我转接。", "label": "转接", "media": ["audio recordings/1.wav"]},
            {"text": "我要挂失。", "label": "挂失"},
        ],
    ],
    "few_shot_classification": [
        _classes(("Where is my parcel?", "delivery"), ("The card was declined.", "payment")),
        _classes(("包裹到哪里了？", "物流"), ("付款失败了。", "支付")),
    ],
    "zero_shot_classification": [
        _classes(("The striker scored twice.", "sports"), ("The bank raised its rates.", "business")),
        _classes(("前锋在决赛中进了两球。", "体育"), ("央行再次加息。", "财经")),
    ],
    "recommendation": [
        [
            {"text": "Alien", "history": ["10"], "label": "20"},
            {"text": "Jaws", "history": ["40"], "label": "10"},
        ],
        [
            {"text": "流浪地球 > 霸王别姬", "history": ["1", "3"], "label": "2", "group": "小王"},
            {"text": "英雄 > 流浪地球", "history": ["2", "1"], "label": "3", "group": "小李"},
        ],
    ],
}
"""Task -> the examples of each of its samples, without what they do not have."""

EACH = [(task, place) for task, samples in SAMPLES.items() for place in range(len(samples))]


def core(example: Example, folder: Path) -> dict[str, Any]:
    """What an example says, spans by their texts, files by their paths below the folder."""
    found: dict[str, Any] = {
        "text": example.text,
        "second": example.second,
        "marks": _spans(example.marks, example.text),
        "turns": [f"{turn.role} {turn.text}" for turn in example.turns],
        "history": list(example.history),
        "rejected": example.rejected,
        "media": [f"{name} {Path(path).relative_to(folder).as_posix()}" for name, path in example.media.items()],
        # A picture is a group of its own, and so is a passage.
        "group": "" if example.media or example.group.startswith("passage ") else example.group,
    }
    label = example.label
    said = {} if label is None else {"label": _spans(label, example.text) if isinstance(label, tuple) else label}
    return {**{key: value for key, value in found.items() if value}, **said}


def _spans(values: tuple[Any, ...], text: str) -> list[str]:
    return [
        f"{value.label} {text[value.start : value.end]}" if isinstance(value, Span) else str(value) for value in values
    ]


def read_sample(task: str, given: Sample) -> tuple[list[Example], list[str]]:
    """The examples of a sample in the working directory, and what was wrong with it."""
    data = {"validation_share": 0, "test_share": 0, **given.recipe["data"]}
    experiment = Experiment.from_mapping(
        {**given.recipe, "data": data, "task": {"name": task, **given.recipe.get("task", {})}}
    )
    loaded = experiment.data.load(experiment.task.label_kind, experiment.seed, experiment.task.inputs)
    wrong = [finding.message for finding in loaded.findings if finding.severity != "note"]
    return list(loaded.splits.train or loaded.splits.test), wrong


@pytest.mark.parametrize(("task", "place"), EACH, ids=[f"{task}-{place}" for task, place in EACH])
def test_a_sample_is_read_as_it_is_meant(
    task: str, place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SAMPLES[task][place]
    write_sample(tmp_path, given)
    monkeypatch.chdir(tmp_path)
    examples, wrong = read_sample(task, given)
    assert [core(example, tmp_path) for example in examples] == MEANT[task][place]
    assert not wrong


def test_every_task_has_samples_and_each_of_them_a_meaning() -> None:
    assert set(SAMPLES) == set(TASKS)
    assert {task: len(samples) for task, samples in SAMPLES.items()} == {task: len(all) for task, all in MEANT.items()}


def test_a_third_of_the_samples_is_chinese() -> None:
    contents = ["".join(given.files.values()) for samples in SAMPLES.values() for given in samples]
    chinese = [content for content in contents if re.search("[\u4e00-\u9fff]", content)]
    assert 3 * len(chinese) >= len(contents)


def test_every_format_and_every_name_of_a_column_is_on_the_page() -> None:
    page = data_page()
    assert set(FORMATS) == set(get_args(Format))
    assert all(f"\n| `{name}` |" in page for name in FORMATS)
    for names in NAMES.values():
        assert f"| {', '.join(f'`{name}`' for name in names)} |" in page


def test_a_sample_that_no_longer_reads_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SAMPLES["sequence_classification"][0]
    broken = Sample(given.title, {"train.csv": "text,label\na,b\n,b\n"}, given.recipe)
    write_sample(tmp_path, broken)
    monkeypatch.chdir(tmp_path)
    examples, wrong = read_sample("sequence_classification", broken)
    assert len(examples) == 1
    assert wrong
