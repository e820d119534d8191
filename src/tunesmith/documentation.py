"""What the code says of itself: the JSON schema of recipes, commented recipes, and the list of components.

All of it is read from the dataclasses and their docstrings, so it cannot fall behind them.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import TypeAdapter

from tunesmith.advice import AILMENTS
from tunesmith.augmentation import AUGMENTERS
from tunesmith.augmentation.rewriters import PARAPHRASERS, TRANSLATORS
from tunesmith.data.samples import SAMPLES
from tunesmith.errors import RecipeError, nearest
from tunesmith.experiment import FAMILIES, LISTS, SECTIONS, Experiment
from tunesmith.guarding import GUARDS
from tunesmith.labelling import LABEL_MODELS
from tunesmith.selection import QUERY_STRATEGIES
from tunesmith.selection.stopping import STOPPING_RULES
from tunesmith.semi_supervision import SEMI_SUPERVISION
from tunesmith.study.plan import Study
from tunesmith.study.search import SAMPLERS, Search

LEARNT = {
    *("temperature", "mean", "scale", "low", "high", "end", "language_token", "ending", "lacked"),
    *("popularity", "item_texts"),
    *("limit", "gaussians", "profiles", "limits", "coverage", "bound"),
}
"""Settings that training fills in where their description says so (`learnt_by`)."""

OF_VERBS: Mapping[str, Mapping[str, type]] = {
    "query_strategy": QUERY_STRATEGIES,
    "stopping_rule": STOPPING_RULES,
    "label_model": LABEL_MODELS,
    "ailment": AILMENTS,
    "sampler": SAMPLERS,
    "guard": GUARDS,
}
"""Families of which a verb or a study takes a member (`active next --strategy`, `guard fit`), and a recipe none."""

OF_AUGMENTERS: Mapping[str, Mapping[str, type]] = {"translators": TRANSLATORS, "paraphrasers": PARAPHRASERS}
"""Families of which an augmenter takes a member (`by` of back_translate and of paraphrase)."""

_EVERY_LAYER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FITTING: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "few_shot_classification": {
        "data": {"per_class": 8, "validation": "none"},
        "training": {"epochs": 1, "batch_size": 16, "learning_rate": 2e-5},
    },
    "few_shot_tagging": {"data": {"shots": 5, "validation": "none"}, "method": {"name": "none"}},
    "zero_shot_classification": {"data": {"train": "none", "validation": "none"}, "method": {"name": "none"}},
    "prompt_classification": {
        "model": {"name": "smollm2-135m"},
        "method": {"name": "lora"},
        "training": {"epochs": 1, "learning_rate": 3e-4},
    },
    "text_generation": {
        "task": {"max_length": 512, "max_new_tokens": 64},
        "model": {"name": "smollm2-135m"},
        "method": {"name": "lora", "rank": 16, "targets": _EVERY_LAYER},
        "training": {"epochs": 2, "batch_size": 16, "max_tokens": 2048, "learning_rate": 2e-4, "schedule": "cosine"},
    },
    "causal_language_modeling": {
        "task": {"join": True, "max_length": 256},
        "model": {"name": "smollm2-135m"},
        "training": {"epochs": 2, "batch_size": 16, "learning_rate": 5e-5},
    },
    "masked_language_modeling": {
        "task": {"join": True, "max_length": 128},
        "training": {"epochs": 40, "learning_rate": 3e-4},
    },
    "sequence_to_sequence": {
        "task": {"label_smoothing": 0.1},
        "model": {"name": "scratch", "dropout": 0.3},
        "optimizer": {"name": "adamw", "beta2": 0.98},
        "training": {"epochs": 40, "batch_size": 256, "max_tokens": 16384, "learning_rate": 2e-3},
    },
    "recommendation": {
        "method": {"name": "head_only"},
        "training": {"epochs": 30, "learning_rate": 3e-3, "weight_decay": 0.1},
    },
    "multimodal_classification": {
        "training": {"epochs": 20, "batch_size": 64, "learning_rate": 2e-4, "head_multiplier": 5.0}
    },
    "question_answering": {
        "task": {"max_length": 384},
        "training": {"batch_size": 16, "learning_rate": 1e-4, "head_multiplier": 10.0},
    },
    "relation_classification": {
        "training": {"epochs": 5, "batch_size": 16, "learning_rate": 1e-4, "head_multiplier": 5.0}
    },
}
"""Task -> section -> where the defaults do not fit it: as the recipes in examples/, which were measured, have it."""


ORDER = (
    *("task", "data", "model", "method", "objective", "optimizer", "averaging"),
    *("training", "augmentation", "evaluation"),
)
"""The sections of a new recipe, in the order in which they stand there."""


def summary_of(kind: type) -> str:
    """The first sentence of a class's docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def attributes_of(kind: type) -> dict[str, str]:
    """The description of each field, from the "Attributes:" part of the docstring."""
    _, _, block = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in block.splitlines():
        start = re.match(r"    ([\w, ]+): (.*)", line)
        if start:
            names = [name.strip() for name in start[1].split(",")]
            found.update(dict.fromkeys(names, start[2]))
        elif names and line.startswith("     "):
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found


