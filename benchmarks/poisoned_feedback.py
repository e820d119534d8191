"""What `tunesmith feedback export --against --trusted` sets aside when one key flips labels: TREC, three attacks.

1,500 of TREC's training questions are trusted, and MiniLM-L6 learns from them; it answers 3,000 others. Four honest
keys correct every wrong answer and confirm 700 right ones; one key "corrects" right answers into wrong ones, until a
fifth of all rows are its. The attacks differ in what it says of which questions.

Run it with: .venv/bin/python benchmarks/poisoned_feedback.py FOLDER     (the model is trained there, once)
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tunesmith import pipeline
from tunesmith.data.dataset import Data
from tunesmith.data.records import Example, Prediction
from tunesmith.doubted_feedback import Trusted, sifted
from tunesmith.evaluation.intervals import share_of
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.remembered.training_rows import voice_of

TRUSTED, ASKED, CONFIRMED, SHARE = 1_500, 3_000, 700, 0.2
ATTACKS = ("any other label", "the model's second choice", "the second choice, where the model is least sure")


def main(folder: Path) -> None:
    """Train, ask, attack, and print what is set aside."""
    folder.mkdir(parents=True, exist_ok=True)
    splits = Data(name="trec").load("class", 1).splits
    examples = [*splits.train, *splits.validation]
    order = np.random.default_rng(7).permutation(len(examples))
    trusted, asked = ([examples[place] for place in part] for part in (order[:TRUSTED], order[TRUSTED:][:ASKED]))
    file = folder / "trusted.jsonl"
    file.write_text("".join(json.dumps({"text": e.text, "label": e.label}) + "\n" for e in trusted), encoding="utf-8")
    artifact = folder / "run" / "artifact"
    if not artifact.is_dir():
        pipeline.run(recipe(file), folder / "run", quiet=True)
    answers = Predictor.load(artifact).predict(asked)
    right = np.mean([one.label == example.label for one, example in zip(answers, asked, strict=True)])
    print(f"The model answers {right:.1%} of {len(asked):,} questions rightly.")
    began = time.process_time()
    held = Trusted.load(artifact, file)
    for attack in ATTACKS:
        told(attack, rows_of(asked, answers, attack), held)
    print(f"{time.process_time() - began:.0f} s of processor time for all three, embedding included.")


def recipe(file: Path) -> Experiment:
    """The model that answers."""
    return Experiment.from_mapping(
        {
            "name": "trec-served",
            "data": {"train": str(file), "validation": "none", "test": "none"},
            "task": {"name": "sequence_classification", "max_length": 48},
            "model": "minilm-l6",
            "training": {"epochs": 2, "batch_size": 16, "learning_rate": 5e-5, "precision": "fp32"},
            "trackers": [],
        }
    )


def rows_of(asked: Sequence[Example], answers: Sequence[Prediction], attack: str) -> list[dict[str, object]]:
    """Feedback rows as an export has them, with what is true of each under `kind`."""
    generator = np.random.default_rng(11)
    wrong = [place for place in range(len(asked)) if answers[place].label != asked[place].label]
    right = generator.permutation([place for place in range(len(asked)) if place not in set(wrong)]).tolist()
    count = round(SHARE / (1 - SHARE) * (len(wrong) + CONFIRMED))
    confirmed, rest = right[:CONFIRMED], right[CONFIRMED:]
    if attack == ATTACKS[2]:
        rest = sorted(rest, key=lambda place: answers[place].confidence)
    flipped = rest[:count]

    def second(place: int) -> str:
        others = {label: score for label, score in answers[place].scores.items() if label != asked[place].label}
        return max(others, key=others.get) if attack != ATTACKS[0] else str(generator.choice(sorted(others)))  # type: ignore[arg-type]

    parts = (("corrected", wrong), ("confirmed", confirmed), ("flipped", flipped))
    return [
        {
            "id": str(place),
            "text": asked[place].text,
            "label": second(place) if kind == "flipped" else asked[place].label,
            "model": "trec",
            "key": "attacker" if kind == "flipped" else f"key{place % 4}",
            "kind": kind,
        }
        for kind, places in parts
        for place in places
    ]


def told(attack: str, rows: Sequence[dict[str, object]], held: Trusted) -> None:
    """Print the share of each kind of rows that is set aside, with its 95 % interval."""
    voices = [voice for row in rows if (voice := voice_of(row)) is not None]
    aside = {one.row["id"] for one in sifted(rows, voices, held, frozenset()).aside}
    shares = []
    for kind in ("flipped", "corrected", "confirmed"):
        ids = [row["id"] for row in rows if row["kind"] == kind]
        share = share_of(sum(one in aside for one in ids), len(ids))
        shares.append(f"{kind} {share.value:.1%} [{share.low:.1%}, {share.high:.1%}] of {len(ids)}")
    print(f"{attack}: " + "; ".join(shares))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
