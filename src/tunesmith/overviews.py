"""docs/tasks.md, docs/methods.md and docs/data.md: from the code, its docstrings and a model of known size."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tunesmith.components import settings_of
from tunesmith.data import dialogues, histories, items, ratings
from tunesmith.data.columns import NAMES
from tunesmith.data.samples import SAMPLES
from tunesmith.data.source import FORMATS
from tunesmith.documentation import cell, one_line, paragraph_of, summary_of
from tunesmith.errors import RecipeError
from tunesmith.methods import METHODS, Method
from tunesmith.models.backbone import Backbone
from tunesmith.models.model import Model
from tunesmith.recipes import read_recipe
from tunesmith.tasks import TASKS, SequenceClassification, Task

_SOURCE = re.compile(r" \(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
"""A paper in brackets, such as "(Hu et al. 2022, sec. 4)"."""
_BODIES = {
    "encoder": "encoder",
    "masked_lm": "masked language model",
    "causal_lm": "causal language model",
    "seq2seq": "encoder-decoder",
    "classifier": "classifier of pairs of texts",
}
_INPUTS = {
    "text": "a text",
    "second": "a second text",
    "marks": "two entities in it",
    "turns": "the messages before the answer",
    "history": "the items that a user had, the oldest first",
    "image": "a picture",
    "audio": "a recording",
}
_LABELS = {
    "class": "its label a class",
    "number": "its label a number",
    "classes": "its label several classes or none",
    "spans": "its label the spans in it, each with a type",
    "text": "its label the text to be written",
    "answers": "its label the places of the answers",
    "item": "its label the item that came next",
    "": "and there is no label",
}
_ROLES = {
    "text": ("text", "the text; the first one of a pair; the passage of a question"),
    "second": ("second", "the second text; the question"),
    "label": ("label", "a class, or several"),
    "number": ("label", "a number"),
    "spans": ("label", "spans"),
    "words": ("text", "a list of words, for tasks of spans"),
    "tags": ("label", "a list with a tag for each word"),
    "written": ("label", "a text to write"),
    "answers": ("label", "answers to a question"),
    "image": ("image", "the path of a picture"),
    "audio": ("audio", "the path of a recording"),
    "id": ("id", "an id; without one it is the file's name and the line"),
}
_FURTHER = (
    ("where the words of a text are, a list of [start, end]", "", NAMES["ranges"]),
    ("of dialogues: the messages", "text", dialogues.LISTS),
    ("of dialogues: a single question", "text", dialogues.QUESTIONS),
    ("of dialogues: its answer", "label", dialogues.ANSWERS),
    ("of histories: the items", "text", histories.HISTORY),
    ("of histories: the next item", "label", histories.TARGET),
    ("of histories: the user", "group", histories.USER),
    ("of ratings: the user", "header", ratings.USER),
    ("of ratings: the item", "header", items.ITEM),
    ("of ratings: the time", "header", ratings.TIME),
    ("of items: the id", "", items.ITEM),
    ("of items: the title", "", items.TITLE),
    ("of items: what is read with the title", "", items.DETAILS),
)

_DATA_HEAD = """# How data must look

Name your files in the recipe's section `data`: `train`, and `validation` and `test` if you have them. For each of the
two that you do not give, a tenth of `train` is held out; `none` means that there is none. Paths are relative to the
folder you are in. Before any training `tunesmith check recipe.yaml` says what was read from which columns, and what is
odd in it. All settings of `data` are in [components.md](components.md#data). This page is written by
`tunesmith components --markdown data`; tests read its rows back, and fail when page and code differ.
"""
_COLUMNS_HEAD = """
## Names of columns

A column is found by its name, never by its place: the first name of the list that the file has is taken (capitals do
not matter), and the report says which it was. Where your column has another name, or the wrong one was taken, name
yours in the setting. A file without a line of names gets them from `data.header`.

| what | setting | names that are looked for |
|---|---|---|"""
_FORMATS_HEAD = """
## Formats

| `data.format` | what it reads |
|---|---|"""
_PACKED = """
A file of text may be compressed as a whole (`train.csv.gz`, `train.csv.xz`). Of a zip with several files one is named
behind a `!` (`set.zip!train.csv`), and where that is JSON, its key behind another (`set.zip!set.json!train`). A data
set of the hub is `hub:owner/name!train` or `hub:owner/name:configuration!train`; its own code is never run. Text is
read as UTF-8, or in the encoding that `data.encoding` names, such as `gb18030`; a line that is no such text is an error
that says which."""


def tasks_page(examples: Path) -> str:
    """docs/tasks.md: what each task does, needs and measures, and which recipes in a folder show it."""
    recipes = recipes_by_task(examples)
    lines = [
        "# Tasks",
        "",
        "What a model can be trained for; settings are in [components.md](components.md), rows of files for each task",
        "in [data.md](data.md). Written by `tunesmith components --markdown tasks`; a test fails when page and code",
        "differ.",
        "",
        "| task | what it does | body | examples | metrics (the main one first) | long texts | recipes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, kind in TASKS.items():
        shown = ", ".join(f"[{path.stem}](../examples/{path.name})" for path in recipes.get(name, ()))
        facts = [paragraph_of(kind, title) for title in ("Needs", "Metrics", "Long texts")]
        needs = facts[0].partition(". ")[0]
        lines.append(_row(f"`{name}`", summary_of(kind), _BODIES[kind().body], needs, *facts[1:], shown))
    return "\n".join(lines) + "\n"


def recipes_by_task(folder: Path) -> dict[str, list[Path]]:
    """The recipes and studies of a folder, by the name of their task."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*.yaml")):
        recipe = read_recipe(path)
        inner = recipe.get("recipe", recipe)
        task = inner.get("task") if isinstance(inner, Mapping) else None
        found[str(task.get("name") if isinstance(task, Mapping) else task)].append(path)
    return found


