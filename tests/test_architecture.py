"""What can be counted about the house rules of docs/architecture.md, counted with nothing but `ast`.

Each rule of tests/architecture_rules.py is shown to work on small wrong and right snippets before it is let loose on
the package.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.architecture_rules import (
    LINES_PER_FILE,
    LINES_PER_FUNCTION,
    LINES_WISHED_PER_FUNCTION,
    SHARE_OF_LONG_FUNCTIONS,
    Rule,
    Source,
    classes_do_not_inherit,
    data_needs_no_torch,
    errors_are_caught_by_name,
    files_are_short,
    functions_are_short,
    functions_take_few_parameters,
    imports_are_absolute,
    imports_stand_on_top,
    length_of,
    names_say_something,
    nothing_is_global,
    nothing_is_printed,
    nothing_is_unpickled,
    objects_are_asked_not_their_names,
    own_objects_are_known,
    public_things_are_described,
    settings_are_named,
    the_environment_is_read_at_the_border,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tunesmith"


def _body(lines: int) -> str:
    return "def f():\n" + "    x = 1\n" * (lines - 1)


WRONG: dict[Rule, list[Source]] = {
    files_are_short: [Source.of("x = 1\n" * (LINES_PER_FILE + 1))],
    functions_are_short: [
        Source.of(_body(LINES_PER_FUNCTION + 1)),
        Source.of("class A:\n" + "".join(f"    {line}\n" for line in _body(LINES_PER_FUNCTION + 1).splitlines())),
    ],
    functions_take_few_parameters: [
        Source.of("def f(a, b, c, d, e, f, g): ..."),
        Source.of("def f(a, b, c, *, d, e, f, g): ..."),
        Source.of("class A:\n    def f(self, a, b, c, d, e, f, *g): ..."),
        Source.of("def run(a, b, c, d, e, f, g, h, i): ...", "cli.py"),
    ],
    names_say_something: [
        Source.of("", "utils.py"),
        Source.of("", "data/common/rows.py"),
        Source.of("", "models/model_manager.py"),
    ],
    settings_are_named: [Source.of("def f(**kwargs): ..."), Source.of("class A:\n    def f(self, **more): ...")],
    errors_are_caught_by_name: [
        Source.of("try:\n    f()\nexcept:\n    pass"),
        Source.of("try:\n    f()\nexcept Exception as error:\n    pass"),
        Source.of("try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
    ],
    nothing_is_printed: [Source.of("def f():\n    print(1)")],
    own_objects_are_known: [Source.of("getattr(a, 'b')"), Source.of("if hasattr(a, 'b'): pass")],
    classes_do_not_inherit: [
        Source.of("class B(A): ..."),
        Source.of("class B(torch.optim.Optimizer): ..."),
        Source.of("class B(Generic[T]): ..."),
    ],
    public_things_are_described: [
        Source.of("x = 1"),
        Source.of('"""Doc."""\nclass A: ...'),
        Source.of('"""Doc."""\ndef f(): ...'),
        Source.of('"""Doc."""\nclass A:\n    """Doc."""\n    def f(self): ...'),
    ],
    the_environment_is_read_at_the_border: [
        Source.of("import os\nx = os.environ['A']"),
        Source.of("import os\nx = os.getenv('A')"),
        Source.of("from os import environ"),
    ],
    data_needs_no_torch: [
        Source.of("import torch.nn", "data/splits.py"),
        Source.of("from transformers import AutoModel", "scoring/entities.py"),
    ],
    imports_are_absolute: [Source.of("from . import a"), Source.of("from ..data import records")],
    imports_stand_on_top: [
        Source.of("def f():\n    import torch"),
        Source.of("class A:\n    def f(self):\n        from tunesmith.data import records"),
    ],
    nothing_is_unpickled: [
        Source.of("import pickle"),
        Source.of("from joblib import load"),
        Source.of("import torch\nx = torch.load('a.pt', weights_only=True)"),
        Source.of("x = AutoModel.from_pretrained('a', trust_remote_code=True)"),
        Source.of("x = eval('1')"),
    ],
    nothing_is_global: [Source.of("def f():\n    global x\n    x = 1")],
    objects_are_asked_not_their_names: [Source.of("a = method == 'lora'"), Source.of("a = 'crf' == settings.task")],
}

RIGHT = """
'''A module.'''

import os
from typing import Protocol

