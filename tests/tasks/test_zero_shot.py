"""Classes without training: by the likeness of vectors or by inference, as the descriptions and not the places say."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import BartConfig, BartForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

from tests.builders import CLASSES, PAIRS, SETS, build_learner, build_material, build_model, run_steps, write_recipe
from tests.conftest import BART_SIZES, INFERENCE, SIZES, build_tokenizer, save_tiny
from tunesmith import console, pipeline
from tunesmith.data.records import Example
from tunesmith.errors import LabelError, ModelError, RecipeError, TunesmithError
from tunesmith.experiment import Experiment
from tunesmith.inference.artifact import Origin, save_artifact
from tunesmith.inference.predictor import Predictor
from tunesmith.methods import METHODS
from tunesmith.models.backbone import load
from tunesmith.models.catalogue import locate
from tunesmith.preparation import count_of, prepare
from tunesmith.tasks import SentencePairs, ZeroShotClassification
from tunesmith.tasks.zero_shot_heads import Verdict

NONE = METHODS["none"]()
DESCRIBED: dict[str, str | tuple[str, ...]] = {"good": ("a good film", "good work and money"), "bad": "bad"}
LIKENESS = ZeroShotClassification(descriptions=DESCRIBED, pooling="mean")
INFERRED = ZeroShotClassification(by="entailment", descriptions=DESCRIBED)


def states(model: Any, encoder: Any, text: str) -> np.ndarray[Any, Any]:
    """The body's token states of one text, alone in its batch."""
    ids = torch.tensor([[*encoder.before, *encoder.tokens(text).ids, *encoder.after]])
    with torch.no_grad():
        found: torch.Tensor = model.body(input_ids=ids).last_hidden_state[0]
    return found.double().numpy()


