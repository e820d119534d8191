"""A chain of compression steps as JSON, as Markdown and as a page with the trade-offs drawn."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import jinja2
import plotly.graph_objects as go
from pydantic import TypeAdapter

from tunesmith.evaluation.figures import BLUE, GREY, ORANGE, fragment, script
from tunesmith.evaluation.intervals import Comparison
from tunesmith.evaluation.page import metric_words
from tunesmith.inference.artifact import add_file
from tunesmith.trade_offs import Change, TradeOff
from tunesmith.writing import defined, written

_NONE = "–"
"""What stands for a figure that there is not."""

SHOWN = 40
"""How many changed answers the page shows of each step; the file changes.jsonl has all."""

COLUMNS = (
    "step", "verdict", "size", "of the original", "parameters", "metric", "95 % interval", "difference",
    "95 % interval of it", "changed answers", "became wrong", "became right", "one text", "times as fast",
    "95 % interval of that", "CPU for 1,000 texts", "took",
)  # fmt: skip

_CHOICE = (
    ("step",), ("verdict",), ("metric", "95 % interval"), ("difference", "95 % interval of it"),
    ("size", "of the original"), ("one text",), ("times as fast", "95 % interval of that"),
)  # fmt: skip
_REST = (
    ("step",), ("changed answers",), ("became wrong",), ("became right",), ("parameters",), ("CPU for 1,000 texts",),
    ("took",),
)  # fmt: skip
"""The page's two tables, each as wide as a laptop's screen: what a step is chosen by, and the rest."""


@dataclass(frozen=True)
class Chain:
    """What came of a chain of steps.

    Attributes:
        name: of the recipe.
        artifact, original: the folders of what was written and of what it was made of.
        metric: the task's main metric.
        validation: how many validation examples judged the steps.
        floor: the largest loss with which a step stands.
        rows: the original and every step, undone ones too.
        tested: the result and the original compared on the test examples, by metric; empty where none was answered.
        test: how many these were.
        higher_is_better: whether more of the metric is.
    """

    name: str
    artifact: str
    original: str
    metric: str
    validation: int
    floor: float | None
    rows: tuple[TradeOff, ...]
    tested: tuple[Comparison, ...] = ()
    test: int = 0
    higher_is_better: bool = True

    @property
    def last(self) -> TradeOff:
        """The row of what is served."""
        return [row for row in self.rows if row.stands][-1]

    @property
    def parameters(self) -> int:
        """How many parameters what is served has; another form of a model has as many as the model."""
        return [row.parameters for row in self.rows if row.stands and row.parameters][-1]

    def plain(self) -> dict[str, object]:
        """All of it as plain values but the changed answers, of which there are counts; what is no number is null."""
        rows = []
        for row in self.rows:
            kept = {key: value for key, value in asdict(row).items() if key != "changes"}
            rows.append(kept | {"changed": len(row.changes), "became_wrong": row.harmed, "became_right": row.mended})
        told = asdict(self) | {"rows": rows}
        plain: dict[str, object] = defined(told)  # type: ignore[assignment]
        return plain

    def notes(self) -> tuple[str, ...]:
        """What a reader should know, in sentences."""
        first, last = self.rows[0], self.last
        said = [said_of(self)]
        said += [f"{row.name}: {line}" for row in self.rows[1:] for line in (row.why, *row.notes)]
        if last is first:
            said.append("No step stood, so the original is served as it is.")
        said.append(
            "Validation chose the weights after each training and which steps stand, so that its figures flatter; the "
            "test examples were answered once, at the end."
            if self.tested
            else "Validation chose the weights after each training and which steps stand, so that its figures flatter; "
            "no test example was answered."
        )
        return tuple(said)


def said_of(chain: Chain) -> str:
    """The result in a sentence."""
    first, last = chain.rows[0], chain.last
    kept = [row.name for row in chain.rows[1:] if row.stands]
    undone = [row.name for row in chain.rows[1:] if not row.stands]
    steps = f"After {', '.join(kept) or 'no step'}" + (f" ({', '.join(undone)} undone)" if undone else "")
    said = f"{steps} the weights take {last.size / 1e6:.1f} MB instead of {first.size / 1e6:.1f} MB"
    if last.speed is not None:
        said += f", and one text takes {1 / last.speed.ratio.value:.2f} of the time"
    tested = [one for one in chain.tested if one.name == chain.metric]
    for one in tested:
        gap = one.difference
        said += (
            f"; on {chain.test:,} test examples the {metric_words(chain.metric)} is {one.a:.4f}, the original's "
            f"{one.b:.4f} (difference {gap.value:+.4f}, 95 % interval {gap.low:+.4f} to {gap.high:+.4f})"
        )
    return said + "."


def fields_of(chain: Chain) -> list[list[str]]:
    """The table's fields, a row per step."""
    first = chain.rows[0]
    return [
        [
            row.name,
            "" if row is first else "stands" if row.stands else "undone",
            f"{row.size / 1e6:.1f} MB",
            f"{row.size / first.size:.2f}",
            f"{row.parameters:,}" if row.parameters else _NONE,
            f"{row.quality.value:.4f}",
            _bounds(row.quality.low, row.quality.high, ".4f"),
            _NONE if row.difference is None else f"{row.difference.difference.value:+.4f}",
            _NONE
            if row.difference is None
            else _bounds(row.difference.difference.low, row.difference.difference.high, "+.4f"),
            str(len(row.changes)),
            str(row.harmed),
            str(row.mended),
            _NONE if row.speed is None else f"{row.speed.milliseconds:.1f} ms (was {row.speed.other_milliseconds:.1f})",
            "1.00" if row.speed is None else f"{row.speed.ratio.value:.2f}",
            _NONE if row.speed is None else _bounds(row.speed.ratio.low, row.speed.ratio.high, ".2f"),
            _NONE if row.speed is None else f"{row.speed.cpu_seconds:.2f} s (was {row.speed.other_cpu_seconds:.2f})",
            f"{row.seconds:.0f} s",
        ]
        for row in chain.rows
    ]