import torch
from torch import nn

from tunesmith.errors import TunesmithError, import_extra


class SpecialError(TunesmithError):
    '''An error.'''


class Shape(Protocol[T]):
    '''A contract.'''


class Head(nn.Module):
    '''A layer.'''

    def __init__(self, a, b, c, d, e, f):
        self.cores = os.cpu_count()

    def forward(self, x):
        '''Compute.'''
        try:
            return import_extra("wandb", "tracking").run(x)
        except (ValueError, OSError):
            return method.apply(x)

    def _inner(self, **more): ...


class Straight(torch.autograd.Function):
    '''A gradient of our own.'''


class _Private:
    def anything(self): ...


def _within(): ...
"""


@pytest.mark.parametrize(
    ("rule", "source"), [(rule, source) for rule, sources in WRONG.items() for source in sources], ids=lambda _: ""
)
def test_each_rule_sees_what_it_forbids(rule: Rule, source: Source) -> None:
    assert list(rule(source)), f"{rule.__name__} accepted:\n{source.text[:200]}"


@pytest.mark.parametrize("rule", WRONG, ids=lambda rule: rule.__name__)
def test_each_rule_accepts_code_of_the_house(rule: Rule) -> None:
    assert not list(rule(Source.of(RIGHT)))


@pytest.mark.parametrize("rule", WRONG, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    offences = [f"src/tunesmith/{source.place}: {what}" for source in package() for what in rule(source)]
    assert not offences, f"{rule.__name__}:\n" + "\n".join(offences)


def test_exceptions_are_granted_by_place_only() -> None:
    assert not list(own_objects_are_known(Source.of("getattr(a, 'b')", "models/backbone.py")))
    assert not list(the_environment_is_read_at_the_border(Source.of("import os\nos.environ", "data/catalogue.py")))
    assert not list(functions_take_few_parameters(Source.of("def run(a, b, c, d, e, f, g, h): ...", "cli.py")))
    assert not list(data_needs_no_torch(Source.of("import torch", "tasks/crf.py")))


def test_few_functions_are_longer_than_one_screen() -> None:
    lengths = {f"{s.place}:{node.name}": length_of(node) for s in package() for node, _, _ in s.functions()}
    long = {name: length for name, length in lengths.items() if length > LINES_WISHED_PER_FUNCTION}
    assert len(long) <= SHARE_OF_LONG_FUNCTIONS * len(lengths), f"{len(long)} of {len(lengths)}: {long}"


def test_the_page_lists_every_file_and_no_other() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = files_drawn(page.partition("## The rooms")[2].split("```")[1])
    real = {s.place for s in package() if not s.place.endswith("__init__.py")}
    assert listed == real, f"not listed: {sorted(real - listed)}; listed, but not there: {sorted(listed - real)}"


def test_the_page_draws_the_layers_that_are_checked() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = page.partition("## The layers")[2].split("```")[1].split("\n")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    checked = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    assert [line.split("  ")[0].strip() for line in drawn if line.strip()] == checked


def files_drawn(tree: str) -> set[str]:
    """The Python files of a drawn tree: indented names, folders end in a slash; text after two blanks is a remark."""
    folders: dict[int, str] = {}
    files = set()
    for line in tree.splitlines():
        indent = len(line) - len(line.lstrip())
        name = line.strip().split("  ")[0]
        parent = next((folders[i] for i in sorted(folders, reverse=True) if i < indent), "")
        if name.endswith("/"):
            folders = {i: folder for i, folder in folders.items() if i < indent} | {
                indent: "" if name == "src/tunesmith/" else parent + name
            }
        files |= {parent + file for file in name.split() if file.endswith(".py") and file != "__init__.py"}
    return files


def test_files_drawn_reads_nested_folders() -> None:
    tree = "src/tunesmith/\n  cli.py   verbs\n  data/   text\n    rows.py more.py   in b.py\n  top.py\n"
    assert files_drawn(tree) == {"cli.py", "data/rows.py", "data/more.py", "top.py"}


@cache
def package() -> list[Source]:
    """Every Python file of the package, read once for all rules."""
    paths = sorted(PACKAGE.rglob("*.py"))
    assert paths, f"no Python file under {PACKAGE}"
    return [Source.of(p.read_text(encoding="utf-8"), p.relative_to(PACKAGE).as_posix()) for p in paths]
