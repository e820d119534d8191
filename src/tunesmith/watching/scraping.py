"""What `/metrics` answered, as samples for the history."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tunesmith.errors import DataError
from tunesmith.watching.history import Sample
from tunesmith.watching.requesting import Answer

JOB = "tunesmith"


def samples_of(text: str, where: str = "") -> list[Sample]:
    """The samples of a text in Prometheus's format, and `up`, which is 1; each with the job "tunesmith".

    Raises:
        DataError: it is no such text.
    """
    found: list[Sample] = [("up", (("job", JOB),), 1.0)]
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = tuple(sorted({**sample.labels, "job": JOB}.items()))
                found.append((sample.name, labels, float(sample.value)))
    except (ValueError, KeyError, IndexError) as error:
        raise DataError(
            "The answer is not in Prometheus's format.", where=where, to_do="Give the address of /metrics."
        ) from error
    return found


def down() -> list[Sample]:
    """The samples of a scrape that failed."""
    return [("up", (("job", JOB),), 0.0)]


def scraped(answer: Answer, where: str) -> list[Sample]:
    """The samples of an answer; those of a failed scrape unless its status is 200."""
    return samples_of(answer.body.decode("utf-8", "replace"), where) if answer.status == 200 else down()
