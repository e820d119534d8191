"""Small things that many tests build: examples, models and learners made in code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
import yaml
from accelerate import Accelerator

from tests.media_files import with_media, write_picture, write_tone
from tunesmith.data.records import Example, Span, Turn
from tunesmith.data.sample import Sample
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import Full, Method
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.models.model import Model
from tunesmith.tasks import (
    CausalLanguageModeling,
    FewShotClassification,
    FewShotTagging,
    MaskedLanguageModeling,
    MultimodalClassification,
    PromptClassification,
    QuestionAnswering,
    Recommendation,
    RelationClassification,
    SentencePairs,
    SequenceClassification,
    SequenceToSequence,
    Task,
    TextGeneration,
    TokenClassification,
    ZeroShotClassification,
)
from tunesmith.tasks.encoding import TextEncoder
from tunesmith.training.batching import StepPlan
from tunesmith.training.loop import Learner, Material, Scheduled, Step, train
from tunesmith.training.objectives import Objective, TaskLoss
from tunesmith.training.optimizer import AdamW, Grouping, Optimizer, OptimizerSettings, Schedule
from tunesmith.training.precision import MasterWeights

CLASSES = [
    Example("a", "good film", "good"),
    Example("b", "bad film", "bad"),
    Example("c", "a good day", "good"),
    Example("d", "a bad bad day", "bad"),
    Example("e", "good good", "good"),
    Example("f", "the day was bad", "bad"),
    Example("g", "good work", "good"),
    Example("h", "bad work", "bad"),
]
SETS = [Example(e.id, e.text, (str(e.label),) if n % 2 else ("bad", "good")) for n, e in enumerate(CLASSES)]
TEXTS = [Example(e.id, f"{e.text} and good work") for e in CLASSES]
NUMBERS = [Example(e.id, e.text, float(len(e.text))) for e in CLASSES]
SPANS = [
    Example("a", "Anna went to Rome", (Span(0, 4, "PER"), Span(13, 17, "LOC"))),
    Example("b", "the day was good", ()),
    Example("c", "Rome and New York", (Span(0, 4, "LOC"), Span(9, 17, "LOC"))),
    Example("d", "Anna Bell, Rome", (Span(0, 9, "PER"), Span(11, 15, "LOC"))),
    Example("e", "张三在北京", (Span(0, 2, "PER"), Span(3, 5, "LOC"))),
    Example("f", "we met Anna", (Span(7, 11, "PER"),)),
    Example("g", "no one went", ()),
    Example("h", "Bell", (Span(0, 4, "PER"),)),
]

_PASSAGE = "Anna Bell went to Rome, the big city. No one met her in 2012."
QUESTIONS = [
    Example(
        "a", _PASSAGE, (Span(0, 9, "answer"), Span(0, 4, "answer"), Span(0, 9, "answer")), second="who went to Rome?"
    ),
    Example("b", _PASSAGE, (Span(18, 22, "answer"),), second="which city was it?"),
    Example("c", _PASSAGE, (), second="who was bad?"),
    Example("d", "张三在北京工作，李四在上海。", (Span(3, 5, "answer"),), second="张三在哪里？"),
    Example("e", "张三在北京工作，李四在上海。", (Span(8, 10, "answer"),), second="谁在上海？"),
    Example("f", " ".join(["the day was good"] * 20 + ["Paris."]), (Span(340, 345, "answer"),), second="what city?"),
    Example("g", "Rome", (Span(0, 4, "answer"),), second="what?"),
    Example("h", "no film", (), second="is it good?"),
]

RELATIONS = [
    Example(name, text, label, marks=(Span(*first, "e1"), Span(*second, "e2")))
    for name, text, label, first, second in (
        ("a", "Anna went to Rome", "at(e1,e2)", (0, 4), (13, 17)),
        ("b", "in Rome we met Anna", "at(e2,e1)", (3, 7), (15, 19)),
        ("c", "Anna and Bell", "Other", (0, 4), (9, 13)),
        ("d", "Bell is in New York", "at(e1,e2)", (0, 4), (11, 19)),
        ("e", "张三在北京", "at(e1,e2)", (0, 2), (3, 5)),
        ("f", "北京和张三", "at(e2,e1)", (0, 2), (3, 5)),
        ("g", "good Anna, bad Bell", "Other", (5, 9), (15, 19)),
        ("h", "Paris saw Anna", "at(e2,e1)", (0, 5), (10, 14)),
    )
]

PAIRS = [
    Example(name, text, label, second=second)
    for name, text, second, label in (
        ("a", "good film", "a good film", "same"),
        ("b", "bad film", "good work", "other"),
        ("c", "a good day", "the day was good", "same"),
        ("d", "Anna went to Rome", "a bad bad day", "other"),
        ("e", "张三在北京", "张三在北京", "same"),
        ("f", "天气好", "the bank", "other"),
        ("g", "good work", "work", "same"),
        ("h", "we met Anna", "New York", "other"),
    )
]
LIKENESS = [replace(e, label=float(number % 3), group="ab"[number % 2]) for number, e in enumerate(PAIRS)]


def dialogue(name: str, *said: str, rejected: str = "") -> Example:
    """A dialogue of user and assistant in turns, the last of which is the answer."""
    turns = [Turn(("user", "assistant")[place % 2], text) for place, text in enumerate(said)]
    return Example(name, turns[-2].text, turns[-1].text, turns=tuple(turns[:-1]), rejected=rejected)


DIALOGUES = [
    dialogue("a", "good film?", "yes", rejected="no way"),
    dialogue("b", "今天天气好吗", "很好", rejected="不知道"),
    dialogue("c", "hi", "hello", "who are you", "a tiny model", rejected="me"),
    dialogue("d", "say A", "A", rejected="B"),
    dialogue("e", "你好", "你好！", "你是谁", "小模型", rejected="谁"),
    dialogue("f", "count", "one two three", rejected="no"),
    dialogue("g", "bad?", "not bad", rejected="bad"),
    dialogue("h", "end", "the end", rejected="start"),
]
TRANSLATIONS = [
    Example("a", "good film", "bad day"),
    Example("b", "今天天气好", "good day"),
    Example("c", "who are you", "我是人"),
    Example("d", "a", "the big city of rome"),
    Example("e", "the day was good, the film was bad", "good"),
    Example("f", "good work", "北京和上海"),
    Example("g", "bad work", "paris"),
    Example("h", "two", "three"),
]

ITEM_TEXTS = {
    "1": "good film", "2": "bad film", "3": "a good day", "4": "a bad day", "5": "the big city", "6": "New York",
    "7": "北京的天气", "8": "上海", "9": "no one has it yet",
}  # fmt: skip
HISTORIES = [
    Example(name, " > ".join(ITEM_TEXTS[item] for item in history), label, history=tuple(history))
    for name, history, label in (
        ("a", "13", "5"),
        ("b", "2", "4"),
        ("c", "246", "8"),
        ("d", "13572", "4"),
        ("e", "78", "6"),
        ("f", "5", "7"),
        ("g", "8765", "1"),
        ("h", "31", "7"),
    )
]

TASK_CASES: dict[str, tuple[Task, list[Example]]] = {
    "single_label": (SequenceClassification(), CLASSES),
    "binary": (SequenceClassification(problem="binary"), CLASSES),
    "multi_label": (SequenceClassification(problem="multi_label"), SETS),
    "regression": (SequenceClassification(problem="regression"), NUMBERS),
    "few_shot": (FewShotClassification(iterations=2, pooling="auto", stride=8), CLASSES),
    "masked_language": (MaskedLanguageModeling(), TEXTS),
    "causal_language": (CausalLanguageModeling(), TEXTS),
    "prompts": (
        PromptClassification(body="masked_lm", label_words={"good": ("great", "well paid"), "bad": "the worst"}),
        CLASSES,
    ),
    "prompts_causal": (
        PromptClassification(
            label_words={"good": ("great", "well paid"), "bad": "the worst"},
            demonstrations=1,
            selection="sampled",
            demonstration_tokens=60,
            demonstration_sets=2,
        ),
        CLASSES,
    ),
    "questions": (QuestionAnswering(stride=16, normalization="squad"), QUESTIONS),
    "relations": (RelationClassification(), RELATIONS),
    "relations_mean": (RelationClassification(entity="mean"), RELATIONS),
    "pairs_cross": (SentencePairs(), PAIRS),
    "pairs_bi": (SentencePairs(encoder="bi"), PAIRS),
    "likeness_cross": (SentencePairs(problem="similarity"), LIKENESS),
    "likeness_bi": (SentencePairs(problem="similarity", encoder="bi"), LIKENESS),
    "ranking_bi": (SentencePairs(problem="ranking", encoder="bi"), LIKENESS),
    "ranking_cross": (SentencePairs(problem="ranking"), LIKENESS),
    "tokens": (TokenClassification(casing=False), SPANS),
    "tokens_casing": (TokenClassification(casing=True), SPANS),
    "tokens_crf": (TokenClassification(crf=True, casing=True), SPANS),
    "words": (FewShotTagging(), SPANS),
    "words_euclidean": (FewShotTagging(distance="euclidean", neighbours=2, transitions="support", memory=20), SPANS),
    "image_text": (MultimodalClassification(channels=4, image_size=16), with_media(CLASSES, "image")),
    "audio_text": (
        MultimodalClassification(modality="audio", fusion="gated", channels=4, sample_rate=8000, mel_bands=20),
        with_media(CLASSES, "audio"),
    ),
    "dialogues": (TextGeneration(max_new_tokens=4), DIALOGUES),
    "preferences": (TextGeneration(preference=True, answers=False), DIALOGUES),
    "packed": (TextGeneration(packing=True, max_length=256, answers=False), DIALOGUES),
    "zero_shot": (ZeroShotClassification(descriptions={"good": ("a good film", "good work"), "bad": "bad"}), CLASSES),
    "zero_shot_entailment": (
        ZeroShotClassification(by="entailment", descriptions={"good": ("a good film", "good work"), "bad": "bad"}),
        CLASSES,
    ),
    "zero_shot_several": (ZeroShotClassification(by="entailment", multi_label=True), SETS),
    "translations": (SequenceToSequence(beams=2, max_new_tokens=8), TRANSLATIONS),
    "translations_t5": (SequenceToSequence(beams=1, max_new_tokens=8, label_smoothing=0.1), TRANSLATIONS),
    "histories": (
        Recommendation(size=8, layers=1, dropout=0.0, id_dropout=0.0, max_history=3, item_texts=ITEM_TEXTS),
        HISTORIES,
    ),
    "histories_texts": (
        Recommendation(
            encoder="two_tower",
            size=8,
            dropout=0.0,
            id_dropout=0.0,
            softmax="sampled",
            negatives=2,
            learn_texts=True,
            item_texts=ITEM_TEXTS,
        ),
        HISTORIES,
    ),
}
WITHIN_A_BATCH = ("ranking_bi", "histories_texts", "words", "words_euclidean")
"""Cases whose loss compares the examples of a batch with each other."""

BODIES: dict[str, str] = {
    **dict.fromkeys(("dialogues", "preferences", "packed"), "tiny_llama_folder"),
    "translations": "tiny_bart_folder",
    "translations_t5": "tiny_t5_folder",
    **dict.fromkeys(("causal_language", "prompts_causal"), "tiny_decoder_folder"),
    **dict.fromkeys(("zero_shot_entailment", "zero_shot_several"), "tiny_inference_folder"),
}
"""The fixture with the model of a case; the others are for the tiny BERT."""


def folder_of(case: str, request: pytest.FixtureRequest) -> Path:
    """The folder of the tiny model that fits a case of `TASK_CASES`."""
    found: Path = request.getfixturevalue(BODIES.get(case, "tiny_model_folder"))
    return found


NOT_IN_AN_ENCODER_DECODER = ("top_layers", "gradual_unfreezing", "prefix_tuning", "p_tuning_v2", "prompt_tuning")
"""Methods that have no place in an encoder-decoder; each says so."""


def applies(name: str, case: str) -> bool:
    """Whether a method has weights to learn in the model of a case."""
    task, folder = TASK_CASES[case][0], BODIES.get(case, "")
    if task.body != "encoder" and name == "head_only":
        return False
    if task.body == "classifier" and name == "prompt_tuning":  # its classifier reads the first token
        return False
    if case == "histories":  # the body reads the items once
        return name == "head_only"
    if folder in ("tiny_llama_folder", "tiny_decoder_folder", "tiny_t5_folder") and name == "bitfit":
        return False
    return not (task.body == "seq2seq" and name in NOT_IN_AN_ENCODER_DECODER)


T = TypeVar("T", bound=Task)


def build_model(
    folder: Path,
    task: T,
    examples: Sequence[Example],
    method: Method | None = None,
    max_length: int = 0,
    dropout: float | None = None,
) -> tuple[Model, T, TextEncoder]:
    """A tiny model with its prepared task, the method applied."""
    backbone = load(locate(str(folder)), dropout=dropout, kind=task.body)
    prepared = task.prepared(examples, backbone.tokenizer)
    model = Model(backbone, prepared)
    model.rule = (method or Full()).apply(model)
    return model, prepared, TextEncoder.of(backbone.tokenizer, max_length or backbone.max_length, backbone.prefix)


def torch_model(predictor: Predictor) -> Model:
    """The model of a predictor that answers with torch."""
    assert isinstance(predictor.model, Model)
    return predictor.model


def build_learner(
    model: Model,
    objective: Objective | None = None,
    *,
    low: bool = False,
    optimizer: OptimizerSettings | None = None,
    clip: float = 0.0,
) -> Learner:
    """An optimiser over a model's learning weights."""
    weights = MasterWeights(model, enabled=low)
    moved = Optimizer(model, weights.learning(), optimizer or AdamW(), Grouping())
    return Learner(model, weights, moved, objective or TaskLoss(), clip, seed=1, total=20)


