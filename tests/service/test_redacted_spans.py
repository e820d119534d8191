"""Spans that a model finds in replacements, told in the text as it was sent: each name once."""

from __future__ import annotations

from tunesmith.privacy import Offsets
from tunesmith.service.protection import moved_spans


def test_several_spans_on_one_replacement_are_one_and_the_likeliest() -> None:
    """Of "Ann" stands "PERSON_1": what the model finds in parts of it, or twice, is the same name as it was sent."""
    offsets = Offsets((((0, 3), (0, 8)), ((8, 11), (13, 21))))  # Ann met Bob in Rome

    def moved(*spans: tuple[int, int, str, float]) -> list[tuple[int, int, str, float]]:
        row = {
            "label": [{"start": start, "end": end, "label": label} for start, end, label, _ in spans],
            "span_scores": [score for *_, score in spans],
        }
        found = moved_spans(row, offsets)
        pairs = zip(found["label"], found["span_scores"], strict=True)
        return [(one["start"], one["end"], one["label"], score) for one, score in pairs]

    twice = moved((0, 3, "PER", 0.5), (4, 8, "PER", 0.7), (13, 21, "PER", 0.9), (25, 29, "LOC", 0.8))
    assert twice == [(0, 3, "PER", 0.7), (8, 11, "PER", 0.9), (15, 19, "LOC", 0.8)]
    assert moved((0, 4, "ORG", 0.6), (4, 8, "PER", 0.7)) == [(0, 3, "PER", 0.7)]
    assert moved((0, 8, "ORG", 0.6), (0, 8, "PER", 0.5)) == [(0, 3, "ORG", 0.6)]
    assert moved((0, 3, "PER", 0.9), (4, 12, "ORG", 0.4)) == [(0, 3, "PER", 0.9)]
    nested = [(0, 8, "PER", 0.9), (0, 21, "ORG", 0.4)]
    assert moved(*nested) == [(0, 3, "PER", 0.9), (0, 11, "ORG", 0.4)], "overlapping as the model had it"
