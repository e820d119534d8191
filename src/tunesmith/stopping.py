"""Whether labelling may end: what a model answers now, beside what those of earlier rounds answered."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tunesmith.asking import chances_of
from tunesmith.components import build
from tunesmith.data.duplicates import text_key
from tunesmith.data.records import Example, Prediction, Span
from tunesmith.errors import DataError
from tunesmith.inference.artifact import file_hash
from tunesmith.inference.predictor import Predictor
from tunesmith.recipes import named_settings
from tunesmith.selection.stopping import STOPPING_RULES, Advised, Round, StoppingRule
from tunesmith.selection.strategies import entropy
from tunesmith.writing import written

WATCHED = 2000
"""Texts whose answers are compared from round to round (Bloodgood and Vijay-Shanker 2009, sec. 4)."""


@dataclass(frozen=True)
class Standing:
    """What each rule says, after how many rounds, and what labels were counted."""

    advised: Mapping[str, Advised]
    rounds: int
    texts: int
    words: int
    uncertainty: float

    @property
    def is_reached(self) -> bool:
        """Whether any rule says that labelling may end."""
        return any(one.is_reached for one in self.advised.values())


def rules_of(given: Sequence[str]) -> dict[str, StoppingRule]:
    """Rules such as "stable" or "budget:texts=500"; all of them as they are by default if none is given.

    Raises:
        RecipeError: a rule or a setting is unknown.
    """
    found = {}
    for text in given or tuple(STOPPING_RULES):
        settings = named_settings(text, "--stop", "budget:texts=500")
        found[str(settings["name"])] = build(STOPPING_RULES, settings, "--stop")
    return found


def judge_round(
    artifact: Path,
    pool: Sequence[Example],
    labelled: Sequence[Sequence[Example]],
    state: Path,
    rules: Mapping[str, StoppingRule],
) -> Standing:
    """Add a model's answers to the file of rounds, and ask the rules; a model that is asked twice counts once.

    Args:
        artifact: the model as it stands.
        pool: the file of texts without labels; which of them are watched depends on their texts alone.
        labelled: what is labelled: to learn from, and to judge by.
        state: the file of rounds (JSON lines), which is made if it is not there.
        rules: the rules by name.

    Raises:
        DataError: the pool has no text that is not labelled yet, or the file of rounds is none.
        ArtifactError: the model cannot be loaded.
    """
    predictor = Predictor.load(artifact)
    identity = file_hash(artifact / "manifest.json")
    watched = sorted({text_key(example.content): example for example in pool}.items())[:WATCHED]
    known = {text_key(example.content) for examples in labelled for example in examples}
    left = [example for example in pool if text_key(example.content) not in known]
    if not left:
        raise DataError("Every text of the pool is labelled already.", to_do="Give a pool with new texts.")
    chances = chances_of(predictor, left)
    texts = [example for _, example in watched]
    answers = {
        f"{key:x}": units_of(example, prediction)
        for (key, example), prediction in zip(watched, predictor.predict(texts), strict=True)
    }
    counted = [example for examples in labelled for example in examples]
    now = Round(
        len(counted),
        sum(map(words_in, counted)),
        float(entropy(chances).mean() / np.log(max(2, chances.shape[1]))),
        answers,
    )
    rounds = [(name, one) for name, one in read_rounds(state) if name != identity] + [(identity, now)]
    with written(state) as file:
        file.writelines(json.dumps({"model": name, **one.__dict__}, ensure_ascii=False) + "\n" for name, one in rounds)
    history = [one for _, one in rounds]
    advised = {name: rule.judge(history) for name, rule in rules.items()}
    return Standing(advised, len(rounds), now.texts, now.words, now.uncertainty)


def read_rounds(state: Path) -> list[tuple[str, Round]]:
    """The rounds in a file, each with the identity of its model; none where there is no file.

    Raises:
        DataError: the file holds something else.
    """
    if not state.is_file():
        return []
    found = []
    try:
        for line in state.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            answers = {key: tuple(labels) for key, labels in row["answers"].items()}
            found.append((row["model"], Round(row["texts"], row["words"], row["uncertainty"], answers)))
    except (ValueError, KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(
            "The file is none of rounds.", where=str(state), to_do="Name the file of earlier rounds, or a new one."
        ) from error
    return found


_WORD = re.compile(r"[㐀-鿿]|[^\s㐀-鿿]+")


def words_of(example: Example) -> list[tuple[int, int]]:
    """The characters of each word of the text: as given, or else parted by blanks, each Chinese character by itself."""
    return (
        list(example.words) if example.words is not None else [found.span() for found in _WORD.finditer(example.text)]
    )


def words_in(example: Example) -> int:
    """The words that whoever labels an example reads, those of the other text of a pair too."""
    return len(words_of(example)) + len(_WORD.findall(example.second))


def units_of(example: Example, prediction: Prediction) -> tuple[str, ...]:
    """What is compared of an answer: the label of each word for spans, else the answer itself."""
    label = prediction.label
    spans = [item for item in label if isinstance(item, Span)] if isinstance(label, tuple) else []
    if spans or isinstance(label, tuple):
        return tuple(
            next((span.label for span in spans if span.start < end and start < span.end), "")
            for start, end in words_of(example)
        )
    return (str(label),)
