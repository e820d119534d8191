"""Add a method of your own: which weights learn (run it with `python examples/custom_method.py`)."""

from dataclasses import dataclass

from tunesmith.experiment import Experiment
from tunesmith.methods import METHODS
from tunesmith.methods.selective import learn_only
from tunesmith.models.model import Model


@dataclass(frozen=True)
class NormsOnly:
    """Only the layer norms, and what the checkpoint lacked, learn."""

    learning_rate: float = 1e-3

    def apply(self, model: Model) -> None:
        """Open the norms."""
        learn_only(model, lambda name: "LayerNorm" in name)

    def merge(self, model: Model) -> None: ...  # nothing was added


METHODS["norms_only"] = NormsOnly

if __name__ == "__main__":
    experiment = Experiment.from_yaml("examples/ner_demo.yaml", ["method=norms_only"])
    print(experiment.to_yaml())  # noqa: T201
