"""docs/tasks.md and docs/methods.md: a row per member, from the code, its docstrings and a model of known size."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tunesmith.components import settings_of
from tunesmith.documentation import cell, paragraph_of, summary_of
from tunesmith.errors import RecipeError
from tunesmith.methods import METHODS, Method
from tunesmith.models.backbone import Backbone
from tunesmith.models.model import Model
from tunesmith.recipes import read_recipe
from tunesmith.tasks import TASKS, SequenceClassification

_SOURCE = re.compile(r" \(([^()]*\b(?:19|20)\d\d\b[^()]*)\)")
"""A paper in brackets, such as "(Hu et al. 2022, sec. 4)"."""
_BODIES = {
    "encoder": "encoder",
    "masked_lm": "masked language model",
    "causal_lm": "causal language model",
    "seq2seq": "encoder-decoder",
    "classifier": "classifier of pairs of texts",
}


def tasks_page(examples: Path) -> str:
    """docs/tasks.md: what each task does, needs and measures, and which recipes in a folder show it."""
    recipes = recipes_by_task(examples)
    lines = [
        "# Tasks",
        "",
        "What a model can be trained for; settings are in [components.md](components.md). Written by",
        "`tunesmith components --markdown tasks`; a test fails when page and code differ.",
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
