"""Pictures and recordings beside texts: where they are found, what numbers they are, what is said of bad ones."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.media_files import write_picture, write_png, write_tone
from tunesmith.data.checks import check
from tunesmith.data.dataset import Data
from tunesmith.data.images import pixels_of
from tunesmith.data.media import content_of, digest_of
from tunesmith.data.records import Splits
from tunesmith.data.sounds import Listening, log_mel_of, mel_filters
from tunesmith.data.source import Source
from tunesmith.data.sources import Reading, read
from tunesmith.data.splits import fingerprint
from tunesmith.data.spoken_digits import questions_on
from tunesmith.data.stored import from_plain, to_plain
from tunesmith.errors import DataError

HOW = Listening(8000, 20, 5.0)
BOTH = ("text", "image")


def rows(folder: Path, table: str, **settings: str) -> Reading:
    (folder / "rows.csv").write_text(table, encoding="utf-8")
    return read(Source(str(folder / "rows.csv"), label_kind="class", inputs=BOTH, **settings))  # type: ignore[arg-type]


def codes(reading: Reading) -> dict[str, int]:
    return {finding.code: finding.count for finding in reading.findings}


def test_a_column_of_paths_is_read_relative_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    write_picture(tmp_path / "img" / "1.png", "red")
    (example,) = rows(tmp_path, "text,image,label\nwhat colour,img/1.png,red\n").examples
    assert content_of(example.media["image"]).startswith(b"\x89PNG")
    assert from_plain(to_plain(example)) == example


def test_columns_may_have_chinese_names_and_names_of_their_own(tmp_path: Path) -> None:
    write_picture(tmp_path / "红.png", "red")
    (one,) = rows(tmp_path, "文本,图片,标签\n什么颜色,红.png,红\n").examples
    (two,) = rows(tmp_path, "text,shot,label\n什么颜色,红.png,红\n", image="shot").examples
    assert (one.text, one.media, one.label) == (two.text, two.media, two.label) == ("什么颜色", two.media, "红")


def test_what_a_row_lacks_is_counted_and_what_lacks_all_is_left_out(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", "red")
    reading = rows(tmp_path, "text,image,label\nwords,1.png,a\n,1.png,a\nwords,,b\n,,b\n")
    assert [(bool(example.text), bool(example.media)) for example in reading.examples] == [(1, 1), (0, 1), (1, 0)]
    assert {code: codes(reading)[code] for code in ("missing_text", "missing_image", "empty_texts")} == {
        "missing_text": 1,
        "missing_image": 1,
        "empty_texts": 1,
    }


def test_a_file_that_is_not_there_is_named_with_its_row(tmp_path: Path) -> None:
    write_picture(tmp_path / "cat.png", "red")
    with pytest.raises(DataError, match=r"cot\.png does not exist\. Did you mean 'cat\.png'") as error:
        rows(tmp_path, "text,image,label\na,cat.png,x\nb,cot.png,y\n")
    assert error.value.where.endswith("rows.csv:3")


def test_a_table_without_a_column_of_files_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image files usually are") as error:
        rows(tmp_path, "text,label,scan\na,x,1.png\n")
    assert "scan" in error.value.to_do


def test_files_in_archives_are_read_and_missing_members_named(tmp_path: Path) -> None:
    picture = write_picture(tmp_path / "1.png", "red")
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.write(picture, "in/1.png")
    with tarfile.open(tmp_path / "p.tar.xz", "w:xz") as tar:
        tar.add(picture, "in/1.png")
    for name in ("p.zip", "p.tar.xz"):
        assert content_of(f"{tmp_path / name}!in/1.png") == picture.read_bytes()
        with pytest.raises(DataError, match=r"Did you mean 'in/1\.png'"):
            content_of(f"{tmp_path / name}!in/2.png")
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        content_of(f"{tmp_path / 'bad.zip'}!x")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = write_png(tmp_path / "1.png", np.zeros((16, 16, 3)))
    before, old = digest_of(str(path)), pixels_of(str(path), 16)
    write_png(path, np.full((16, 16, 3), 200))
    assert digest_of(str(path)) != before
    assert pixels_of(str(path), 16).max() == 200 > old.max()


def test_the_fingerprint_knows_pictures_by_content_and_not_by_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", "red")
    table = "text,image,label\na,1.png,x\n"
    first = fingerprint(rows(tmp_path, table).examples)
    moved = Path(shutil.copytree(tmp_path, tmp_path / "moved"))
    assert fingerprint(rows(moved, table).examples) == first
    write_picture(moved / "1.png", "blue")
    assert fingerprint(rows(moved, table).examples) != first


def test_a_picture_under_another_name_is_leakage(tmp_path: Path) -> None:
    for name in ("1.png", "copy.png"):
        write_picture(tmp_path / name, "red", seed=1)
    write_picture(tmp_path / "2.png", "red", seed=2)
    examples = rows(tmp_path, "text,image,label\na,1.png,x\na,copy.png,x\na,2.png,x\n").examples
    found = check(Splits(examples[:1], (), examples[1:]), label_kind="class")
    assert {f.code: f.count for f in found}["leakage"] == 1


def test_questions_on_one_picture_stay_on_one_side(tmp_path: Path) -> None:
    lines = ["text,image,label"]
    for number in range(20):
        write_picture(tmp_path / f"{number}.png", "red", seed=number)
        lines += [f"question {question} of it,{number}.png,{'ab'[question % 2]}" for question in range(4)]
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    splits = Data(train=str(tmp_path / "rows.csv")).load("class", 1, BOTH).splits
    sides = [{example.media["image"] for example in part} for part in splits.named().values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 20
    assert not [f for f in check(splits, label_kind="class") if f.code == "near_duplicates"]


def test_pixels_are_scaled_turned_and_laid_on_white(tmp_path: Path) -> None:
    half = np.zeros((8, 16, 3))
    half[:, 8:] = (255, 0, 0)
    pixels = pixels_of(str(write_png(tmp_path / "half.png", half)), 16)
    assert pixels.shape == (3, 16, 16)
    assert pixels[:, 8, 2].tolist() == [0, 0, 0]
    assert pixels[:, 8, 13].tolist() == [255, 0, 0]
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(tmp_path / "glass.png")
    assert pixels_of(str(tmp_path / "glass.png"), 16).min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(half.astype(np.uint8)).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    turned = pixels_of(str(tmp_path / "turned.jpg"), 16)
    assert turned[0, 13].min() > 200 > 50 > turned[0, 2].max()


def test_greys_of_16_bits_keep_their_shades(tmp_path: Path) -> None:
    shades = np.repeat(np.arange(16, dtype=np.uint16)[None] * 4096, 16, axis=0)
    Image.fromarray(shades).save(tmp_path / "deep.png")
    Image.fromarray((shades // 256).astype(np.uint8)).save(tmp_path / "flat.png")
    deep, flat = (pixels_of(str(tmp_path / name), 16) for name in ("deep.png", "flat.png"))
    assert deep[:, 8].tolist() == flat[:, 8].tolist() == [[16 * shade for shade in range(16)]] * 3
    Image.fromarray(shades.astype(np.float32)).save(tmp_path / "numbers.tif")
    with pytest.raises(DataError, match="its points are numbers of 32 bits"):
        pixels_of(str(tmp_path / "numbers.tif"), 16)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\nbroken"])
def test_what_is_no_picture_is_said_so(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(content)
    with pytest.raises(DataError, match="is no picture that can be read"):
        pixels_of(str(tmp_path / "1.png"), 16)


def test_a_tone_is_heard_in_its_band(tmp_path: Path) -> None:
    corners = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 4000 / 700), 22) / 2595) - 1)
    for hertz in (300, 1000, 2500):
        heard = log_mel_of(str(write_tone(tmp_path / f"{hertz}.wav", hertz)), HOW)
        band = int(heard.mean(1).argmax())
        assert corners[band] <= hertz <= corners[band + 2]
        assert heard.shape == (20, 18)
        assert (abs(float(heard.mean())), float(heard.std())) == pytest.approx((0, 1), abs=1e-4)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_sound_the_same(width: int, tmp_path: Path) -> None:
    one = log_mel_of(str(write_tone(tmp_path / "a.wav", 700, width=4)), Listening(8000, 8, 5.0))
    other = log_mel_of(str(write_tone(tmp_path / "b.wav", 700, width=width)), Listening(8000, 8, 5.0))
    assert int(one.mean(1).argmax()) == int(other.mean(1).argmax())
    if width > 1:
        np.testing.assert_allclose(one[:4], other[:4], atol=0.3)


def test_another_sample_rate_is_resampled(tmp_path: Path) -> None:
    slow = log_mel_of(str(write_tone(tmp_path / "8.wav", 700, rate=8000)), HOW)
    fast = log_mel_of(str(write_tone(tmp_path / "44.wav", 700, rate=44100)), HOW)
    assert slow.shape == fast.shape
    assert int(slow.mean(1).argmax()) == int(fast.mean(1).argmax())


def test_mel_bands_are_triangles_of_equal_width_in_mel() -> None:
    filters = mel_filters(10, 512, 16000)
    mel = 2595 * np.log10(1 + np.linspace(0, 8000, 257) / 700)
    peaks = mel[filters.argmax(1)]
    assert filters.shape == (10, 257)
    np.testing.assert_allclose(np.diff(peaks), 2595 * np.log10(1 + 8000 / 700) / 11, rtol=0.15)
    np.testing.assert_allclose(filters.sum(1), 1)
    assert (mel_filters(128, 256, 8000).sum(1) > 0).all()


def test_what_is_no_recording_or_too_long_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFFnothing")
    with pytest.raises(DataError, match="is no WAV file"):
        log_mel_of(str(tmp_path / "bad.wav"), HOW)
    with pytest.raises(DataError, match=r"has 6\.0 seconds; at most 5"):
        log_mel_of(str(write_tone(tmp_path / "long.wav", 500, seconds=6)), HOW)
    with pytest.raises(DataError, match="holds no sound"):
        log_mel_of(str(write_tone(tmp_path / "none.wav", 500, seconds=0)), HOW)


def test_a_recording_that_is_cut_off_is_refused_and_one_of_untold_length_is_not(tmp_path: Path) -> None:
    whole = write_tone(tmp_path / "whole.wav", 500, seconds=1)
    content = whole.read_bytes()
    (tmp_path / "half.wav").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"is cut off: 7,978 of 16,000 bytes"):
        log_mel_of(str(tmp_path / "half.wav"), HOW)
    # As it is written to a pipe, when the length is not known yet.
    untold = content[:4] + b"\xff\xff\xff\xff" + content[8:40] + b"\xff\xff\xff\xff" + content[44:]
    (tmp_path / "piped.wav").write_bytes(untold)
    assert np.array_equal(log_mel_of(str(tmp_path / "piped.wav"), HOW), log_mel_of(str(whole), HOW))


def test_a_recording_shorter_than_a_window_is_heard(tmp_path: Path) -> None:
    assert log_mel_of(str(write_tone(tmp_path / "click.wav", 500, seconds=0.01)), HOW).shape == (20, 1)


def test_neither_the_question_nor_the_digit_alone_has_the_answer() -> None:
    every = [(digit, question, answer) for digit in range(10) for question, answer in questions_on(digit).values()]

    def best(key: int) -> float:
        kinds = {row[key] for row in every}
        counts = [[row[2] for row in every if row[key] == kind] for kind in kinds]
        return sum(max(answers.count(answer) for answer in answers) for answers in counts) / len(every)

    assert best(0) == pytest.approx(0.4)
    assert best(1) == pytest.approx(0.42)
    assert len({row[:2] for row in every}) == len(every)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "inputs", "counts"),
    [("easy-vqa", ("text", "image"), (38_575, 9_673, 13)), ("fsdd", ("text", "audio"), (3_000, 1_500, 12))],
)
def test_real_media_have_their_counts(name: str, inputs: tuple[str, ...], counts: tuple[int, int, int]) -> None:
    splits = Data(name=name).load("class", 1, inputs).splits
    learning = [*splits.train, *splits.validation]
    assert (len(learning), len(splits.test), len({example.label for example in learning})) == counts
    assert not {example.group for example in splits.train} & {example.group for example in splits.validation}
    assert all(content_of(example.media[inputs[1]]) for example in splits.test[:20])


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["easy-vqa", "fsdd"])
def test_real_media_have_two_parts(name: str) -> None:
    path = Data(name=name).located()["train"].replace("!train", "!dev")
    with pytest.raises(DataError, match="parts train and test, not 'dev'"):
        read(Source(path, format=Data(name=name).resolved().format, label_kind="class"))
