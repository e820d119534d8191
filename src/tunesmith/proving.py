"""Whether all forms of a model answer alike on real text: which artifacts, which texts, and what is off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tunesmith.data.records import Example
from tunesmith.data.source import Source as File
from tunesmith.data.sources import iterate
from tunesmith.data.tally import Tally
from tunesmith.errors import ArtifactError, DataError, RecipeError, TunesmithError
from tunesmith.inference.artifact import task_of, verify
from tunesmith.inference.form_parity import FormCheck, compare_forms
from tunesmith.judging import Candidate, examples_to_judge
from tunesmith.learnt_from import Source
from tunesmith.served_parity import ServedCheck, check_running, check_started


@dataclass(frozen=True)
class Proof:
    """All forms, each beside the first, over texts of a file or split; and services, each beside the form it serves."""

    texts_of: str
    tolerance: float
    checks: tuple[FormCheck, ...]
    served: tuple[ServedCheck, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether nothing is off."""
        return not any(check.problems for check in self.checks) and not any(check.problems for check in self.served)

    def plain(self) -> dict[str, object]:
        """The proof as plain values."""
        forms, served = (
            [{**asdict(check), "artifact": str(check.artifact)} for check in checks]
            for checks in (self.checks, self.served)
        )
        told = {"texts_of": self.texts_of, "tolerance": self.tolerance, "sound": self.is_sound, "forms": forms}
        return told | ({"served": served} if served else {})


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared, and how strictly.

    Attributes:
        tolerance: the share of answers that a form in 8 bits may change.
        reload: whether each form is loaded in a fresh process too.
        served: whether a service is started for each form, and asked.
        running: the address and a key of a service that runs; None for none.
        model: which of its models; empty for the one that is one of the artifacts.
    """

    tolerance: float = 0.05
    reload: bool = True
    served: bool = False
    running: tuple[str, str] | None = None
    model: str = ""


def prove_forms(
    artifacts: Sequence[Path],
    *,
    data: str = "",
    file: Path | None = None,
    limit: int = 200,
    how: Compared = Compared(),
) -> Proof:
    """Compare every form that these artifacts hold with the first one's own, and services with the form they serve.

    The texts are those of `file` (which needs no labels), of `data` (a labelled file or a known data set), or of the
    recipe's validation split; the first `limit` of them.

    Raises:
        ArtifactError: an artifact is damaged, is an ensemble, or has other labels than the first.
        DataError: there are no texts.
        RecipeError: both `data` and `file` are given.
        TunesmithError: a service does not start, or does not answer.
    """
    told = [verify(artifact) for artifact in artifacts]
    for artifact, description in zip(artifacts, told, strict=True):
        if "ensemble" in description:
            what = "An ensemble has no forms of its own."
            raise ArtifactError(what, where=str(artifact), to_do="Compare the forms of each of its members.")
        if description["schema_sha256"] != told[0]["schema_sha256"]:
            raise ArtifactError(
                "The artifacts have different tasks or labels, so their answers cannot be compared.",
                where=f"{artifacts[0]} and {artifact}",
                to_do="Compare the forms of one run.",
            )
    texts_of, examples = _texts(artifacts[0], told[0], data, file, limit)
    if not examples:
        raise DataError("There are no texts to compare on.", where=texts_of, to_do="Give --file with some texts.")
    checks = compare_forms(artifacts, examples, tolerance=how.tolerance, reload=how.reload)
    served = check_started(artifacts, examples) if how.served else []
    if how.running is not None:
        served.append(check_running(*how.running, how.model, artifacts, examples))
    return Proof(texts_of, how.tolerance, tuple(checks), tuple(served))


def _texts(
    artifact: Path, description: Mapping[str, object], data: str, file: Path | None, limit: int
) -> tuple[str, list[Example]]:
    """The texts to compare on, and where they are from."""
    if data and file is not None:
        raise RecipeError("Texts are named twice.", where="--data and --file", to_do="Give one of the two.")
    task = task_of(description, artifact)
    if file is not None:
        tally = Tally()
        found = [one for one, _ in zip(iterate(File(str(file), inputs=task.inputs), tally), range(limit), strict=False)]
        return file.name, found
    if data:
        name, judged = examples_to_judge(Candidate.load(artifact), data, ())
        return name, list(judged[:limit])
    try:
        splits = Source.of(artifact).splits(task).named()
    except TunesmithError as error:
        raise DataError(
            f"The recipe's own texts cannot be read: {error.what}", where=str(artifact), to_do="Give --file or --data."
        ) from error
    name = next((name for name in ("validation", "test", "train") if len(splits.get(name, ()))), "")
    return f"{name} split", list(splits[name][:limit]) if name else []