def data_page() -> str:
    """docs/data.md: rows for each task, the names of columns that are looked for, and the formats of files."""
    setting = "`data.{}`".format
    lines = [
        _DATA_HEAD,
        f"Rows for {', '.join(f'[{name}](#{name})' for name in SAMPLES)};",
        "then [names of columns](#names-of-columns) and [formats](#formats).",
        *(line for name in SAMPLES for line in _rows_of(name, TASKS[name]())),
        _COLUMNS_HEAD,
        *(_row(what, setting(given), _codes(NAMES[role])) for role, (given, what) in _ROLES.items()),
        *(_row(what, setting(given) if given else "", _codes(names)) for what, given, names in _FURTHER),
        _FORMATS_HEAD,
        *(_row(f"`{name}`", said) for name, said in FORMATS.items()),
        _PACKED,
    ]
    return "\n".join(lines) + "\n"


def _rows_of(name: str, task: Task) -> Iterator[str]:
    """The section of a task: what it reads, and its samples."""
    inputs = " and ".join(_INPUTS[part] for part in task.inputs)
    needs = paragraph_of(type(task), "Needs").partition(". ")[0].rstrip(".")
    yield from ("", f"## {name}", "")
    yield f"An example is {inputs}, {_LABELS[task.label_kind]}. Needed: {needs}."
    for sample in SAMPLES[name]:
        yield from ("", f"**{sample.title}**", "", "```yaml")
        for section, settings in {"task": {}, **sample.recipe}.items():
            yield f"{section}: {one_line({'name': name, **settings} if section == 'task' else settings)}"
        yield "```"
        for file, content in sample.files.items():
            kind = {".csv": "csv", ".json": "json", ".jsonl": "json"}.get(PurePath(file).suffix, "text")
            yield from ("", f"`{file}`:", "", f"```{kind}", content.rstrip("\n"), "```")


def _codes(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def methods_page() -> str:
    """docs/methods.md: what each method moves, how much that is in a model of known size, and what becomes of it."""
    lines = [
        "# Methods",
        "",
        "Which weights learn; settings are explained in [components.md](components.md). The parameters are those of",
        "MiniLM-L6 (22.6 million) with the default settings, the task's head not counted. What can be merged exactly",
        "leaves a plain model with the same answers; what cannot stays in the artifact. The learning rate is the",
        "method's own: it is used where the recipe says none (`training.learning_rate: null`). Written by",
        "`tunesmith components --markdown methods`; a test fails when page and code differ.",
        "",
        "| method | what learns | source | parameters | share | merged | learning rate | default settings | refused |",
        "|---|---|---|---:|---:|---|---:|---|---|",
    ]
    body = random_minilm()
    for name, kind in METHODS.items():
        method = kind()
        effect = effect_of(method, body)
        summary = summary_of(kind)
        source = _SOURCE.search(summary)
        settings = ", ".join(f"{key}={_plain(value)}" for key, value in settings_of(method).items())
        lines.append(
            _row(
                f"`{name}`",
                _SOURCE.sub("", summary).rstrip("."),
                source[1] if source else "",
                f"{effect.learning:,}",
                f"{100 * effect.learning / effect.parameters:.2f} %",
                effect.merged,
                f"{method.learning_rate:g}" if effect.is_possible else "",
                settings,
                paragraph_of(kind, "Refused"),
            )
        )
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Effect:
    """What a method does to a body: how many of its parameters learn, and whether what it adds can be merged.

    `is_possible` is false for a method that refuses a task with a head.
    """

    learning: int
    parameters: int
    merged: str
    is_possible: bool = True


def effect_of(method: Method, body: BertModel) -> Effect:
    """Apply a method to a copy of a body, count, and merge it again; one that is refused moves nothing."""
    task = SequenceClassification(labels=("no", "yes"))
    words = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words)  # type: ignore[no-untyped-call]
    width = int(body.config.hidden_size)
    model = Model(Backbone(copy.deepcopy(body), tokenizer, frozenset(), width, 512, "mean", "", "MiniLM-L6"), task)
    parameters = sum(parameter.numel() for parameter in model.body.parameters())
    try:
        method.apply(model)
    except RecipeError:
        return Effect(0, parameters, "nothing is added", is_possible=False)
    learning = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name not in model.lacking and not name.endswith("ranknum")
    )
    if set(model.state_dict()) == model.plain:
        return Effect(learning, parameters, "nothing is added")
    method.merge(model)
    return Effect(learning, parameters, "yes" if set(model.state_dict()) == model.plain else "no")


def random_minilm() -> BertModel:
    """A body of MiniLM-L6's sizes with random weights, which do not matter to what is counted."""
    torch.manual_seed(0)
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    return BertModel(config, add_pooling_layer=False)


def _row(*fields: str) -> str:
    return f"| {' | '.join(cell(field.rstrip('.')) or '–' for field in fields)} |"


def _plain(value: object) -> str:
    return str(list(value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
