"""Data: the recipe's `data` section, from names and files to checked-in splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from tunesmith.data.catalogue import find
from tunesmith.data.holding_out import hold_out
from tunesmith.data.items import read_items
from tunesmith.data.records import Example, Finding, Splits
from tunesmith.data.shots import draw_shots
from tunesmith.data.source import Format, Source
from tunesmith.data.sources import Reading, idle_settings, read, usable
from tunesmith.data.splits import drawn, drawn_per_class
from tunesmith.data.subgroups import check_subgroups, columns_of, subgroup_findings
from tunesmith.data.tally import SHOWN, Tally
from tunesmith.data.uncertain import weighed
from tunesmith.data.unlabelled import REST, read_unlabelled, rest_of, usable_texts
from tunesmith.errors import DataError, RecipeError


@dataclass(frozen=True)
class Data:
    """The examples: a data set of the catalogue by name, or files for each split.

    A path may be compressed (.xz, .gz, .zip), name a member or keys ("set.zip!train.csv", "set.json!train+more"), be a
    data set of the hub ("hub:owner/name!train"), or name two files line by line ("train.en|train.de"). What is not
    given is held out of `train` by the shares.

    Attributes:
        name: a data set of the catalogue; the paths below override its own.
        train, validation, test: files to learn from, to choose by, to judge by; "none" for no such split, even where
            the catalogue has one. With `train: none` alone there is no data, which a task may do without (zero-shot).
        format: how the files are written; "auto" goes by the suffix, then by the first lines, and says so.
        text, second, image, audio, label, id: names of columns; empty means the usual names, and the report says which
            were taken. Columns of images and recordings hold paths, relative to the file's folder.
        group: a column whose equal values are never split apart (a customer, a document).
        items: for histories and ratings: the file with each item's id and text (MovieLens' u.item, or a table with id
            and title).
        keep: further columns by which results are sliced.
        subgroups: columns whose values part the data into subgroups, "label" for the class: results name the worst, and
            group_dro and irm learn by them.
        weight: a column with how much each training example counts; 0 leaves it out.
        chances: a column with the probability of each label of a training example, learnt instead of its label.
        header: names of the columns, for files without them.
        separator: what parts the fields of a line; empty means by the format.
        quoted: whether fields may stand in quotes; false where a quote is part of the text.
        label_first: for one text per line: the label stands before the separator.
        label_separator: what parts several labels, or the items of a history, in one field.
        level_separator: what parts the levels of a label, of which the first counts: ":" makes DESC of DESC:manner;
            empty keeps labels whole.
        leave_out: labels whose rows are left out, such as "-" where annotators did not agree.
        encoding: of text files, such as utf-8, gb18030, utf-16.
        limit: at most so many training examples, drawn by the seed from what is not held out; 0 for all.
        per_class: at most so many training examples of each class, drawn alike; 0 for all. Not together with `limit`.
        shots: of labelled spans: so few training examples, drawn by the seed, that each type has at least so many
            spans; 0 for all.
        validation_share, test_share: how much of `train` is held out where no file is given; 0 for none.
        unlabelled: a file of texts to learn from without labels (see `semi_supervision`), or "rest" for the training
            examples that limit, per_class or shots left over. What stands in another split is left out and counted.
        unlabelled_limit: at most so many of these texts, drawn by the seed; 0 for all.
        redact: what takes the place of personal data in all texts, before anything is learnt or judged (see
            docs/privacy.md); empty leaves them as they are.
        redact_kinds: the only kinds that are replaced, such as EMAIL; empty for all.
        redact_by: a YAML file with recognisers of your own, and an action for each kind.
        redact_names: artifacts of taggers that find people and places, as for `tunesmith redact --names`.
        split_seed: the seed by which these are held out; none takes the recipe's seed. With one of their own, runs that
            differ in their seed are judged on the same examples.
        accept: codes of findings that are errors, but shall not stop the run.
    """

    name: str = ""
    train: str = ""
    validation: str = ""
    test: str = ""
    format: Format = "auto"
    text: str = ""
    second: str = ""
    image: str = ""
    audio: str = ""
    label: str = ""
    id: str = ""
    group: str = ""
    items: str = ""
    keep: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    weight: str = ""
    chances: str = ""
    header: tuple[str, ...] = ()
    separator: str = ""
    quoted: bool = True
    label_first: bool = False
    label_separator: str = "|"
    level_separator: str = ""
    leave_out: tuple[str, ...] = ()
    encoding: str = "utf-8"
    limit: int = 0
    per_class: int = 0
    shots: int = 0
    validation_share: float = 0.1
    test_share: float = 0.1
    unlabelled: str = ""
    unlabelled_limit: int = 0
    redact: Literal["", "mask", "partial", "hash", "pseudonymise", "refuse"] = ""
    redact_kinds: tuple[str, ...] = ()
    redact_by: str = ""
    redact_names: tuple[str, ...] = ()
    split_seed: int | None = None
    accept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if min(self.validation_share, self.test_share) < 0 or self.validation_share + self.test_share >= 1:
            raise RecipeError(
                "The shares must not be negative, and must leave something to train on.", where="data.validation_share"
            )
        if twice := [name for name in self.header if self.header.count(name) > 1]:
            raise RecipeError(
                f"The header names '{twice[0]}' twice.", where="data.header", to_do="Name each column once."
            )
        for name in ("limit", "unlabelled_limit", "per_class", "shots"):
            if self.__dict__[name] < 0:
                raise RecipeError(
                    f"{name} must not be negative.", where=f"data.{name}", to_do="Use 0 for all examples."
                )
        for name in ("per_class", "shots"):
            if self.__dict__[name] and self.limit:
                raise RecipeError(
                    f"limit and {name} both say how many training examples are drawn.",
                    where=f"data.{name}",
                    to_do="Leave one of them out.",
                )
        if (self.redact_kinds or self.redact_by or self.redact_names) and not self.redact:
            raise RecipeError(
                "Which personal data is meant is said, and not what becomes of it.",
                where="data.redact",
                to_do="Add redact: mask, or another action.",
            )
        if self.split_seed is not None and self.split_seed < 0:
            raise RecipeError("split_seed must not be negative.", where="data.split_seed", to_do="Use 0 or more.")
        if self.level_separator and self.chances:
            raise RecipeError(
                "The chances name whole labels, and level_separator cuts labels to their first level.",
                where="data.level_separator",
                to_do="Leave one of them out.",
            )
        if not self.label_separator:
            raise RecipeError("label_separator must not be empty.", where="data.label_separator")

    def load(self, label_kind: str, seed: int, inputs: tuple[str, ...] = ("text",)) -> Loaded:
        """Read all splits, and hold out of the training examples what is not given.

        Without a training split nothing is held out, and what needs one will say so.

        Raises:
            DataError: a file cannot be read, or none is named.
            RecipeError: per_class is set and the labels are no classes, or shots and they are no spans.
        """
        self._check_draw(label_kind)
        check_subgroups(self.subgroups, label_kind)
        paths = self.located()
        if not paths and self.train != NONE:
            raise DataError(
                "No data is named.",
                where="data",
                to_do="Give data.train, or the name of a data set in data.name; train: none says that there is none.",
            )
        readings = _read_all(
            {
                split: self.source(paths[split], label_kind, inputs, is_train=split == "train")
                for split in _SPLITS
                if split in paths
            }
        )
        findings = [_of_split(name, finding) for name, reading in readings.items() for finding in reading.findings]
        parts = {name: reading.examples for name, reading in readings.items()}
        held = {
            name: share
            for name, share in (("validation", self.validation_share), ("test", self.test_share))
            if name not in parts and share and "train" in parts and self.__dict__[name] != NONE
        }
        if held:
            by = seed if self.split_seed is None else self.split_seed
            by_group, is_unsure = bool(self.group), bool(self.weight or self.chances)
            given, found = hold_out(parts["train"], held, label_kind, by, by_group=by_group, is_unsure=is_unsure)
            parts |= given
            findings.append(found)
        items = self._items() if "history" in inputs else ()
        every = parts.get("train", ())
        if self.weight or self.chances:  # what counts nothing is left out before examples are drawn
            every, how = weighed(every)
            findings += how
        parts["train"], how = self._drawn(every, seed)
        findings += how
        splits = Splits(parts["train"], parts.get("validation", ()), parts.get("test", ()), items)
        findings += subgroup_findings(splits.named()) if self.subgroups else []
        if self.unlabelled:
            texts, how = self._unlabelled(every, splits, inputs, seed)
            splits, findings = replace(splits, unlabelled=texts), [*findings, *how]
        return Loaded(splits, tuple(findings))

    def _unlabelled(
        self, every: Sequence[Example], splits: Splits, inputs: tuple[str, ...], seed: int
    ) -> tuple[Sequence[Example], list[Finding]]:
        """The texts without labels, and what was left out of them."""
        if self.unlabelled == REST:
            texts, read_there = rest_of(every, splits.train)
        else:
            source = self.source(self.unlabelled, "", inputs)
            alike = Path(self.unlabelled).suffix in {Path(path).suffix for path in self.located().values()}
            texts, read_there = read_unlabelled(source if alike else replace(source, format="auto"))
        kept, left_out = usable_texts(texts, splits, limit=self.unlabelled_limit, seed=seed)
        return kept, [*read_there, *left_out]

    def _check_draw(self, label_kind: str) -> None:
        """See that what is drawn can be counted in these labels."""
        for name, kind, why in (
            ("per_class", "class", "per_class has no effect where a text has no single class."),
            ("shots", "spans", "shots counts labelled spans, which this task's labels are not."),
        ):
            if self.__dict__[name] and label_kind != kind:
                to_do = "Use data.limit to draw training examples whatever their labels are."
                raise RecipeError(why, where=f"data.{name}", to_do=to_do)

    def _drawn(self, examples: Sequence[Example], seed: int) -> tuple[Sequence[Example], list[Finding]]:
        """The training examples that are learnt from, and how they were drawn."""
        if 0 < self.limit < len(examples):
            said = f"{self.limit:,} of {len(examples):,} training examples were drawn (data.limit, seed {seed})."
            return drawn(examples, self.limit, seed), [Finding("limited", "note", said, self.limit)]
        if self.shots and len(examples):
            chosen, finding = draw_shots(examples, self.shots, seed)
            return chosen, [finding]
        if not self.per_class:
            return examples, []
        kept = drawn_per_class(examples, self.per_class, seed)
        counts = Counter(str(example.label) for example in kept)
        fewer = [f"{label}: {count}" for label, count in sorted(counts.items()) if count < self.per_class]
        said = (
            f"{len(kept):,} of {len(examples):,} training examples were drawn, at most {self.per_class:,} of each of "
            f"{len(counts):,} classes (data.per_class, seed {seed})."
        )
        found = [Finding("limited", "note", said, len(kept))]
        if fewer:
            said = f"{len(fewer):,} classes have fewer than {self.per_class:,} training examples (data.per_class)."
            found.append(Finding("classes_with_fewer", "warning", said, len(fewer), tuple(fewer[:SHOWN])))
        return kept, found

    def source(
        self, path: str, label_kind: str, inputs: tuple[str, ...] = ("text",), *, is_train: bool = False
    ) -> Source:
        """A file that is written as these settings say; only one to learn from has weights and chances."""
        settings = {key: value for key, value in self.resolved().__dict__.items() if key in _READING}
        settings["keep"] = tuple(dict.fromkeys((*settings["keep"], *columns_of(self.subgroups))))
        settings |= {"weight": self.weight, "chances": self.chances} if is_train else {}
        return Source(path=path, label_kind=label_kind, inputs=inputs, items=self.located_items(), **settings)

    def located_items(self) -> str:
        """The path of the file of items; empty where there is none."""
        return self.items or (find(self.name)[1].get("items", "") if self.name else "")

    def _items(self) -> tuple[Example, ...]:
        """The items of the recipe; what was odd about them was seen when the histories were read."""
        place = self.located_items()
        if not place:
            raise DataError(
                "The items have no texts.",
                where="data.items",
                to_do="Give data.items, a file with the id and title of each item.",
            )
        return tuple(read_items(place, self.resolved().encoding, Tally()).values())

    def located(self) -> dict[str, str]:
        """The path of each split that is there."""
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        known = find(self.name)[1] if self.name else {}
        both = {split: own[split] or known.get(split, "") for split in own}
        return {split: path for split, path in both.items() if path and path != NONE}

    def resolved(self) -> Self:
        """These settings, with the form of the data set from the catalogue where the recipe is silent."""
        if not self.name:
            return self
        usual = Data()
        reading: Mapping[str, Any] = find(self.name)[0].reading
        return replace(
            self, **{key: value for key, value in reading.items() if self.__dict__[key] == usual.__dict__[key]}
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """Splits, and what was seen while reading and making them."""

    splits: Splits
    findings: tuple[Finding, ...]


NONE = "none"
"""In place of a path: there shall be no such split."""
_SPLITS = ("train", "validation", "test")
_READING = {
    "format",
    "text",
    "second",
    "image",
    "audio",
    "label",
    "id",
    "group",
    "keep",
    "subgroups",
    "header",
    "separator",
    "quoted",
    "label_first",
    "label_separator",
    "level_separator",
    "leave_out",
    "encoding",
}


def _read_all(sources: Mapping[str, Source]) -> dict[str, Reading]:
    """Read each file; a setting that only some of them have a use for is left out for the others, which is noted."""
    idle = {name: idle_settings(source) for name, source in sources.items()}
    if not idle:
        return {}
    if set.intersection(*map(set, idle.values())):
        return {name: read(source) for name, source in sources.items()}
    readings = {}
    for name, source in sources.items():
        readings[name] = read(usable(source))
        if idle[name]:
            message = f"The file's format has no use for {', '.join(idle[name])}."
            noted = Finding("settings_left_out", "note", message, len(idle[name]))
            readings[name] = replace(readings[name], findings=(noted, *readings[name].findings))
    return readings


def _of_split(name: str, finding: Finding) -> Finding:
    return replace(finding, message=f"{name}: {finding.message}")
