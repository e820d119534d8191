"""The verb `redact`: files of every form without their personal data, labels and spans in place, and bad input."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders import write_recipe
from tunesmith import cli, pipeline
from tunesmith.data.records import Example, Span
from tunesmith.data.source import Source
from tunesmith.data.sources import read
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.privacy import Presidio, Redactor, standard
from tunesmith.redacting import redact_file

SECRETS = ("13812345678", "zhang@x.com", "34052419800101001X")
ROWS = [
    {"text": f"电话{SECRETS[0]}的张三在北京", "label": "good", "note": f"mail {SECRETS[1]}"},
    {"text": "nothing", "label": "bad", "note": ""},
]


def redact(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    code = cli.guarded(lambda: cli.app(["redact", *map(str, arguments)], standalone_mode=False))
    said = capsys.readouterr()
    assert code == 0, said.err
    assert not any(secret in said.out + said.err for secret in SECRETS)
    return said.out


def write_json(place: Path, rows: list[dict[str, object]]) -> Path:
    place.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return place


def read_json(place: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]


def test_a_table_loses_values_of_every_column_and_gets_them_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "t.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["text", "label", "note"], lineterminator="\n")
        table.writeheader()
        table.writerows(ROWS)
    state = ("--state", tmp_path / "state")
    said = redact(capsys, tmp_path / "t.csv", "--out", tmp_path / "o.csv", "--action", "pseudonymise", *state)
    assert "MOBILE" in said
    assert "*******5678" in said
    assert "text 1, note 1" in said
    written = (tmp_path / "o.csv").read_text(encoding="utf-8")
    assert not any(secret in written for secret in SECRETS)
    assert "张三在北京,good," in written
    said = redact(capsys, tmp_path / "o.csv", "--out", tmp_path / "back.csv", "--restore", *state)
    assert "2 values were restored in 1 of 2 rows" in said
    assert (tmp_path / "back.csv").read_text(encoding="utf-8") == (tmp_path / "t.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("spans", "moved"),
    [
        (
            [{"start": 2, "end": 13, "label": "TEL"}, {"start": 14, "end": 16, "label": "PER", "text": "张三"}],
            [{"start": 2, "end": 10, "label": "TEL"}, {"start": 11, "end": 13, "label": "PER", "text": "张三"}],
        ),
        ([[14, 16, "PER"]], [[11, 13, "PER"]]),
        (
            [{"start_offset": 17, "end_offset": 19, "tag": "LOC"}],
            [{"start_offset": 14, "end_offset": 16, "tag": "LOC"}],
        ),
        ({"name": {"张三": [[14, 15]]}}, {"name": {"张三": [[11, 12]]}}),
        ([{"answer_start": 14, "text": "张三在"}], [{"answer_start": 11, "text": "张三在"}]),
        ([], []),
    ],
)
def test_spans_of_every_form_are_shifted(
    spans: object, moved: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, object]] = [{"text": ROWS[0]["text"], "spans": spans, "e1": {"start": 17, "end": 19}}]
    write_json(tmp_path / "s.jsonl", rows)
    redact(capsys, tmp_path / "s.jsonl", "--out", tmp_path / "o.jsonl")
    (row,) = read_json(tmp_path / "o.jsonl")
    assert row == {"text": "电话<MOBILE>的张三在北京", "spans": moved, "e1": {"start": 14, "end": 16}}


def test_places_of_words_are_shifted_with_their_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = str(ROWS[0]["text"])
    words = [[0, 2], [2, 8], [8, len(text)]]  # the number, over two words, becomes one
    write_json(tmp_path / "s.jsonl", [{"text": text, "spans": [], "word_ranges": words}])
    redact(capsys, tmp_path / "s.jsonl", "--out", tmp_path / "o.jsonl")
    (example,) = read(Source(str(tmp_path / "o.jsonl"), label_kind="spans")).examples
    assert example.words is not None
    assert [example.text[start:end] for start, end in example.words] == ["电话", "<MOBILE>的张三在北京"]


def test_redacted_spans_are_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spans = [{"start": 0, "end": 15, "label": "X"}, {"start": 14, "end": 16, "label": "PER"}]
    write_json(tmp_path / "s.jsonl", [{"text": ROWS[0]["text"], "spans": spans}])
    redact(capsys, tmp_path / "s.jsonl", "--out", tmp_path / "o.jsonl")
    (example,) = read(Source(str(tmp_path / "o.jsonl"), label_kind="spans")).examples
    assert isinstance(example.label, tuple)
    assert [example.text[s.start : s.end] for s in example.label] == ["电话<MOBILE>的张", "张三"]  # type: ignore[union-attr]


def test_words_with_tags_become_texts_with_spans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tagged = f"Anna B-PER\ncalls O\n{SECRETS[0]} B-TEL\nin O\nRome B-LOC\n\n"
    (tmp_path / "w.conll").write_text(tagged, encoding="utf-8")
    words: dict[str, object] = {
        "words": ["Anna", "calls", SECRETS[0], "in", "Rome"],
        "tags": ["B-PER", "O", "B-TEL", "O", "B-LOC"],
    }
    write_json(tmp_path / "w.jsonl", [words])
    for name in ("w.conll", "w.jsonl"):
        out = tmp_path / f"{name}.redacted"
        redact(capsys, tmp_path / name, "--out", out)
        (row,) = read_json(out)
        assert row["text"] == "Anna calls <MOBILE> in Rome"
        assert [(s["start"], s["end"]) for s in row["spans"]] == [(0, 4), (11, 19), (23, 27)]  # type: ignore[attr-defined]


def test_dialogues_keep_their_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    turns = [{"role": "user", "content": f"I am {SECRETS[1]}"}, {"role": "assistant", "content": "Hello"}]
    write_json(tmp_path / "d.jsonl", [{"messages": turns}])
    redact(capsys, tmp_path / "d.jsonl", "--out", tmp_path / "o.jsonl", "--action", "mask")
    (row,) = read_json(tmp_path / "o.jsonl")
    assert row == {"messages": [{"role": "user", "content": "I am <EMAIL>"}, turns[1]]}


def test_lines_stay_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "l.txt").write_text(f"one {SECRETS[0]}\n\ntwo\n", encoding="utf-8")
    said = json.loads(redact(capsys, tmp_path / "l.txt", "--out", tmp_path / "o.txt", "--json"))
    assert (tmp_path / "o.txt").read_text(encoding="utf-8") == "one <MOBILE>\n\ntwo\n"
    assert said["kinds"] == {"MOBILE": {"count": 1, "examples": ["*******5678"]}}
    assert (said["rows"], said["changed"]) == (3, 1)


def test_a_label_that_was_replaced_is_a_warning_and_can_be_kept(tmp_path: Path) -> None:
    place = write_json(tmp_path / "t.jsonl", [{"text": "good", "label": SECRETS[1]}])
    told = redact_file(Source(str(place)), tmp_path / "o.jsonl", Redactor(standard()))
    assert [finding.code for finding in told.findings] == ["labels_changed"]
    told = redact_file(Source(str(place), label="label"), tmp_path / "o.jsonl", Redactor(standard()))
    assert told.findings == []
    assert read_json(tmp_path / "o.jsonl")[0]["label"] == SECRETS[1]


def test_own_recognisers_and_actions_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yaml").write_text(
        "recognisers: [{name: pattern, kind: STAFF, pattern: 'S-[0-9]{5}'}]\naction: partial\n"
        "actions: {STAFF: mask}\nkinds: [STAFF, MOBILE]\n",
        encoding="utf-8",
    )
    (tmp_path / "l.txt").write_text(f"工号S-12345 {SECRETS[0]} {SECRETS[1]}\n", encoding="utf-8")
    code = cli.guarded(
        lambda: cli.app(
            [
                "redact",
                str(tmp_path / "l.txt"),
                "--out",
                str(tmp_path / "o.txt"),
                "--recognisers",
                str(tmp_path / "r.yaml"),
            ],
            standalone_mode=False,
        )
    )
    assert code == 0
    assert (tmp_path / "o.txt").read_text(encoding="utf-8") == f"工号<STAFF> *******5678 {SECRETS[1]}\n"
    assert "STAFF" in capsys.readouterr().out


def test_names_are_found_by_a_trained_tagger(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"text": "Anna went to Rome", "spans": [{"start": 0, "end": 4, "label": "PER"}]},
        {"text": "we met Anna", "spans": [{"start": 7, "end": 11, "label": "PER"}]},
    ]
    data = {"train": str(write_json(place / "names.jsonl", rows * 12)), "validation_share": 0, "test_share": 0}
    run = write_recipe(place, task="token_classification", data=data, training={"epochs": 1})
    artifact = pipeline.run(Experiment.from_yaml(run), place / "run", quiet=True).artifact
    (place / "l.txt").write_text(f"we met Anna {SECRETS[0]}\n\n", encoding="utf-8")
    told = redact(capsys, place / "l.txt", "--out", place / "o.txt", "--names", artifact, "--kinds", "MOBILE,PERSON")
    (answer,) = Predictor.load(artifact).predict([Example("1", f"we met Anna {SECRETS[0]}")])
    tagged = [span for span in answer.label if isinstance(span, Span)] if isinstance(answer.label, tuple) else []
    assert ("PERSON" in told) == any(span.end <= 12 for span in tagged)
    assert SECRETS[0] not in (place / "o.txt").read_text(encoding="utf-8")


def model_that_tags_no_names(f: Path, artifact: Path) -> tuple[list[object], str]:
    return lines(f, "--names", artifact), "does not tag names"


def test_a_model_that_tags_nothing_is_explained(
    tmp_path: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = model_that_tags_no_names(tmp_path, finished_run / "artifact")
    assert cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False)) == 2
    assert said in capsys.readouterr().err


Situation = Callable[[Path], tuple[list[object], str]]


def lines(f: Path, *more: object) -> list[object]:
    (f / "l.txt").write_text(f"one {SECRETS[0]}\ntwo {SECRETS[1]}\n", encoding="utf-8")
    return ["redact", f / "l.txt", "--out", f / "out", *more]


def yaml_file(f: Path, text: str) -> list[object]:
    (f / "r.yaml").write_text(text, encoding="utf-8")
    return lines(f, "--recognisers", f / "r.yaml")


def unknown_action(f: Path) -> tuple[list[object], str]:
    return lines(f, "--action", "masc"), "Did you mean 'mask'?"


def unknown_kind(f: Path) -> tuple[list[object], str]:
    return lines(f, "--kinds", "EMAL"), "Did you mean 'EMAIL'?"


def refused_text(f: Path) -> tuple[list[object], str]:
    return lines(f, "--action", "refuse", "--kinds", "EMAIL"), "EMAIL (1). where: " + f"{f / 'l.txt'}:2"


def restored_without_a_key(f: Path) -> tuple[list[object], str]:
    return lines(f, "--restore", "--key", f / "none"), "The key cannot be read"


def key_that_others_can_read(f: Path) -> tuple[list[object], str]:
    (f / "k").write_text("00" * 64)
    (f / "k").chmod(0o644)
    return lines(f, "--action", "hash", "--key", f / "k"), "Others can read the key (mode 0644)"


def key_that_is_none(f: Path) -> tuple[list[object], str]:
    (f / "k").write_text("secret")
    (f / "k").chmod(0o600)
    return lines(f, "--action", "hash", "--key", f / "k"), "holds no key"


def no_such_file(f: Path) -> tuple[list[object], str]:
    return ["redact", f / "none.csv", "--out", f / "out"], "The file does not exist"


def questions_about_passages(f: Path) -> tuple[list[object], str]:
    (f / "q.json").write_text('{"data": []}')
    return ["redact", f / "q.json", "--out", f / "out", "--set", "data.format=squad"], "is not written again"


def lists_in_a_table(f: Path) -> tuple[list[object], str]:
    write_json(f / "s.jsonl", [{"text": "a", "spans": []}])
    return ["redact", f / "s.jsonl", "--out", f / "out.csv"], "ends in .jsonl"


def rows_with_columns_of_their_own_in_a_table(f: Path) -> tuple[list[object], str]:
    write_json(f / "s.jsonl", [{"text": "a"}, {"text": "b", "more": "c"}])
    return ["redact", f / "s.jsonl", "--out", f / "out.csv"], "Row 2 holds a list, or a column"


def file_of_recognisers_with_an_unknown_key(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "recogniser: []\n"), "Did you mean 'recognisers'?"


def file_of_recognisers_with_a_wrong_pattern(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "recognisers: [{name: pattern, kind: A, pattern: '('}]\n"), "no regular expression of RE2"


def file_of_recognisers_with_an_unknown_member(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "recognisers: [{name: patern, kind: A, pattern: a}]\n"), "Did you mean 'pattern'?"


def file_of_recognisers_that_is_no_list(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "recognisers: pattern\n"), "recognisers must be a list"


def action_of_an_unknown_kind(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "actions: {EMAL: mask}\n"), "Did you mean 'EMAIL'?"


def action_that_is_a_number(f: Path) -> tuple[list[object], str]:
    return yaml_file(f, "actions: {EMAIL: 3}\n"), "There must be a name"


def presidio_that_is_not_installed(f: Path) -> tuple[list[object], str]:
    if importlib.util.find_spec("presidio_analyzer") is not None:
        pytest.skip("it is installed")
    return yaml_file(f, "recognisers: [presidio]\n"), "tunesmith[presidio]"


SITUATIONS: list[Situation] = [
    unknown_action, unknown_kind, refused_text, restored_without_a_key, key_that_others_can_read, key_that_is_none,
    no_such_file, questions_about_passages, lists_in_a_table,
    rows_with_columns_of_their_own_in_a_table, file_of_recognisers_with_an_unknown_key,
    file_of_recognisers_with_a_wrong_pattern, file_of_recognisers_with_an_unknown_member,
    file_of_recognisers_that_is_no_list, action_of_an_unknown_kind, action_that_is_a_number,
    presidio_that_is_not_installed,
]  # fmt: skip


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
def test_bad_input_is_explained(situation: Situation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, said = situation(tmp_path)
    code = cli.guarded(lambda: cli.app([str(one) for one in arguments], standalone_mode=False))
    error = capsys.readouterr().err
    assert code == 2
    assert said in " ".join(error.split()), error
    assert len(error.strip().splitlines()) <= 6
    assert "Traceback" not in error
    assert not any(secret in error for secret in SECRETS)
    assert not list(tmp_path.glob("out*"))


def test_the_example_of_own_recognisers_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[1] / "examples" / "recognisers" / "support_tickets.yaml"
    text = f"opened by Anna, S-12345, 会员12345674, not 12345675, card 6222021234567890128, {SECRETS[0]}"
    write_json(tmp_path / "t.jsonl", [{"text": text}])
    state = ("--state", tmp_path / "state")
    redact(capsys, tmp_path / "t.jsonl", "--out", tmp_path / "o.jsonl", "--recognisers", example, *state)
    (row,) = read_json(tmp_path / "o.jsonl")
    said = str(row["text"])
    assert said.startswith("opened by <TICKET_AUTHOR>, <STAFF_NUMBER>, 会员<CUSTOMER_NUMBER:")
    assert said.endswith(">, not 12345675, card ***************0128, <MOBILE>")


def test_presidio_finds_what_it_knows_without_fetching_anything() -> None:
    pytest.importorskip("presidio_analyzer")
    redactor = Redactor((Presidio(),))
    assert redactor.apply("Mail a@example.com, card 4111111111111111").text == "Mail <EMAIL>, card <CREDIT_CARD>"


@pytest.mark.parametrize("more", [[], ["--restore"]])
def test_a_file_that_is_there_is_not_written_over_and_a_device_is_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]
) -> None:
    table = write_json(tmp_path / "t.jsonl", [{"text": SECRETS[0], "label": "a"}])
    before = table.read_bytes()
    arguments = ["redact", str(table), "--state", str(tmp_path), *more, "--out"]
    assert cli.guarded(lambda: cli.app([*arguments, str(table)], standalone_mode=False)) == 2
    assert "exists already" in (said := capsys.readouterr().err)
    assert "Choose another --out" in said
    assert table.read_bytes() == before
    if not more:
        assert cli.guarded(lambda: cli.app([*arguments, "/dev/null"], standalone_mode=False)) == 0


@pytest.mark.parametrize("key", ["label", "text"])
def test_a_column_that_no_row_has_is_refused_and_nothing_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    table = write_json(tmp_path / "t.jsonl", [{"text": "a"}, {"text": "b", "label": SECRETS[0]}])
    arguments = ["redact", str(table), "--out", str(tmp_path / "o.jsonl"), "--set"]
    for given, expected in ((f"data.{key}={key[:-1]}", 2), (f"data.{key}={key}", 0)):
        assert cli.guarded(lambda given=given: cli.app([*arguments, given], standalone_mode=False)) == expected  # type: ignore[misc]
        assert (tmp_path / "o.jsonl").exists() == (expected == 0)
    assert f"Did you mean '{key}'?" in capsys.readouterr().err


FILES = {
    "t.csv": "text,label\na,b\n",
    "t.tsv": "text\tlabel\na\tb\n",
    "t.jsonl": '{"text": "a", "label": "b"}\n',
    "t.json": '[{"text": "a", "label": "b"}]',
    "words.jsonl": '{"tokens": ["a", "b"], "ner_tags": ["O", "O"]}\n',
    "t.txt": "a\tb\n",
    "t.conll": "a O\nb O\n",
}
ANY_FORM = (("data.second=text", "'data.second' is of no use here"), ("data.lable=label", "Did you mean 'label'?"))
NO_COLUMN = tuple((f"data.{role}=lable", "There is no column 'lable'.") for role in ("label", "text", "id"))
OWN_NAMES = ("data.header=[a, b]", "Remove data.header. Columns:")
NO_COLUMNS = tuple(
    (f"data.{role}=label", f"'{role}' has no meaning for a file of format lines, which has no columns.")
    for role in ("label", "text", "id")
)
MISNAMED = {
    "t.csv": (*NO_COLUMN, ("data.label=text", "redacted as the text and kept as the label")),
    "t.tsv": NO_COLUMN,
    "t.jsonl": (*NO_COLUMN, OWN_NAMES, ("data.separator=;", "'separator' has no meaning")),
    "t.json": (*NO_COLUMN, OWN_NAMES),
    "words.jsonl": (*NO_COLUMN, OWN_NAMES),
    "t.txt": (
        *NO_COLUMNS,
        ("data.header=[a, b]", "'header' has no meaning for a file of format lines, which has"),
        ("data.separator=;", "of format lines."),
    ),
    "t.conll": (("data.label=b", "'label' has no meaning"), ("data.text=a", "'text' has no meaning")),
}


@pytest.mark.parametrize("name", MISNAMED)
def test_a_setting_that_says_nothing_of_the_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_text(FILES[name], encoding="utf-8")
    out = tmp_path / "out.jsonl"
    for given, said in (*ANY_FORM, *MISNAMED[name]):
        arguments = ["redact", str(tmp_path / name), "--out", str(out), "--set", given]
        assert cli.guarded(lambda arguments=arguments: cli.app(arguments, standalone_mode=False)) == 2, given  # type: ignore[misc]
        assert said in " ".join(capsys.readouterr().err.split())
        assert not out.exists()
    redact(capsys, tmp_path / name, "--out", out)
