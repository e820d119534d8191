"""What a person sees while a model trains: a progress bar, and trackers such as TensorBoard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tunesmith.errors import import_extra

Tracker = Literal["tensorboard", "wandb", "mlflow"]
_PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}


def check_trackers(trackers: Sequence[Tracker]) -> None:
    """See that the trackers' packages are there.

    Raises:
        MissingExtraError: one is not installed.
    """
    for tracker in trackers:
        import_extra(_PACKAGES[tracker], "tracking")


def make_accelerator(
    trackers: Sequence[Tracker], folder: Path, name: str, settings: Mapping[str, object]
) -> Accelerator:
    """An accelerator that logs to the trackers asked for: the recipe's settings now, and numbers later.

    TensorBoard and W&B write into the run's folder; MLflow where its own settings say.
    """
    check_trackers(trackers)
    where = ProjectConfiguration(project_dir=str(folder), logging_dir=str(folder / "trackers"))
    accelerator = Accelerator(log_with=list(trackers) or None, project_config=where)
    if trackers:
        accelerator.init_trackers(
            name,
            config=dict(flat(settings)),
            init_kwargs={"wandb": {"dir": str(folder), "name": folder.name}, "mlflow": {"run_name": folder.name}},
        )
    return accelerator


def flat(settings: Mapping[str, object], start: str = "") -> Iterator[tuple[str, str | int | float]]:
    """Nested settings as pairs such as ("training.epochs", 3)."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value if isinstance(value, int | float) else str(value)[:250]


def announce(lines: Sequence[str]) -> None:
    """Say on standard error what a person should know before training begins."""
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    for line in lines:
        console.print(line, markup=False, highlight=False)


class Bar:
    """The progress bar of a training run: steps, loss, rate and time left; without a terminal a line per validation."""

    def __init__(self, progress: Progress, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task("training", total=total, completed=done, loss="", rate="", metric="")

    def advance(self, loss: float, examples_per_second: float) -> None:
        """One more step."""
        self._progress.update(
            self._task, advance=1, loss=f"loss {loss:.4f}", rate=f"{examples_per_second:.0f} examples/s"
        )

    def validated(self, name: str, value: float) -> None:
        """Show the latest validation."""
        self._progress.update(self._task, metric=f"{name} {value:.4f}")
        if not self._progress.console.is_terminal and not self._progress.disable:
            (task,) = self._progress.tasks
            shown = ", ".join(str(task.fields[field]) for field in ("loss", "metric", "rate"))
            self._progress.console.print(f"step {task.completed:.0f} of {task.total:.0f}: {shown}", highlight=False)


@contextmanager
def progress_bar(total: int, done: int, *, quiet: bool) -> Iterator[Bar]:
    """A live bar on standard error."""
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]} {task.fields[metric]} {task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    # Where there is no terminal, lines are printed instead of a bar.
    console = Console(stderr=True, soft_wrap=True, emoji=False)
    with Progress(*columns, console=console, disable=quiet, transient=not console.is_terminal) as progress:
        yield Bar(progress, total, done)


def log_metrics(accelerator: Accelerator, metrics: Mapping[str, float], step: int) -> None:
    """Hand numbers to the trackers; MLflow takes no @ in a name."""
    accelerator.log({name.replace("@", "_at_"): value for name, value in metrics.items()}, step=step)
