"""study.html: one file without network; the ranked effects on top, then what they cost, curves, trials and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby

import jinja2

from tunesmith.evaluation.figures import script
from tunesmith.evaluation.page import metric_words
from tunesmith.study import figures
from tunesmith.study.effects import Effect
from tunesmith.study.findings import CellFindings, StudyFindings
from tunesmith.study.table import COLUMNS, READING, row_of, said_of, test_sentences


@dataclass(frozen=True)
class Block:
    """The cells of one data set and size, with their figure and their rows."""

    title: str
    effects: str
    rows: Sequence[Sequence[str]]
    kinds: Sequence[str]


def render(findings: StudyFindings) -> str:
    """The whole page; all text is escaped, and nothing is loaded from elsewhere."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("tunesmith.study") / "study.html.jinja").read_text(encoding="utf-8")
    compared = [cell for cell in findings.cells if cell.difference is not None]
    higher = all(cell.difference.gain == cell.difference.difference.value for cell in compared if cell.difference)
    scored = [trial for trial in findings.trials if trial.score is not None]
    pooled = [(f"{one.way} ({one.size})" if one.size else one.way, one.effect) for one in findings.pooled]
    return environment.from_string(source).render(
        findings=findings,
        said=said_of(findings),
        words=metric_words(findings.metric),
        verdicts=verdicts(findings),
        blocks=blocks_of(findings),
        columns=COLUMNS,
        pooled=figures.effects(pooled, findings.metric) if pooled else "",
        costs=figures.cost_against_gain(compared, findings.metric) if compared else "",
        curve=figures.learning_curves(findings.curves) if findings.curves else "",
        history=figures.search_history(scored, findings.metric, higher_is_better=higher) if scored else "",
        tested=[line for one in findings.tested for line in test_sentences(one)],
        reading=READING,
        script=script(),
    )


def verdicts(findings: StudyFindings) -> list[tuple[str, int]]:
    """How many comparisons ended how."""
    said = [cell.verdict for cell in findings.cells if cell.verdict]
    kinds = {"earn their place": "earns", "harm": "harms", "show no difference": "no difference"}
    return [(words, sum(one.startswith(begin) for one in said)) for words, begin in kinds.items()]


def blocks_of(findings: StudyFindings) -> list[Block]:
    """The cells by data set and size."""
    found = []
    groups = [(place, list(own)) for place, own in groupby(findings.cells, key=lambda one: (one.data, one.size))]
    for (data, size), own in groups:
        named: list[tuple[str, Effect]] = [(cell.way or cell.name, cell.difference) for cell in own if cell.difference]
        title = ", ".join(part for part in (data, f"{size:,} training examples" if size else "") if part)
        drawn = figures.effects(named, own[0].metric) if named else ""
        found.append(
            Block(title, drawn, [row_of(cell, findings.baseline) for cell in own], [_kind(one) for one in own])
        )
    return found


def _kind(cell: CellFindings) -> str:
    return {"earns": "good", "harms": "bad"}.get(cell.verdict.partition(" ")[0], "")
