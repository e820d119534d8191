"""Reports made in code, and their pages read as a browser reads them."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np

from tests.scoring.makers import LABELS, class_answers, number_answers
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.evaluation import figures, page
from tunesmith.evaluation.report import Cost, HistoryPoint, RunReport, evaluate_split
from tunesmith.scoring.tables import Confusion
from tunesmith.tasks import SequenceClassification, TokenClassification

CHINESE = "张三在北京"


class Reader(HTMLParser):
    """A page as a browser takes it: tags with attributes, the text to be read, table rows, scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.rows, self.text, self.script, self.style = [], [], "", "", ""
        self.inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style", "td", "th") else self.inside
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))
        self.inside = "" if tag in ("script", "style", "td", "th") else self.inside

    def handle_data(self, data):
        if self.inside == "script":
            self.script += data
        elif self.inside == "style":
            self.style += data
        else:
            self.text += data
        if self.inside in ("td", "th"):
            self.rows[-1][-1] += data.strip("\n")


def page_of(report):
    """The page without Plotly's own script, which stands in it once."""
    whole, script = page.render(report), figures.script()
    assert whole.count(script) == 1
    return whole.replace(script, "")


def read(report):
    return Reader(page_of(report))


def judged(task, examples, predictions, name="test"):
    return evaluate_split(name, task, examples, predictions, seed=0, resamples=50)


def classes(name="test", size=60, labels=LABELS):
    examples, predictions, _ = class_answers(size, labels)
    return judged(SequenceClassification(labels=labels), examples, predictions, name)


def spans(text=CHINESE, label="PER", name="test"):
    first, second = Span(0, 2, label), Span(3, 5, f"{label}2")
    examples = [Example(f"{n}{label}", text, (first, second), ((0, 2), (2, 3), (3, 5))) for n in range(6)]
    predictions = [Prediction(example.id, (second,), 0.5, span_scores=(0.5,)) for example in examples]
    return judged(TokenClassification(labels=(label, f"{label}2")), examples, predictions, name)


def numbers():
    examples, predictions, _ = number_answers(30)
    return judged(SequenceClassification(problem="regression"), examples, predictions)


def square(size, word="c"):
    counts = np.random.default_rng(0).permutation(size * size).reshape(size, size)
    return Confusion(tuple(f"{word}{n}" for n in range(size)), counts)


def history(size):
    return tuple(HistoryPoint(n, n / size, 1 / (n + 1), 1e-3, 0.5 if n % 7 == 6 else None) for n in range(size))


def run(*splits, metric="accuracy", **changes):
    cost = Cost(95.0, 200.0, 1.5, 12_000_000, 7_000, 3_000_000_000, 41.0)
    known = RunReport("run", "now", "task", metric, splits, (), (), cost, "", {}, 0, "model", {}, {}, "")
    return replace(known, **changes)
