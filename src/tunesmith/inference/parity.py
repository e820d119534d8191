"""The proof that an artifact is the model that was trained: reload it in a fresh process and compare its logits."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.data.records import Example
from tunesmith.data.stored import from_plain, to_plain
from tunesmith.errors import ArtifactError, ResourceError, TunesmithError
from tunesmith.inference.predictor import Predictor
from tunesmith.writing import refused


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the reloaded model's logits are from the trained one's, over so many texts."""

    texts: int
    largest_difference: float


def prove_reload(predictor: Predictor, artifact: Path, examples: Sequence[Example]) -> Parity:
    """Compute the logits of `examples` here and in a new process that loads `artifact`, and compare them.

    Raises:
        ArtifactError: the process failed, or a logit differs.
        ResourceError: the process was stopped from outside.
    """
    expected = predictor.logits(predictor.encode(examples))
    found = fresh_logits(predictor, artifact, examples)
    largest = max((difference(one, other) for one, other in zip(expected, found, strict=True)), default=0.0)
    if largest != 0:
        raise ArtifactError(
            f"The reloaded model's logits differ by up to {largest:.3g} from the trained one's.",
            where=str(artifact),
            to_do="Report this; the run is not usable.",
        )
    return Parity(len(examples), largest)


def fresh_logits(predictor: Predictor, artifact: Path, examples: Sequence[Example], backend: str = "") -> list[Tensor]:
    """The logits that a new process gives which loads `artifact` in this form, on the device of `predictor`.

    Raises:
        ArtifactError: the process failed.
        ResourceError: the process was stopped from outside.
    """
    with refused(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        texts = Path(folder) / "texts.json"
        texts.write_text(json.dumps([to_plain(example) for example in examples]), encoding="utf-8")
        found_at = Path(folder) / "logits.safetensors"
        command = [
            sys.executable,
            "-m",
            "tunesmith.inference.parity",
            str(artifact),
            str(texts),
            str(found_at),
            str(predictor.model.device),
            str(torch.get_num_threads()),
            backend,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode < 0:
            raise ResourceError(
                f"The process that loads the artifact again was stopped by signal {-done.returncode}.",
                where=str(artifact),
                to_do="If nobody stopped it, there is too little memory. Go on with: tunesmith resume.",
            )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise ArtifactError(
                f"The saved artifact could not be loaded again: {last}",
                where=str(artifact),
                to_do="Report this; the run is not usable.",
            )
        found = load_file(found_at)
    return [found[str(number)] for number in range(len(examples))]


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference of two tensors; infinite where their shapes differ or one holds no number."""
    if one.shape != other.shape:
        return float("inf")
    # What is infinite in both (a place that is masked) is alike.
    gap = float((one - other).abs().masked_fill(one == other, 0).max()) if one.numel() else 0.0
    return gap if math.isfinite(gap) else float("inf")


def main(artifact: str, texts: str, result: str, device: str, threads: str, backend: str = "") -> None:
    """Load an artifact, compute the logits of the texts in a JSON file and write them as safetensors."""
    torch.set_num_threads(int(threads))
    predictor = Predictor.load(artifact, device=device, backend=backend)
    examples = [from_plain(row) for row in json.loads(Path(texts).read_text(encoding="utf-8"))]
    logits = predictor.logits(predictor.encode(examples))
    save_file({str(number): row.contiguous() for number, row in enumerate(logits)}, result)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TunesmithError as error:
        sys.exit(f"{error.what} ({error.where})")
