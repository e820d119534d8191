"""What a worker does with a batch: answers, embeddings, and texts written while somebody listens."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F

from tunesmith.data.records import Prediction
from tunesmith.evaluation.results import prediction_row
from tunesmith.guarding.evidence import answered as with_evidence
from tunesmith.guarding.verdicts import Evidence
from tunesmith.inference.graph_network import GraphNetwork
from tunesmith.inference.predictor import Predictor
from tunesmith.service.questions import example_of
from tunesmith.service.trial import is_sound
from tunesmith.tasks.batches import by_length, cut
from tunesmith.tasks.encoding import Encoded
from tunesmith.tasks.text_generation import TextGeneration

_EMBEDDED_AT_ONCE = 1024
_UNFINISHED = "\ufffd"
"""What a tokenizer writes for the first bytes of a character whose others are still to come."""


class StoppedError(RuntimeError):
    """Nobody listens any more to what is being written."""


def answered(predictor: Predictor, questions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows of a batch, and what it took; questions that want the same things share passes."""
    began = time.perf_counter()
    rows: list[dict[str, Any]] = [{} for _ in questions]
    tokens = padding = 0
    for wish, places in _alike(questions):
        own = _with_wishes(predictor, wish.get("writing", {}))
        examples = [example_of(questions[place], str(place)) for place in places]
        encoded = own.encode(examples)
        found: list[dict[str, Any]]
        if wish.get("needs"):
            answers, told = with_evidence(own, examples, frozenset(wish["needs"]))
            found = [
                {**_row(one, own), "evidence": plain_evidence(extra)} for one, extra in zip(answers, told, strict=True)
            ]
        elif wish.get("embed"):
            found = [{"vector": _finite(vector)} for vector in embedded(own, encoded)]
        else:
            found = [_row(one, own) for one in own.decode(examples, encoded, own.logits(encoded))]
        for place, row in zip(places, found, strict=True):
            rows[place] = row
        read = sum(one.tokens for one in encoded)
        tokens += read
        padding += max(one.longest for one in encoded) * sum(len(one.pieces) for one in encoded) - read
    return {"rows": rows, "seconds": time.perf_counter() - began, "tokens": tokens, "padding": max(0, padding)}


def plain_evidence(told: Evidence) -> dict[str, Any]:
    """What guards want to know of a text, as plain values."""
    found: dict[str, Any] = {"vector": list(told.vector)} if told.vector else {}
    return found if math.isnan(told.energy) else {**found, "energy": told.energy}


def _row(answer: Prediction, predictor: Predictor) -> dict[str, Any]:
    """An answer as plain values; whether its numbers are some is seen before, since none becomes null there.

    Raises:
        ArithmeticError: one is no number.
    """
    if not is_sound(answer, predictor.task.label_kind):
        raise ArithmeticError("the answer is no number")
    return prediction_row(answer)


def _finite(vector: list[float]) -> list[float]:
    if not all(map(math.isfinite, vector)):
        raise ArithmeticError("the vector has what is no number")
    return vector


def embedded(predictor: Predictor, encoded: Sequence[Encoded]) -> list[list[float]]:
    """The mean of each text's last hidden states over its tokens, with a length of 1 (Reimers and Gurevych 2019)."""
    vectors: list[list[float]] = [[] for _ in encoded]
    pad_id = predictor.encoder.tokenizer.pad_token_id or 0
    with torch.inference_mode():
        for numbers in cut(by_length(encoded), encoded, max_examples=64, max_tokens=_EMBEDDED_AT_ONCE):
            batch = predictor.task.collate([encoded[number] for number in numbers], pad_id).to(predictor.model.device)
            mask = batch.attention_mask.unsqueeze(-1).float()
            sums = (predictor.model.hidden(batch).float() * mask).sum(1)
            whole = torch.zeros(len(numbers), sums.shape[1], device=sums.device).index_add(0, batch.example_of, sums)
            for number, vector in zip(numbers, F.normalize(whole, dim=1).cpu(), strict=True):
                vectors[number] = vector.tolist()
    return vectors


def written(
    predictor: Predictor, question: Mapping[str, Any], heard: Callable[[str], None], wanted: Callable[[], bool]
) -> dict[str, Any]:
    """Write an answer and tell each new part of it; what the whole took.

    Raises:
        StoppedError: it is not `wanted` any more.
    """
    own = _with_wishes(predictor, question.get("writing", {}))
    (encoded,) = own.encode([example_of(question, "0")])
    task, network, tokenizer = own.task, own.model, own.encoder.tokenizer
    assert isinstance(task, TextGeneration), "only such a task writes by tokens"
    assert not isinstance(network, GraphNetwork), "graphs do not write"
    ids: list[int] = []
    told = ""

    def listen(token: int) -> None:
        nonlocal told
        if not wanted():
            raise StoppedError
        ids.append(token)
        text = str(tokenizer.decode(ids, skip_special_tokens=True)).lstrip()
        if len(text) > len(told) and not text.endswith(_UNFINISHED):
            heard(text[len(told) :])
            told = text

    with torch.inference_mode():
        (made,) = task.write(network, [encoded], listen)
    finished = "length" if len(made) >= task.max_new_tokens else "stop"
    return {"read": encoded.tokens, "written": len(made), "finished": finished, "row": _written_row(own, made)}


def _written_row(predictor: Predictor, ids: Sequence[int]) -> dict[str, Any]:
    text = str(predictor.encoder.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
    return {"label": text}


def _alike(questions: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], list[int]]]:
    """The places of questions that want the same beside their answer, with what that is."""
    groups: dict[str, list[int]] = {}
    for place, question in enumerate(questions):
        wish = {name: question[name] for name in ("embed", "needs", "writing") if question.get(name)}
        groups.setdefault(json.dumps(wish, sort_keys=True), []).append(place)
    for wish_text, places in groups.items():
        yield json.loads(wish_text), places


def _with_wishes(predictor: Predictor, writing: Mapping[str, Any]) -> Predictor:
    """The predictor as a request wants it to write; itself where there are no wishes."""
    if not writing:
        return predictor
    task: Any = replace(predictor.task, **writing)  # type: ignore[type-var]
    return Predictor(predictor.model, task, predictor.encoder)
