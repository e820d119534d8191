"""Text with pictures or recordings: fusion sees what neither modality shows, and does without one of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders import TASK_CASES, build_learner, build_material, build_model, run_steps, write_recipe
from tests.media_files import write_picture
from tunesmith import cli, pipeline
from tunesmith.data.records import Example
from tunesmith.errors import DataError, RecipeError
from tunesmith.experiment import Experiment
from tunesmith.inference.predictor import Predictor
from tunesmith.tasks import MultimodalClassification
from tunesmith.tasks.fusion import FUSIONS, FusionHead, Gate, Views
from tunesmith.tasks.media_encoders import MediaEncoder


def planted(folder: Path, count: int, label: str) -> list[Example]:
    """Examples with a bit in the text and a bit in the picture; the label is their XOR, or the bit that both share."""
    found = []
    for number in range(count):
        word, colour = number % 2, number // 2 % 2
        if label == "same":
            colour = word
        path = write_picture(folder / f"{number}.png", ("red", "blue")[colour], seed=number)
        text = f"{('good', 'bad')[word]} {('day', 'week', 'year', 'film', 'work')[number % 5]}"
        answer = ("no", "yes")[word if label == "same" else word ^ colour]
        found.append(Example(str(number), text, answer, media={"image": str(path)}))
    return found


def trained(
    task: MultimodalClassification, examples: list[Example], folder: Path, steps: int, rate: float = 1e-3
) -> Predictor:
    """A model after so many steps on these examples."""
    torch.manual_seed(0)
    model, prepared, encoder = build_model(folder, task, examples)
    assert isinstance(prepared, MultimodalClassification)
    run_steps(
        build_learner(model, clip=1.0), build_material(prepared, encoder, examples), steps=steps, rate=rate,
        batch_size=32,
    )  # fmt: skip
    return Predictor(model.eval(), prepared, encoder)


def accuracy(predictor: Predictor, examples: list[Example]) -> float:
    answers = predictor.predict(examples)
    return float(np.mean([answer.label == example.label for answer, example in zip(answers, examples, strict=True)]))


def lacking(examples: list[Example], modality: str) -> list[Example]:
    return [
        Example(e.id, "" if modality == "text" else e.text, e.label, media={} if modality == "image" else e.media)
        for e in examples
    ]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusion_answers_what_depends_on_both(fusion: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    examples = planted(tmp_path, 288, "xor")
    task = MultimodalClassification(fusion=fusion, modality_dropout=0, channels=8, image_size=16)  # type: ignore[arg-type]
    assert accuracy(trained(task, examples[:256], tiny_model_folder, 240), examples[256:]) > 0.95


@pytest.mark.parametrize("use", ["text", "media"])
def test_one_modality_alone_is_at_chance_where_the_label_depends_on_both(
    use: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    examples = planted(tmp_path, 160, "xor")
    task = MultimodalClassification(use=use, channels=8, image_size=16)  # type: ignore[arg-type]
    assert accuracy(trained(task, examples[:80], tiny_model_folder, 30), examples[80:]) < 0.65


def test_a_model_that_learnt_with_modality_dropout_does_without_either(tiny_model_folder: Path, tmp_path: Path) -> None:
    examples = planted(tmp_path, 128, "same")
    task = MultimodalClassification(modality_dropout=0.3, channels=8, image_size=16)
    predictor = trained(task, examples[:96], tiny_model_folder, 90)
    for modality in ("text", "image"):
        assert accuracy(predictor, lacking(examples[96:], modality)) > 0.9


def test_answers_without_a_modality_are_those_that_its_absence_gives(tiny_model_folder: Path, tmp_path: Path) -> None:
    examples = planted(tmp_path, 24, "xor")
    model, task, encoder = build_model(tiny_model_folder, MultimodalClassification(channels=8, image_size=16), examples)
    predictor = Predictor(model.eval(), task, encoder)
    answers = predictor.predict(examples)
    for modality in ("text", "image"):
        absent = predictor.predict(lacking(examples, modality))
        assert [a.without[modality] for a in answers] == [a.label for a in absent]
        assert not absent[0].without
    measured = {measure.name: measure.value() for measure in task.measures(examples, answers)}
    for modality in ("text", "image"):
        assert measured[f"accuracy_without_{modality}"] == pytest.approx(
            accuracy(predictor, lacking(examples, modality))
        )
    assert (
        not predictor.task.for_choosing()
        .decode(model, encoder, examples[:1], [], [predictor.logits(predictor.encode(examples[:1]))[0][:1]])[0]
        .without
    )


@pytest.mark.parametrize("case", ["image_text", "audio_text"])
def test_training_withholds_each_modality_and_never_both(case: str, tiny_model_folder: Path) -> None:
    task, examples = TASK_CASES[case]
    model, task, encoder = build_model(tiny_model_folder, task, examples[3:])
    batch = task.collate([task.encode(example, encoder) for example in examples[3:]] * 40, 0)
    head = model.head
    assert isinstance(head, FusionHead)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def answer(hidden, batch, media, has_text, has_medium) -> torch.Tensor:
        seen.append((has_text, has_medium))
        return hidden[:, 0]

    head.answer = answer  # type: ignore[method-assign]
    head.modality_dropout = 0.4
    model(batch)
    ((text, medium),) = seen
    assert bool((text | medium).all())
    for there in (text, medium):
        assert float((~there).float().mean()) == pytest.approx(0.4, abs=0.12)
    model.eval()
    model(batch)
    assert bool(seen[1][0].all() & seen[1][1].all())


def test_a_model_that_never_lacked_a_modality_refuses_to(tiny_model_folder: Path, tmp_path: Path) -> None:
    examples = planted(tmp_path, 8, "same")
    task = MultimodalClassification(modality_dropout=0, image_size=16)
    _, prepared, encoder = build_model(tiny_model_folder, task, examples)
    with pytest.raises(DataError, match="has no image, and the model was never trained without"):
        prepared.encode(Example("x", "good"), encoder)
    used_to = task.prepared([*examples, Example("x", "good", "yes")], encoder.tokenizer)
    assert used_to.encode(Example("x", "good"), encoder).media.keys() == {"text_mask"}
    with pytest.raises(DataError, match="no text"):
        used_to.encode(lacking(examples, "text")[0], encoder)
    with pytest.raises(DataError, match="no text and no image"):
        MultimodalClassification(labels=("a", "b")).encode(Example("x", " "), encoder)


def test_the_baseline_of_one_modality_does_not_see_the_other(tiny_model_folder: Path, tmp_path: Path) -> None:
    (one,) = planted(tmp_path, 1, "same")
    for use, changed in (
        ("text", Example("a", one.text, media={"image": "nowhere.png"})),
        ("media", Example("a", "another long text", media=one.media)),
    ):
        task = MultimodalClassification(use=use, image_size=16)  # type: ignore[arg-type]
        model, prepared, encoder = build_model(tiny_model_folder, task, [one])
        logits = Predictor(model.eval(), prepared, encoder).logits
        first, second = logits([prepared.encode(example, encoder) for example in (one, changed)])
        torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_the_gate_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    gate = Gate(6)
    views = Views(
        torch.randn(3, 1, 6), torch.ones(3, 1), torch.arange(3), torch.randn(3, 1, 6), torch.ones(3, 1), "mean"
    )
    text, image = views.tokens[:, 0], views.media[:, 0]
    h_v = torch.tanh(image @ gate.from_medium.weight.T + gate.from_medium.bias)
    h_t = torch.tanh(text @ gate.from_text.weight.T + gate.from_text.bias)
    z = torch.sigmoid(torch.cat([image, text], 1) @ gate.gate.weight.T)
    torch.testing.assert_close(gate(views), z * h_v + (1 - z) * h_t)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_padding_of_media_and_order_of_windows_do_not_matter(fusion: str) -> None:
    torch.manual_seed(0)
    joint = FUSIONS[fusion](8)
    tokens, media = torch.randn(3, 4, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    words, owner = torch.ones(3, 4).bool(), torch.tensor([0, 0, 1])
    found = joint(Views(tokens, words, owner, media, mask, "mean"))
    changed = media.clone()
    changed[0, 3:] = 99
    torch.testing.assert_close(joint(Views(tokens, words, owner, changed, mask, "mean")), found)
    swapped = joint(Views(tokens[[1, 0, 2]], words, owner, media, mask, "mean"))
    torch.testing.assert_close(swapped, found)


@pytest.mark.parametrize("bands", [0, 20])
def test_a_network_has_a_state_per_place_or_moment(bands: int) -> None:
    torch.manual_seed(0)
    encoder = MediaEncoder("audio" if bands else "image", bands, 4, 8).eval()
    if not bands:
        states, mask = encoder(torch.randint(0, 255, (70, 3, 33, 33), dtype=torch.uint8), None)
        assert (states.shape, mask.shape, bool(mask.all())) == ((70, 9, 8), (70, 9), True)
        return
    sounds, lengths = torch.randn(3, bands, 50), torch.tensor([50, 17, 1])
    sounds *= torch.arange(50) < lengths[:, None, None]
    states, mask = encoder(sounds, lengths)
    assert mask.sum(1).tolist() == [4, 2, 1]
    for row, length in zip(range(3), lengths.tolist(), strict=True):
        alone, _ = encoder(sounds[row : row + 1, :, :length], lengths[row : row + 1])
        torch.testing.assert_close(alone[0], states[row, : alone.shape[1]], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"modality_dropout": 0.6}, "modality_dropout must lie between 0 and 0.5"),
        ({"image_size": 8}, "image_size must lie between"),
        ({"sample_rate": 8000}, "sample_rate has no effect on modality image"),
        ({"modality": "audio", "image_size": 128}, "image_size has no effect on modality audio"),
        ({"use": "text", "modality_dropout": 0.2}, "modality_dropout has no effect with use: text"),
        ({"temperature": 0}, "temperature must be positive"),
    ],
)
def test_settings_without_sense_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        MultimodalClassification(**settings)


def test_a_run_from_a_table_of_pictures_to_answers_on_the_command_line(
    place: Path, capsys: pytest.CaptureFixture
) -> None:
    lines, folder = ["text,image,label"], place / "pictures"
    folder.mkdir()
    for example in planted(folder, 80, "xor"):
        image = "" if example.id == "7" else f"{example.id}.png"
        lines.append(f"{'' if example.id == '9' else example.text},{image},{example.label}")
    (folder / "train.csv").write_text("\n".join(lines), encoding="utf-8")
    recipe = write_recipe(
        place,
        task={"name": "multimodal_classification", "channels": 4, "image_size": 16},
        data={"train": str(folder / "train.csv"), "validation_share": 0.2, "test_share": 0.2},
    )
    result = pipeline.run(Experiment.from_yaml(recipe), place / "run", quiet=True)
    said = {finding.code: finding.count for finding in result.report.findings}
    assert (said["missing_image"], said["missing_text"]) == (1, 1)
    assert {"accuracy_without_text", "accuracy_without_image"} <= result.report.splits[-1].metrics.keys()
    (folder / "new.csv").write_text("text,shot\ngood day,1.png\nbad day,\n,2.png\n", encoding="utf-8")
    asked = ["predict", str(result.folder / "artifact"), "--file", str(folder / "new.csv"), "--set", "data.image=shot"]
    assert cli.guarded(lambda: cli.app(asked, standalone_mode=False)) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [answer["label"] in ("yes", "no") for answer in answers] == [True] * 3
    assert [set(answer.get("without", ())) for answer in answers] == [{"text", "image"}, set(), set()]
    assert all(set(a["scores"]) == set(b["scores"]) for a, b in itertools.pairwise(answers))