def slice_fields(row: TradeOff) -> list[list[str]]:
    """A step's slices as fields: what it is a slice of, examples, before, after, difference, verdict."""
    return [
        [
            f"{one.kind}: {one.value.strip()}",
            str(one.size),
            f"{one.comparison.b:.4f}",
            f"{one.comparison.a:.4f}",
            f"{one.comparison.difference.value:+.4f}",
            _bounds(one.comparison.difference.low, one.comparison.difference.high, "+.4f"),
            one.comparison.verdict,
        ]
        for one in row.slices
    ]


def _in_cells(rows: Sequence[Sequence[str]], layout: Sequence[Sequence[str]]) -> list[list[list[str]]]:
    """Fields by the cells that they stand in, one below the other; a dash stands for nothing below a value."""
    places = [[COLUMNS.index(name) for name in cell] for cell in layout]
    return [
        [[row[cell[0]], *(row[place] for place in cell[1:] if row[place] != _NONE)] for cell in places] for row in rows
    ]


SLICE_COLUMNS = ("slice", "examples", "original", "after", "difference", "95 % interval", "verdict")


def _bounds(low: float, high: float, form: str) -> str:
    return _NONE if math.isnan(low) else f"{low:{form}} to {high:{form}}"


def as_markdown(chain: Chain) -> str:
    """The tables for people and for other programs."""
    lines = [f"# {chain.name}: compression", "", said_of(chain), "", *_table(COLUMNS, fields_of(chain))]
    for row in chain.rows[1:]:
        lines += ["", f"## {row.name}", "", row.why, "", *row.notes, "", *_table(SLICE_COLUMNS, slice_fields(row))]
    return "\n".join([*lines, "", *chain.notes()[-1:]]) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)] if rows else []


def front(rows: Sequence[TradeOff], cost: str, *, higher_is_better: bool) -> list[TradeOff]:
    """The rows that no other beats in both quality and cost ("size" or "time"), the cheapest first."""
    chosen: list[TradeOff] = []
    sign = 1 if higher_is_better else -1
    for row in sorted(rows, key=lambda one: (cost_of(one, cost), -sign * one.quality.value)):
        if not chosen or sign * row.quality.value > sign * chosen[-1].quality.value:
            chosen.append(row)
    return chosen


def cost_of(row: TradeOff, cost: str) -> float:
    """Megabytes, or the time of one text relative to the original's."""
    if cost == "size":
        return row.size / 1e6
    return 1.0 if row.speed is None else 1 / row.speed.ratio.value


