"""The house rules that can be counted: a rule takes one parsed file and yields a complaint per offence."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

LINES_PER_FILE = 350
LINES_PER_FUNCTION = 60
LINES_WISHED_PER_FUNCTION = 40
SHARE_OF_LONG_FUNCTIONS = 0.03
PARAMETERS = 6
PARAMETERS_OF_VERBS = 8
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
ROOTS_OF_INHERITANCE = {"Sequence", "nn.Module", "torch.autograd.Function", "Protocol", "Exception"}
WITHOUT_TORCH = ("access/", "data/", "scoring/")
MAY_READ_ENVIRONMENT = {
    "data/catalogue.py",
    "models/catalogue.py",
    "cli.py",
    "cli_service.py",
}  # the last sets what Ray reads
READ_BY_RUNNING_CODE = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CALLS_THAT_RUN_WHAT_IS_READ = {
    *("eval", "exec", "torch.load", "numpy.load", "np.load"),
    *("yaml.load", "yaml.full_load", "yaml.unsafe_load"),
}
SETTINGS_THAT_LET_CODE_IN = {("trust_remote_code", True), ("weights_only", False), ("allow_pickle", True)}
MAY_ADAPT_FOREIGN_OBJECTS = {"models/anatomy.py", "models/backbone.py", "data/hub.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A Python file: its place in the package ("tasks/crf.py"), its text and its tree."""

    place: str
    text: str
    tree: ast.Module

    @classmethod
    def of(cls, text: str, place: str = "tasks/example.py") -> Source:
        return cls(place, text, ast.parse(text))

    @property
    def is_command_line(self) -> bool:
        return re.fullmatch(r"cli\w*\.py", self.place) is not None

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))

    def functions(self) -> list[tuple[Function, bool, bool]]:
        """Each function, whether it is a method, and whether it can be called from other files by a public name."""
        return list(_functions(self.tree, in_class=False, public=True))


def _functions(parent: ast.AST, *, in_class: bool, public: bool) -> Iterator[tuple[Function, bool, bool]]:
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, in_class, public and not node.name.startswith("_")
            yield from _functions(node, in_class=False, public=False)
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, in_class=True, public=public and not node.name.startswith("_"))
        else:
            yield from _functions(node, in_class=in_class, public=public)


def length_of(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def files_are_short(source: Source) -> Iterator[str]:
    lines = source.text.count("\n")
    if lines > LINES_PER_FILE:
        yield f"{lines} lines; at most {LINES_PER_FILE}"


def functions_are_short(source: Source) -> Iterator[str]:
    for node, _, _ in source.functions():
        if length_of(node) > LINES_PER_FUNCTION:
            yield f"line {node.lineno}: {node.name} has {length_of(node)} lines; at most {LINES_PER_FUNCTION}"


def functions_take_few_parameters(source: Source) -> Iterator[str]:
    most = PARAMETERS_OF_VERBS if source.is_command_line else PARAMETERS
    for node, is_method, _ in source.functions():
        args = node.args
        names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg) if arg]
        if is_method and names[:1] in (["self"], ["cls"]):
            names = names[1:]
        if len(names) > most:
            yield f"line {node.lineno}: {node.name} takes {len(names)} parameters; at most {most}"


def names_say_something(source: Source) -> Iterator[str]:
    for part in Path(source.place).with_suffix("").parts:
        if EMPTY_NAMES & set(part.split("_")):
            yield f"'{part}' says nothing about what is inside"


def settings_are_named(source: Source) -> Iterator[str]:
    for node, _, public in source.functions():
        if public and node.args.kwarg:
            yield f"line {node.lineno}: {node.name} takes **{node.args.kwarg.arg}"


def errors_are_caught_by_name(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.ExceptHandler):
        assert isinstance(node, ast.ExceptHandler)
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught):
            yield f"line {node.lineno}: catches every error"


def nothing_is_printed(source: Source) -> Iterator[str]:
    yield from _calls(source, {"print"})


def own_objects_are_known(source: Source) -> Iterator[str]:
    if source.place not in MAY_ADAPT_FOREIGN_OBJECTS:
        yield from _calls(source, {"getattr", "hasattr"})


def _calls(source: Source, names: set[str]) -> Iterator[str]:
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in names:
            yield f"line {node.lineno}: calls {node.func.id}"


def classes_do_not_inherit(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.ClassDef):
        assert isinstance(node, ast.ClassDef)
        for base in node.bases:
            name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            if name not in ROOTS_OF_INHERITANCE and not name.endswith("Error"):
                yield f"line {node.lineno}: {node.name} inherits from {name}"


def public_things_are_described(source: Source) -> Iterator[str]:
    if not ast.get_docstring(source.tree):
        yield "the module has no docstring"
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node):
            yield f"line {node.lineno}: class {node.name} has no docstring"
    for function, _, public in source.functions():
        if public and not ast.get_docstring(function):
            yield f"line {function.lineno}: {function.name} has no docstring"


def the_environment_is_read_at_the_border(source: Source) -> Iterator[str]:
    if source.place in MAY_READ_ENVIRONMENT:
        return
    for node in source.nodes(ast.Attribute, ast.ImportFrom):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv", "os.putenv"}:
            yield f"line {node.lineno}: uses {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield f"line {node.lineno}: takes names out of os, which hides what is used"


def data_needs_no_torch(source: Source) -> Iterator[str]:
    if source.place.startswith(WITHOUT_TORCH):
        for line, module in _imported(source.tree):
            if module.partition(".")[0] in {"torch", "transformers", "accelerate", "peft"}:
                yield f"line {line}: imports {module}"


def imports_are_absolute(source: Source) -> Iterator[str]:
    for line, module in _imported(source.tree):
        if module.startswith("."):
            yield f"line {line}: imports {module} relative to itself"


def imports_stand_on_top(source: Source) -> Iterator[str]:
    # An optional package is fetched with errors.import_extra, which is a call and no import statement.
    for function, _, _ in source.functions():
        for line, module in _imported(function):
            yield f"line {line}: {function.name} imports {module}"


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")


def nothing_is_global(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.Global):
        assert isinstance(node, ast.Global)
        yield f"line {node.lineno}: changes the global {', '.join(node.names)}"


def objects_are_asked_not_their_names(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        sides = [node.left, *node.comparators]
        names = {ast.unparse(side).split(".")[-1] for side in sides if isinstance(side, ast.Name | ast.Attribute)}
        literal = any(isinstance(side, ast.Constant) and isinstance(side.value, str) for side in sides)
        if literal and names & {"task", "method", "objective"}:
            yield f"line {node.lineno}: {ast.unparse(node)}"


def nothing_is_unpickled(source: Source) -> Iterator[str]:
    for line, module in _imported(source.tree):
        if module.partition(".")[0] in READ_BY_RUNNING_CODE:
            yield f"line {line}: imports {module}"
    for node in source.nodes(ast.Call):
        assert isinstance(node, ast.Call)
        called = _plain_name(node.func)
        asked = {(one.arg, one.value.value) for one in node.keywords if isinstance(one.value, ast.Constant)}
        if called in CALLS_THAT_RUN_WHAT_IS_READ or asked & SETTINGS_THAT_LET_CODE_IN:
            yield f"line {node.lineno}: calls {called}, which can run code that was read"


def _plain_name(node: ast.expr) -> str:
    """What is called: "f" or "module.f"; what is longer is nobody's module."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return f"{node.value.id}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


Rule = Callable[[Source], Iterator[str]]