def unit(vector: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return vector / np.linalg.norm(vector)


def judged(model: Any, encoder: Any, first: str, second: str) -> np.ndarray[Any, Any]:
    """What a checkpoint with its classifier says of a pair, alone in its batch."""
    head = [*encoder.before, *encoder.tokens(first).ids, *encoder.between]
    tail = [*encoder.tokens(second).ids, *encoder.after]
    kinds = [0] * len(head) + [int(encoder.tells_segments)] * len(tail)
    with torch.no_grad():
        found: torch.Tensor = model.body(torch.tensor([head + tail]), token_type_ids=torch.tensor([kinds])).logits[0]
    return found.double().numpy()


# By similarity


def test_scores_are_the_softmax_over_labels_of_scaled_cosines_with_averaged_descriptions(
    tiny_model_folder: Path,
) -> None:
    model, task, encoder = build_model(tiny_model_folder, LIKENESS, CLASSES, NONE)
    answers = Predictor(model.eval(), task, encoder).predict(CLASSES)
    vectors = {}
    for label, given in {"bad": ("bad",), "good": DESCRIBED["good"]}.items():
        filled = [f"This text is about {way}." for way in given]
        vectors[label] = unit(np.mean([unit(states(model, encoder, text).mean(0)) for text in filled], axis=0))
    for example, answer in zip(CLASSES, answers, strict=True):
        own = unit(states(model, encoder, example.text).mean(0))
        powers = {label: np.exp(20 * own @ vector) for label, vector in vectors.items()}
        for label, power in powers.items():
            assert answer.scores[label] == pytest.approx(power / sum(powers.values()), abs=1e-4)
        assert sum(answer.scores.values()) == pytest.approx(1, abs=1e-6)  # over labels, and not over texts
        assert answer.label == max(powers, key=powers.__getitem__)


def test_windows_of_a_long_text_have_their_vectors_averaged(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, LIKENESS, CLASSES, NONE, max_length=24)
    long = Example("x", " ".join(["good day and bad work"] * 12))
    pieces = task.encode(long, encoder).pieces
    assert len(pieces) > 2
    (row,) = Predictor(model.eval(), task, encoder).logits([task.encode(long, encoder)])
    texts = [str(encoder.tokenizer.decode(piece.input_ids[1:-1])) for piece in pieces]
    own = unit(np.mean([unit(states(model, encoder, text).mean(0)) for text in texts], axis=0))
    other = unit(states(model, encoder, "This text is about bad.").mean(0))
    assert float(row[0]) == pytest.approx(20 * own @ other, abs=1e-3)


def test_the_models_prefix_stands_before_texts_and_descriptions(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, LIKENESS, CLASSES, NONE)
    asking = type(encoder).of(encoder.tokenizer, 64, "think: ")
    encoded = task.encode(CLASSES[0], asking)
    marked = [*encoded.pieces, *(piece for label in encoded.beside for piece in label.pieces)]
    assert len(marked) == 1 + 3
    assert all(tuple(piece.input_ids[: len(asking.before)]) == asking.before for piece in marked)


def test_descriptions_are_read_by_the_body_as_it_is_while_it_learns(tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, LIKENESS, CLASSES, dropout=0.0)
    steps = run_steps(build_learner(model), build_material(task, encoder, CLASSES), steps=30, rate=2e-3, batch_size=8)
    assert steps[-1].loss < steps[0].loss / 4
    fresh = Predictor(model.eval(), task, encoder)
    assert [answer.label for answer in fresh.predict(CLASSES)] == [example.label for example in CLASSES]


@pytest.mark.parametrize("count", [1, 3, 8])
def test_answers_do_not_depend_on_what_shares_the_batch(count: int, tiny_model_folder: Path) -> None:
    model, task, encoder = build_model(tiny_model_folder, LIKENESS, CLASSES, NONE)
    predictor = Predictor(model.eval(), task, encoder)
    alone, together = predictor.predict(CLASSES[:1])[0], predictor.predict(CLASSES[:count])[0]
    assert alone.scores == pytest.approx(together.scores, abs=1e-5)


# By entailment


def test_the_entailment_column_is_found_by_name_and_the_softmax_is_over_labels(tiny_inference_folder: Path) -> None:
    model, task, encoder = build_model(tiny_inference_folder, INFERRED, CLASSES, NONE)
    answers = Predictor(model.eval(), task, encoder).predict(CLASSES)
    column = INFERENCE.index("entailment")
    for example, answer in zip(CLASSES, answers, strict=True):
        logits = {}
        for label, given in {"bad": ("bad",), "good": DESCRIBED["good"]}.items():
            filled = [f"This text is about {way}." for way in given]
            logits[label] = np.mean([judged(model, encoder, example.text, text)[column] for text in filled])
        powers = {label: np.exp(logit) for label, logit in logits.items()}
        for label, power in powers.items():
            assert answer.scores[label] == pytest.approx(power / sum(powers.values()), abs=1e-5)


def renamed(folder: Path, target: Path, **changes: object) -> Path:
    """A copy of a model's folder whose configuration says something else."""
    shutil.copytree(folder, target)
    said = json.loads((target / "config.json").read_text(encoding="utf-8"))
    said = {key: value for key, value in {**said, **changes}.items() if value is not None}
    (target / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return target


def test_the_order_of_the_classes_does_not_matter(tiny_inference_folder: Path, tmp_path: Path) -> None:
    model, task, encoder = build_model(tiny_inference_folder, INFERRED, CLASSES, NONE)
    wanted = Predictor(model.eval(), task, encoder).predict(CLASSES)
    order = [2, 0, 1]
    names = {number: INFERENCE[old] for number, old in enumerate(order)}
    folder = renamed(tiny_inference_folder, tmp_path / "m", id2label=names, label2id=None)
    other = build_model(folder, INFERRED, CLASSES, NONE)[0]
    moved = {name: tensor[order] for name, tensor in model.state_dict().items() if name.startswith("body.classifier.")}
    other.load_state_dict({**model.state_dict(), **moved})
    got = Predictor(other.eval(), task, encoder).predict(CLASSES)
    for one, two in zip(wanted, got, strict=True):
        assert one.scores == pytest.approx(two.scores, abs=1e-5)


@pytest.mark.parametrize(
    ("classes", "entailment", "contradiction", "found"),
    [
        (("contradiction", "entailment", "neutral"), "", "", (1, 0)),
        (("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), "", "", (0, 2)),
        (("entailment", "not_entailment"), "", "not_entailment", (0, 1)),
        (("矛盾", "中立", "蕴含"), "", "", (2, 0)),
        (("LABEL_0", "LABEL_1", "LABEL_2"), "LABEL_2", "LABEL_0", (2, 0)),
    ],
)
def test_classes_are_known_by_name(
    classes: tuple[str, ...], entailment: str, contradiction: str, found: tuple[int, int]
) -> None:
    verdict = Verdict.of(classes, entailment, contradiction, needs_both=True)
    assert (verdict.entailment, verdict.contradiction) == found


@pytest.mark.parametrize(
    ("classes", "entailment", "contradiction", "said"),
    [
        (("LABEL_0", "LABEL_1"), "", "", "task.entailment_label"),
        (("not_entailment", "neutral"), "", "", "task.entailment_label"),
        (("entailment", "not_entailment"), "", "", "task.contradiction_label"),
        (("entailment", "neutral", "contradiction"), "entailmnt", "", "Did you mean 'entailment'?"),
        (("entailment", "neutral", "contradiction"), "", "entailment", "cannot stand for"),
    ],
)
def test_what_names_leave_open_is_asked(
    classes: tuple[str, ...], entailment: str, contradiction: str, said: str
) -> None:
    with pytest.raises(RecipeError) as error:
        Verdict.of(classes, entailment, contradiction, needs_both=True)
    assert said in str(error.value)


def test_several_labels_weigh_entailment_against_contradiction_each(tiny_inference_folder: Path) -> None:
    given = ZeroShotClassification(by="entailment", multi_label=True)
    model, task, encoder = build_model(tiny_inference_folder, given, SETS, NONE)
    for example, answer in zip(SETS, Predictor(model.eval(), task, encoder).predict(SETS), strict=True):
        for label in task.labels:
            powers = np.exp(judged(model, encoder, example.text, f"This text is about {label}."))
            against = powers[INFERENCE.index("contradiction")]
            yes = powers[INFERENCE.index("entailment")] / (powers[INFERENCE.index("entailment")] + against)
            assert answer.scores[label] == pytest.approx(yes, abs=1e-5)
            assert (label in answer.label) == (yes >= 0.5)  # type: ignore[operator]


def test_a_long_text_is_cut_at_its_end_and_a_hypothesis_never(tiny_inference_folder: Path) -> None:
    _, task, encoder = build_model(tiny_inference_folder, INFERRED, CLASSES, NONE, max_length=40)
    long = Example("x", " ".join(["good day"] * 30))
    encoded = task.encode(long, encoder)
    hypotheses = [encoder.tokens(f"This text is about {way}.").ids for way in ("bad", *DESCRIBED["good"])]
    kept = encoder.tokens(long.text).ids[: 60 - encoded.unread]
    assert [piece.input_ids.tolist() for piece in encoded.pieces] == [
        [*encoder.before, *kept, *encoder.between, *ids, *encoder.after] for ids in hypotheses
    ]
    assert max(len(piece.input_ids) for piece in encoded.pieces) == 40
    count = count_of(encoded, task, encoder)
    assert count.unread == encoded.unread > 0
    assert count_of(task.encode(CLASSES[0], encoder), task, encoder).unread == 0


def test_a_hypothesis_that_fills_the_window_is_refused(tiny_inference_folder: Path) -> None:
    wordy = replace(INFERRED, descriptions={"good": " ".join(["good"] * 60), "bad": "bad"})
    _, task, encoder = build_model(tiny_inference_folder, wordy, CLASSES, NONE)
    with pytest.raises(RecipeError, match="leaves no room"):
        task.encode(CLASSES[0], encoder)


def inference_artifact(folder: Path, tiny: Path, *, encoder_kind: str = "cross", pooling: str = "mean") -> Path:
    """An artifact of a trained task of pairs, whose classes have the usual names."""
    names = {"same": "entailment", "other": "contradiction"}
    pairs = [replace(pair, label=names[str(pair.label)]) for pair in PAIRS]
    given = SentencePairs(encoder=encoder_kind, pooling=pooling)  # type: ignore[arg-type]
    model, task, encoder = build_model(tiny, given, pairs, dropout=0.0)
    run_steps(build_learner(model), build_material(task, encoder, pairs), steps=3, rate=1e-3)
    save_artifact(folder, model.eval(), task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    return folder


def test_an_artifact_of_pairs_judges_with_its_own_head(tiny_model_folder: Path, tmp_path: Path) -> None:
    source = inference_artifact(tmp_path / "pairs", tiny_model_folder)
    model, task, encoder = build_model(source, INFERRED, CLASSES, NONE)  # nothing is new, or none would refuse
    mine = Predictor(model.eval(), task, encoder)
    rows = mine.logits(mine.encode(CLASSES))
    pairs = Predictor.load(source, device="cpu")
    column = pairs.task.labels.index("entailment")
    for example, row in zip(CLASSES, rows, strict=True):
        asked = [Example("1", example.text, second=f"This text is about {way}.") for way in ("bad", *DESCRIBED["good"])]
        said = [float(logits[column]) for logits in pairs.logits(pairs.encode(asked))]
        torch.testing.assert_close(row, torch.tensor([said[0], (said[1] + said[2]) / 2]), atol=1e-5, rtol=1e-5)
    save_artifact(tmp_path / "zero", model, task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
    shutil.rmtree(source)
    again = Predictor.load(tmp_path / "zero", device="cpu")
    assert again.predict(CLASSES) == mine.predict(CLASSES)
    # And it may be the start of the next one.
    assert Predictor(build_model(tmp_path / "zero", INFERRED, CLASSES, NONE)[0].eval(), task, encoder).predict(
        CLASSES
    ) == mine.predict(CLASSES)


def test_the_head_that_came_with_the_model_learns_as_a_linear_probe(tiny_model_folder: Path, tmp_path: Path) -> None:
    source = inference_artifact(tmp_path / "pairs", tiny_model_folder)
    model = build_model(source, INFERRED, CLASSES, METHODS["head_only"]())[0]
    assert {name for name, p in model.named_parameters() if p.requires_grad} == {
        "head.output.weight",
        "head.output.bias",
    }


def test_an_artifact_that_judges_no_pairs_is_refused(
    finished_run: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    apart = inference_artifact(tmp_path / "apart", tiny_model_folder, encoder_kind="bi")
    for folder in (finished_run / "artifact", apart):
        with pytest.raises(ModelError, match="does not classify pairs"):
            load(locate(str(folder)), dropout=None, kind="classifier")


def test_a_body_without_a_trained_classifier_is_refused(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match="no trained classifier"):
        load(locate(str(tiny_model_folder)), dropout=None, kind="classifier")


def test_names_that_contradict_each_other_are_refused(tiny_inference_folder: Path, tmp_path: Path) -> None:
    numbers = {"entailment": 0, "neutral": 1, "contradiction": 2}
    with pytest.raises(ModelError, match="contradict each other"):
        load(
            locate(str(renamed(tiny_inference_folder, tmp_path / "a", label2id=numbers))),
            dropout=None,
            kind="classifier",
        )
    place = renamed(tiny_inference_folder, tmp_path / "c", label2id={"entailment": "first"})
    with pytest.raises(ModelError, match="must be numbers with names"):
        load(locate(str(place)), dropout=None, kind="classifier")
    only = renamed(tiny_inference_folder, tmp_path / "b", label2id=numbers, id2label=None)
    assert load(locate(str(only)), dropout=None, kind="classifier").classes == tuple(numbers)


def test_a_roberta_and_a_bart_judge_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    names, size = dict(enumerate(INFERENCE)), len(build_tokenizer())
    bodies = {
        "roberta": RobertaForSequenceClassification(
            RobertaConfig(vocab_size=size, max_position_embeddings=66, pad_token_id=0, id2label=names, **SIZES)
        ),
        "bart": BartForSequenceClassification(BartConfig(vocab_size=size, id2label=names, **BART_SIZES)),
    }
    for name, body in bodies.items():
        model, task, encoder = build_model(save_tiny(tmp_path / name, body), INFERRED, CLASSES, NONE)
        answers = Predictor(model.eval(), task, encoder).predict(CLASSES)
        save_artifact(tmp_path / f"{name}-saved", model, task, encoder, Origin("{}", {}, "tiny", {}, 1), "")
        assert Predictor.load(tmp_path / f"{name}-saved", device="cpu").predict(CLASSES) == answers


def test_prompt_tuning_does_not_push_away_what_a_classifier_reads(tiny_inference_folder: Path) -> None:
    with pytest.raises(RecipeError, match="reads the first token"):
        build_model(tiny_inference_folder, INFERRED, CLASSES, METHODS["prompt_tuning"]())


# The whole run


@pytest.mark.parametrize("by", ["similarity", "entailment"])
def test_a_run_needs_no_training_split_and_its_artifact_no_data(
    by: str, tmp_path: Path, tiny_model_folder: Path, tiny_inference_folder: Path
) -> None:
    (tmp_path / "model").symlink_to(tiny_model_folder if by == "similarity" else tiny_inference_folder)
    rows = "".join(f"电影很{'好' if n % 2 else '坏'}{n},{'好评' if n % 2 else '差评'}\n" for n in range(40))
    (tmp_path / "test.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    task = {
        "name": "zero_shot_classification",
        "by": by,
        "template": "这说的是{label}的电影。",
        "descriptions": {"好评": ["好", "喜欢"], "差评": "很坏"},
    }
    recipe = write_recipe(tmp_path, task=task, data={"test": str(tmp_path / "test.csv")}, method="none")
    result = pipeline.run(Experiment.from_yaml(recipe), tmp_path / "run", quiet=True)
    assert result.report.cost.parameters_trained == 0
    assert {"accuracy", "macro_f1"} <= set(result.report.splits[-1].metrics)
    (tmp_path / "test.csv").unlink()
    (tmp_path / "model").unlink()
    answers = Predictor.load(result.artifact, device="cpu").predict_texts(["电影很好", "电影很坏"])
    assert [set(answer.scores) for answer in answers] == [{"好评", "差评"}] * 2
    settings = yaml.safe_load((result.artifact / "artifact.json").read_text(encoding="utf-8"))["task"]
    assert settings["descriptions"] == {"好评": ["好", "喜欢"], "差评": ["很坏"]}


def test_labels_alone_make_an_artifact_and_the_report_says_that_nothing_was_evaluated(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"name": "zero_shot_classification", "labels": ["good", "bad"]}
    recipe = write_recipe(place, task=task, data={"train": "none"}, method="none")
    result = pipeline.run(Experiment.from_yaml(recipe), place / "run")
    assert "no examples; 0 of" in capsys.readouterr().err
    assert result.report.splits == ()
    assert any("Nothing was evaluated" in note for note in result.report.notes)
    assert "of 2 texts" in result.report.parity, "the labels' names are what the artifact was tried on"
    assert Predictor.load(result.artifact).predict([Example("1", "a good film")])[0].label in ("good", "bad")
    console.show_result(result, as_json=False)
    assert "Nothing was evaluated" in capsys.readouterr().out


def test_a_label_that_the_task_does_not_name_stops_the_run(place: Path) -> None:
    (place / "test.csv").write_text("text,label\na day,good\na film,bad\na man,godo\n", encoding="utf-8")
    task = {"name": "zero_shot_classification", "labels": ["good", "bad"]}
    recipe = write_recipe(place, task=task, data={"test": str(place / "test.csv")}, method="none")
    with pytest.raises(TunesmithError) as error:
        pipeline.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    assert "1 labels of test are not among the task's" in str(error.value)
    assert "Did you mean 'good'?" in str(error.value)
    found = prepare(Experiment.from_yaml(recipe, ["data.accept=[unseen_labels]"])).findings
    assert [finding.severity for finding in found if finding.code == "unseen_labels"] == ["warning"]


def test_a_training_label_that_the_task_does_not_name_is_an_error(tiny_model_folder: Path) -> None:
    _, task, encoder = build_model(tiny_model_folder, replace(LIKENESS, labels=("good", "bad")), CLASSES, NONE)
    with pytest.raises(LabelError, match="Did you mean 'good'"):
        task.encode(Example("x", "a day", "godo"), encoder)


# What cannot be


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "about"}, "must have the slot {label} once"),
        ({"template": "{label} {label}"}, "must have the slot {label} once"),
        ({"template": "{text} is {label}"}, "wrong slot '{text}'"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"threshold": 1.0}, "between 0 and 1"),
        ({"threshold": 0.4}, "no effect without multi_label"),
        ({"multi_label": True}, "multi_label has no effect by: similarity"),
        ({"entailment_label": "yes"}, "entailment_label has no effect by: similarity"),
        ({"by": "entailment", "scale": 5.0}, "scale has no effect by: entailment"),
        ({"by": "entailment", "stride": 5}, "stride has no effect by: entailment"),
        ({"by": "entailment", "contradiction_label": "no"}, "no effect without multi_label"),
        ({"labels": ("a", "a")}, "stands twice"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        ZeroShotClassification(**settings)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "fewer than two labels"),
        ({"labels": ("good",)}, "fewer than two labels"),
        ({"descriptions": {"good": "good"}}, "fewer than two labels"),
        ({"labels": ("good", "bad"), "descriptions": {"god": "x"}}, "Did you mean 'good'?"),
        ({"descriptions": {"good": "a film", "bad": ("bad", "A Film")}}, "'bad' and 'good' have the same description"),
        ({"descriptions": {"good": " ", "bad": "bad"}}, "empty description"),
        ({"descriptions": {"good": (), "bad": "bad"}}, "empty description"),
        ({"descriptions": {"good": "ครับ", "bad": "bad"}}, "does not know the description"),
    ],
)
def test_labels_must_be_told_apart_by_what_they_mean(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as error:
        ZeroShotClassification(**settings).prepared([], build_tokenizer())
    assert said in str(error.value)


def test_a_label_without_a_description_is_described_by_its_name() -> None:
    task = ZeroShotClassification(labels=("new_york", "rome"), descriptions={"rome": "a city"})
    assert task.prepared([], build_tokenizer()).descriptions == {"new_york": ("new york",), "rome": ("a city",)}