def build_material(task: Task, encoder: TextEncoder, examples: Sequence[Example]) -> Material:
    """Encoded examples, arranged as the loss wants them and ready to be batched; settled by the examples themselves."""
    learning = [replace(one, subgroup="ab"[place % 2]) for place, one in enumerate(task.arranged(examples, 1))]
    encoded, memory = ([task.encode(example, encoder) for example in given] for given in (learning, examples))
    return Material(task, learning, encoded, encoder.tokenizer.pad_token_id, memory, encoder.special_ids)


def run_steps(
    learner: Learner, material: Material, *, steps: int, rate: float, batch_size: int = 4, accumulate: int = 1
) -> list[Step]:
    """Train for a number of steps at a constant rate."""
    epochs = steps
    plan = StepPlan(material.encoded, epochs, batch_size, accumulate, 4096, seed=3)
    made = train(
        learner, material, plan.steps(), Scheduled(rate, Schedule("constant", 0.0), plan.total), Accelerator(cpu=True)
    )
    return [step for step, _ in zip(made, range(steps), strict=False)]


def write_examples(folder: Path, count: int = 48) -> dict[str, str]:
    """CSV files of three splits with two classes that a tiny model can learn, as the recipe's `data`."""
    texts = ["{} film number {}", "a {} day in week {}", "the work was {} in {}", "{} and {} people"]
    places = {}
    for split, size in (("train", count), ("validation", count // 3), ("test", count // 3)):
        rows = []
        for number in range(size):
            word = ("good", "bad")[number % 2]
            rows.append(f"{texts[number % 4].format(word, f'{split} {number}')},{word}")
        path = folder / f"{split}.csv"
        path.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
        places[split] = str(path)
    return places


def write_sample(folder: Path, given: Sample) -> None:
    """The files of a sample, with what they name: pictures and recordings."""
    for name, content in given.files.items():
        (folder / name).write_text(content, encoding="utf-8")
    for number, name in enumerate(given.media):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".png":
            write_picture(path, ("red", "blue")[number % 2], seed=number)
        else:
            write_tone(path, 300 + 100 * number)


def write_recipe(folder: Path, **changes: object) -> Path:
    """A recipe that runs in seconds with the model at `folder`/model; sections are replaced by `changes`."""
    settings: dict[str, object] = {
        "task": {"name": "sequence_classification"},
        "data": write_examples(folder) if "data" not in changes else {},
        "model": {"name": str(folder / "model")},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.003},
        "evaluation": {"resamples": 100},
        "trackers": [],
    }
    for key, value in changes.items():
        given = settings.get(key)
        both = isinstance(given, dict) and isinstance(value, dict) and key == "training"
        settings[key] = {**given, **value} if both else value  # type: ignore[dict-item]
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@contextmanager
def without_its_last_line(path: Path) -> Iterator[None]:
    """A file that lacks its last line for a while."""
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rstrip().rindex(b"\n") + 1])
    try:
        yield
    finally:
        path.write_bytes(whole)
