"""Ensembles and passes with dropout: exact means, votes, the folder, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.builders import CLASSES, TASK_CASES, build_model, folder_of
from tunesmith.data.records import Prediction, Span
from tunesmith.errors import ArtifactError, RecipeError
from tunesmith.inference.artifact import Origin, add_file, file_hash, save_artifact, verify
from tunesmith.inference.ensemble import voted
from tunesmith.inference.ensemble_folder import check_members, save_ensemble
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import SequenceClassification

MIXABLE = [
    "single_label",
    "binary",
    "multi_label",
    "regression",
    "relations",
    "pairs_cross",
    "likeness_cross",
    "tokens",
]
MIXABLE += ["tokens_casing", "few_shot", "prompts", "zero_shot", "image_text"]


def artifact(folder: Path, model_folder: Path, case: str, seed: int = 0, temperature: float = 1.0) -> Path:
    """An untrained model of a case whose head is random."""
    torch.manual_seed(seed)
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(model_folder, task, examples)
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.add_(torch.randn_like(weight))
    task = replace(task, temperature=temperature) if temperature != 1 else task  # type: ignore[type-var]
    place = folder / f"{case}-{seed}"
    save_artifact(place, model, task, encoder, Origin("{}", {}, "tiny", {}, seed), "")
    return place


def ensemble(folder: Path, members: list[Path], by: str = "probabilities") -> Predictor:
    check_members(members, by)  # type: ignore[arg-type]
    save_ensemble(folder, members, by)  # type: ignore[arg-type]
    return Predictor.load(folder, device="cpu")


@pytest.mark.parametrize("by", ["probabilities", "logits"])
@pytest.mark.parametrize("case", MIXABLE)
def test_the_same_member_twice_answers_as_the_member(
    case: str, by: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    one = artifact(tmp_path, folder_of(case, request), case)
    both = ensemble(tmp_path / "both", [one, one], by).predict(TASK_CASES[case][1])
    alone = Predictor.load(one, device="cpu").predict(TASK_CASES[case][1])
    for answer, wanted in zip(both, alone, strict=True):
        if isinstance(wanted.label, float):
            assert answer.label == pytest.approx(wanted.label, abs=1e-5)
        else:
            assert answer.label == wanted.label
        assert answer.scores == pytest.approx(wanted.scores, abs=1e-5)
        assert answer.span_scores == pytest.approx(wanted.span_scores, abs=1e-5)
        assert answer.without == wanted.without
        assert math.isnan(answer.uncertainty) or answer.uncertainty == pytest.approx(0, abs=1e-5)


def test_the_mean_of_probabilities_by_hand_with_each_members_temperature(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    members = [artifact(tmp_path, tiny_model_folder, "single_label", n, 1.0 + n) for n in range(3)]
    found = ensemble(tmp_path / "all", members).predict(CLASSES)
    alone = [Predictor.load(member, device="cpu").predict(CLASSES) for member in members]
    for place, answer in enumerate(found):
        mean = {label: sum(one[place].scores[label] for one in alone) / 3 for label in ("bad", "good")}
        assert answer.scores == pytest.approx(mean, abs=1e-6)
        assert answer.label == max(mean, key=mean.__getitem__)
        entropies = [-sum(p * math.log(p) for p in one[place].scores.values()) for one in alone]
        whole = -sum(p * math.log(p) for p in mean.values())
        assert answer.uncertainty == pytest.approx(whole - sum(entropies) / 3, abs=1e-5)


@pytest.mark.parametrize("case", ["tokens_crf", "words", "single_label", "multi_label", "regression"])
def test_members_vote_where_nothing_can_be_averaged(case: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    members = [artifact(tmp_path, folder_of(case, request), case, seed) for seed in range(3)]
    examples = TASK_CASES[case][1]
    found = ensemble(tmp_path / "all", members, "votes").predict(examples)
    alone = [Predictor.load(member, device="cpu").predict(examples) for member in members]
    for one, answers in zip(found, zip(*alone, strict=True), strict=True):
        assert repr(one) == repr(voted(answers))  # nan is not equal to itself


def test_a_span_needs_over_half_of_the_votes() -> None:
    rome, york, far = Span(0, 4, "LOC"), Span(9, 17, "LOC"), Span(9, 17, "PER")
    answers = [Prediction("a", label, 0.9) for label in ((rome, york), (rome,), (rome, far), (york,))]
    found = voted(answers)
    assert found.label == (rome,)
    assert found.span_scores == (0.75,)
    assert voted(answers[:2]).label == (rome,), "half of the votes are not enough"
    assert voted([Prediction("a", (), 1.0), Prediction("a", (rome,), 1.0)]) == Prediction("a", (), 0.5)


def test_of_classes_with_as_many_votes_the_surer_wins() -> None:
    one = Prediction("a", "x", 0.6, {"x": 0.6, "y": 0.4})
    other = Prediction("a", "y", 0.9, {"x": 0.1, "y": 0.9})
    assert voted([one, other]) == Prediction("a", "y", 0.5, {"x": 0.5, "y": 0.5})


def test_an_ensemble_is_verified_down_to_its_members(tiny_model_folder: Path, tmp_path: Path) -> None:
    members = [artifact(tmp_path, tiny_model_folder, "single_label", seed) for seed in (0, 1)]
    ensemble(tmp_path / "all", members)
    description = verify(tmp_path / "all")
    assert description["ensemble"] == {"by": "probabilities", "members": 2}
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert manifest["members/2/model.safetensors"] == file_hash(members[1] / "model.safetensors")
    add_file(tmp_path / "all", "note.txt", "more")
    verify(tmp_path / "all")
    (tmp_path / "all" / "members" / "2" / "extra.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"'members/2/extra.json' was added"):
        Predictor.load(tmp_path / "all")
    (tmp_path / "all" / "members" / "2" / "extra.json").rename(tmp_path / "all" / "members" / "2" / "code.py")
    with pytest.raises(ArtifactError, match="could run code"):
        Predictor.load(tmp_path / "all")
    (tmp_path / "all" / "members" / "2" / "code.py").unlink()
    shutil.copy(members[0] / "model.safetensors", tmp_path / "all" / "members" / "2" / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"'members/2/model.safetensors' was changed"):
        Predictor.load(tmp_path / "all")


def test_other_labels_another_tokenizer_and_what_cannot_be_averaged_are_refused(
    tiny_model_folder: Path, tiny_decoder_folder: Path, tmp_path: Path
) -> None:
    one = artifact(tmp_path, tiny_model_folder, "single_label")
    with pytest.raises(ArtifactError, match="differ in their labels"):
        check_members([one, artifact(tmp_path, tiny_model_folder, "tokens")], "probabilities")
    crf = artifact(tmp_path, tiny_model_folder, "tokens_crf")
    with pytest.raises(ArtifactError, match="no probabilities that can be averaged") as refusal:
        check_members([crf, crf], "probabilities")
    assert refusal.value.to_do == "Use --by votes."
    check_members([crf, crf], "votes")
    asked = artifact(tmp_path, tiny_model_folder, "questions")
    with pytest.raises(ArtifactError, match="cannot be counted"):
        check_members([asked, asked], "votes")
    changed = Path(shutil.copytree(one, tmp_path / "changed"))
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    add_file(changed, "tokenizer.json", json.dumps(tokenizer | {"version": "1.0 "}))
    with pytest.raises(ArtifactError, match="differ in their tokenizer"):
        check_members([one, changed], "probabilities")
    save_ensemble(tmp_path / "all", [one, one], "votes")
    with pytest.raises(ArtifactError, match="cannot be a member"):
        check_members([one, tmp_path / "all"], "votes")


@pytest.mark.parametrize("case", ["single_label", "multi_label", "tokens"])
def test_passes_with_dropout_are_their_mean_and_come_again(case: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    one = Predictor.load(artifact(tmp_path, tiny_model_folder, case), device="cpu")
    examples = TASK_CASES[case][1]
    state = torch.random.get_rng_state()
    several = one.with_dropout(7, seed=3)
    found = several.predict(examples)
    assert several.predict(examples) == found
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.with_dropout(7, seed=4).predict(examples) != found
    assert any(answer.uncertainty > 1e-6 for answer in found)
    assert one.predict(examples) == Predictor.load(tmp_path / f"{case}-0", device="cpu").predict(examples)
    if case == "single_label":
        rows = several.logits(several.encode(examples))
        assert rows[0].shape == (7, 2)
        mean = rows[0].softmax(-1).mean(0)
        assert list(found[0].scores.values()) == pytest.approx(mean.tolist(), abs=1e-6)


def test_passes_that_are_all_alike_or_cannot_be_averaged_are_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    one = artifact(tmp_path, tiny_model_folder, "tokens_crf")
    with pytest.raises(RecipeError, match="cannot be averaged over passes"):
        Predictor.load(one).with_dropout(5)
    with pytest.raises(RecipeError, match="One pass"):
        Predictor.load(artifact(tmp_path, tiny_model_folder, "tokens")).with_dropout(1)
    model, task, encoder = build_model(tiny_model_folder, SequenceClassification(), CLASSES, dropout=0.0)
    with pytest.raises(RecipeError, match="no dropout"):
        Predictor(model, task, encoder).with_dropout(5)
    plain = artifact(tmp_path, tiny_model_folder, "single_label")
    with pytest.raises(RecipeError, match="asked without dropout"):
        ensemble(tmp_path / "all", [plain, plain]).with_dropout(5)