def figure_of(chain: Chain, cost: str) -> str:
    """Quality against a cost, every step with its interval; the line joins those that no other beats in both."""
    figure = go.Figure()
    first = chain.rows[0]
    best = front(chain.rows, cost, higher_is_better=chain.higher_is_better)
    line = {"color": GREY, "width": 1, "dash": "dot"}
    figure.add_scatter(
        x=[cost_of(row, cost) for row in best],
        y=[row.quality.value for row in best],
        mode="lines",
        line=line,
        name="not beaten in both",
        hoverinfo="skip",
    )
    kinds = (
        ("original", [first], GREY, "circle"),
        ("stands", [row for row in chain.rows[1:] if row.stands], BLUE, "circle"),
        ("undone", [row for row in chain.rows[1:] if not row.stands], ORANGE, "circle-open"),
    )
    for name, rows, colour, symbol in kinds:
        figure.add_scatter(
            x=[cost_of(row, cost) for row in rows],
            y=[row.quality.value for row in rows],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_part(row.quality.high - row.quality.value) for row in rows],
                "arrayminus": [_part(row.quality.value - row.quality.low) for row in rows],
                "thickness": 1,
            },
            mode="markers+text",
            text=[str(chain.rows.index(row)) for row in rows],
            textposition=["top left" if chain.rows.index(row) % 2 else "top right" for row in rows],
            hovertext=[f"{chain.rows.index(row)} {row.name}" for row in rows],
            marker={"size": 10, "color": colour, "symbol": symbol},
            name=name,
        )
    title = "weights on disk, MB" if cost == "size" else "time of one text, relative to the original's"
    figure.update_xaxes(title=title, rangemode="tozero")
    figure.update_yaxes(title=f"{metric_words(chain.metric)} on validation")
    return fragment(figure, height=420)


def _part(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def page_of(chain: Chain) -> str:
    """The page: one file, which loads nothing from elsewhere; all text is escaped."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("tunesmith") / "compression.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(source).render(
        chain=chain,
        said=said_of(chain),
        closing=chain.notes()[-1],
        size=figure_of(chain, "size"),
        time=figure_of(chain, "time"),
        tables=[(layout, _in_cells(fields_of(chain), layout)) for layout in (_CHOICE, _REST)],
        steps=[(row, slice_fields(row), row.changes[:SHOWN]) for row in chain.rows[1:]],
        slice_columns=SLICE_COLUMNS,
        script=script(),
    )


def without_texts(chain: Chain, label_kind: str) -> Chain:
    """The chain as it travels with the model: changed answers by their ids and labels, and no text of the data."""
    is_written = label_kind not in _LABELS

    def bare(label: object) -> object:
        if is_written:
            return None
        return [_without_words(one) for one in label] if isinstance(label, list) else label

    def untold(one: Change) -> Change:
        return replace(one, text="", gold=bare(one.gold), before=bare(one.before), after=bare(one.after))

    return replace(chain, rows=tuple(replace(row, changes=tuple(map(untold, row.changes))) for row in chain.rows))


_LABELS = ("class", "number", "classes", "spans")
"""The kinds of answers that are no text."""


def _without_words(span: object) -> object:
    return {key: value for key, value in span.items() if key != "text"} if isinstance(span, dict) else span


def write_chain(chain: Chain, folder: Path, label_kind: str) -> None:
    """Put the page, the table and all changed answers into the artifact (compression.json is there already).

    None of these quotes a text of the data.
    """
    chain = without_texts(chain, label_kind)
    lines = [
        json.dumps({key: value for key, value in told.items() if key != "text"}, ensure_ascii=False)
        for number, row in enumerate(chain.rows)
        for one in row.changes
        for told in ({"step": f"{number} {row.name}", **asdict(one)},)
    ]
    add_file(folder, "compression.html", page_of(chain))
    add_file(folder, "compression.md", as_markdown(chain))
    add_file(folder, "changes.jsonl", "".join(f"{line}\n" for line in lines))


def keep_chain(chain: Chain, path: Path, plan: str) -> None:
    """Write a chain to a file, as the result of this plan."""
    with written(path) as file:
        json.dump({"plan": plan, "chain": asdict(chain)}, file, ensure_ascii=False)


def kept_chain(path: Path, plan: str) -> Chain | None:
    """The chain that a file holds as the result of this plan; None where there is no file, or one of another plan."""
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return TypeAdapter(Chain).validate_python(told["chain"]) if told["plan"] == plan else None