def paragraph_of(kind: type, title: str) -> str:
    """The paragraph of a class's docstring that begins with a title, such as "Needs: ", on one line; or nothing."""
    for paragraph in (inspect.getdoc(kind) or "").split("\n\n"):
        if paragraph.startswith(f"{title}: "):
            return paragraph.removeprefix(f"{title}: ").replace("\n", " ")
    return ""


def learnt_by(kind: type) -> frozenset[str]:
    """The settings of a class that training fills in; what is written for people leaves them out or sets them apart."""
    texts = attributes_of(kind)
    ways = ("learnt", "fitted", "found", "read from")
    return frozenset(name for name in LEARNT & set(texts) if any(way in texts[name] for way in ways))


def components() -> dict[str, dict[str, dict[str, Any]]]:
    """Family -> member -> its summary and its settings with defaults and descriptions."""
    families = {**FAMILIES, **LISTS, **OF_AUGMENTERS, **OF_VERBS}
    return {family: {name: _describe(kind) for name, kind in members.items()} for family, members in families.items()}


def components_page() -> str:
    """docs/components.md: the members of each family, and every setting that a recipe can have."""
    lines = [
        "# Components and settings",
        "",
        "What a recipe can say. Written by `tunesmith components --markdown` from the docstrings of the code; a test",
        "fails when the two differ.",
    ]
    for family, members in components().items():
        lines += ["", f"## {family}", "", "| name | what it does |", "|---|---|"]
        lines += [f"| `{name}` | {cell(member['summary'])} |" for name, member in members.items()]
        for name, member in members.items():
            lines += _settings_table(f"### {name}", member["settings"])
    for section, kind in {**SECTIONS, "study": Study, "search": Search}.items():
        described = _describe(kind)
        lines += _settings_table(f"## {section}\n\n{described['summary']}", described["settings"])
    return "\n".join(lines) + "\n"


def _settings_table(heading: str, settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| `{name}` | `{cell(one_line(facts['default']))}` | {cell(facts['description'])} |"
        for name, facts in settings.items()
        if not facts["learnt"]
    ]
    table = ["", heading, "", "| setting | default | meaning |", "|---|---|---|", *rows] if rows else []
    filled = ", ".join(f"`{name}`" for name, facts in settings.items() if facts["learnt"])
    return [*table, "", f"Found by training or fitting, and kept: {filled}."] if filled else table


def cell(text: str) -> str:
    """A text as it may stand in a field of a Markdown table."""
    return text.replace("|", "\\|")


def one_line(value: Any) -> str:
    """A value as it would stand in a recipe, on one line."""
    style = '"' if isinstance(value, str) and "\n" in value else None
    dumped = yaml.safe_dump(
        value, allow_unicode=True, default_flow_style=True, default_style=style, sort_keys=False, width=math.inf
    )
    return dumped.split("\n")[0].strip()


def _describe(kind: type) -> dict[str, Any]:
    texts = attributes_of(kind)
    learnt = learnt_by(kind)
    settings = {
        item.name: {
            "default": default_of(item),
            "type": str(item.type),
            "description": texts.get(item.name, ""),
            "learnt": item.name in learnt,
        }
        for item in dataclasses.fields(kind)
    }
    return {"summary": summary_of(kind), "settings": settings}


def default_of(item: dataclasses.Field[Any]) -> Any:
    """The default of a field as a plain value; None where the field must be given."""
    if item.default is not dataclasses.MISSING:
        value = item.default
    else:
        value = item.default_factory() if item.default_factory is not dataclasses.MISSING else None
    return list(value) if isinstance(value, tuple) else value


def json_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, for editors."""
    texts = attributes_of(Experiment)
    properties: dict[str, Any] = {
        "name": {"type": "string"},
        "seed": {"type": "integer"},
        "trackers": {"type": "array", "items": {"enum": ["tensorboard", "wandb", "mlflow"]}},
    }
    for section, kind in SECTIONS.items():
        properties[section] = _object_schema(kind)
    for family, members in FAMILIES.items():
        properties[family] = {"anyOf": _forms(members)}
    for family, members in LISTS.items():
        properties[family] = {"type": "array", "items": {"anyOf": _forms(members)}}
    for name, value in properties.items():
        value["description"] = texts.get(name, "")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tunesmith recipe",
        "type": "object",
        "properties": properties,
        "required": ["task", "data"],
        "additionalProperties": False,
    }


def _forms(members: Mapping[str, type]) -> list[dict[str, Any]]:
    """A member by its name, or as an object with its settings."""
    forms: list[dict[str, Any]] = [{"enum": list(members)}]
    for name, kind in members.items():
        form = _object_schema(kind)
        form["properties"] = {"name": {"const": name}, **form["properties"]}
        forms.append({**form, "required": ["name", *form.get("required", [])]})
    return forms


def _object_schema(kind: type) -> dict[str, Any]:
    schema = TypeAdapter(kind).json_schema()
    texts = attributes_of(kind)
    for name, value in schema.get("properties", {}).items():
        value["description"] = texts.get(name, "")
    return {
        "type": "object",
        "title": kind.__name__,
        **schema,
        "properties": schema.get("properties", {}),
        "additionalProperties": False,
    }


def new_recipe(task: str) -> str:
    """A recipe for a task with every setting, its default and what it means.

    Raises:
        RecipeError: there is no such task.
    """
    tasks = FAMILIES["task"]
    if task not in tasks:
        raise RecipeError(
            f"Unknown task '{task}'.{nearest(task, tasks)}",
            where="tunesmith new",
            to_do=f"Use one of {', '.join(tasks)}.",
        )
    given = starting(task)
    lines = [
        "# A Tunesmith recipe: the whole experiment. Every key but task and data may be left out.",
        "# Check it with 'tunesmith check', run it with 'tunesmith run'.",
        "name: my-experiment",
        "seed: 13  # the source of all randomness",
        "",
    ]
    usual = {"task": task, "method": "full", "objective": "task", "optimizer": "adamw", "averaging": "none"}
    for key in ORDER:
        values = given.get(key, {})
        name = values.get("name", usual.get(key, ""))
        kind = FAMILIES[key][name] if key in FAMILIES else SECTIONS[key]
        lines += [f"# {summary_of(kind)}", *(_rows_of(task) if key == "data" else ()), f"{key}:"]
        if key in FAMILIES:
            lines.append(f"  name: {name}  # one of {', '.join(FAMILIES[key])}")
        lines += [*_settings(kind, values), ""]
    lines.append(f"augmenters: []  # any of {', '.join(AUGMENTERS)}; see 'tunesmith augment'")
    lines.append(f"compress: []  # any of {', '.join(LISTS['compress'])}; see docs/compression.md")
    members = ", ".join(SEMI_SUPERVISION)
    lines.append(
        f"semi_supervision: none  # one of {members}; for the texts of data.unlabelled, see docs/unlabelled.md"
    )
    lines.append("trackers: [tensorboard]  # any of tensorboard, wandb, mlflow")
    return "\n".join(lines) + "\n"


def starting(task: str) -> dict[str, dict[str, Any]]:
    """What a new recipe for a task says beyond the defaults: what its sample needs, and what fits the task."""
    sections: tuple[Mapping[str, Mapping[str, Any]], ...] = (SAMPLES[task][0].recipe, FITTING.get(task, {}))
    given: dict[str, dict[str, Any]] = {}
    for section, settings in (item for part in sections for item in part.items()):
        given[section] = {**given.get(section, {}), **settings}
    data = given["data"]
    return {**given, "data": {"test": data["train"].replace("train", "test"), **data}}


def _rows_of(task: str) -> list[str]:
    """The first rows of the files of a task's sample, as comments."""
    files = SAMPLES[task][0].beginnings()
    shown = [f"#   {row}" for rows in files.values() for row in rows]
    return [
        f"# {' and '.join(files)} may begin so (more forms in docs/data.md: tunesmith components --markdown data):",
        *shown,
    ]


def _settings(kind: type, given: Mapping[str, Any]) -> list[str]:
    texts = attributes_of(kind)
    learnt = learnt_by(kind)
    lines = []
    for item in dataclasses.fields(kind):
        if item.name in learnt:
            continue
        value = given.get(item.name, default_of(item))
        lines.append(f"  {item.name}: {one_line(value)}  # {texts.get(item.name, '')}".rstrip(" #"))
    return lines
