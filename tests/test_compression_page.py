"""The page of a chain of steps: its tables hold every figure, and a laptop and a phone show them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browsing import browsing, in_a_browser
from tests.evaluation.pages import Reader
from tunesmith.compression import COMPRESSORS
from tunesmith.compression_report import COLUMNS, Chain, fields_of, page_of
from tunesmith.evaluation.intervals import Comparison, Estimate
from tunesmith.evaluation.slices import ComparedSlice
from tunesmith.evaluation.speed import Speed
from tunesmith.trade_offs import Change, TradeOff

GAP = Comparison("f1", 0.7729, 0.7993, Estimate(-0.0264, -0.0459, -0.008), 0.01, "worse")
SPEED = Speed(24, 1043.1, 1145.2, Estimate(11.31, 10.89, 12.25), 108.3, 111.87)
FIRST = TradeOff("original", {}, True, "", 1_340_600_000, 334_000_000, Estimate(0.8, 0.77, 0.83), None, (), (), None)


@pytest.fixture(scope="module")
def chain() -> Chain:
    """A large model through every step that there is, the longest names among them."""
    changes = (Change("sst2-dev.tsv-1234", "", "positive", "positive", "negative", True, False),)
    slices = (ComparedSlice("length", "139 or more characters", 217, GAP),)
    steps = tuple(
        replace(FIRST, name=name, stands=bool(number % 2), why=f"{name}: {'it is said why ' * 9}", difference=GAP,
                slices=slices, changes=changes, speed=SPEED, seconds=12_345.0)
        for number, name in enumerate(COMPRESSORS)
    )  # fmt: skip
    return Chain("large", "out", "whole", "f1", 872, 0.02, (FIRST, *steps), (replace(GAP, name="f1"),), 1_821)


def test_the_two_tables_of_steps_are_narrow_and_leave_nothing_out(chain: Chain) -> None:
    rows = Reader(page_of(chain)).rows
    heads = [number for number, row in enumerate(rows) if row and row[0] == "step"]
    assert [len(rows[number]) for number in heads] == [7, 7]
    for place, fields in enumerate([COLUMNS, *fields_of(chain)]):
        shown = " ".join(cell for head in heads for cell in rows[head + place])
        assert [field for field in fields if field != "–" and field not in shown] == []


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browsing(tmp_path_factory.mktemp("browser")) as driver:
        yield driver


def opened(browser: webdriver.Chrome, chain: Chain, folder: Path, width: int) -> None:
    page = folder / "compression.html"
    page.write_text(page_of(chain), encoding="utf-8")
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(page.as_uri())
    browser.execute_script("for (const part of document.querySelectorAll('details')) part.open = true")


@in_a_browser
def test_at_a_laptops_width_no_table_must_be_scrolled(browser: webdriver.Chrome, chain: Chain, tmp_path: Path) -> None:
    opened(browser, chain, tmp_path, 1280)
    script = "return [...document.querySelectorAll('.scroll')].map((one) => one.scrollWidth - one.clientWidth)"
    over = browser.execute_script(script)
    assert len(over) == 3 + 2 * (len(chain.rows) - 1)
    assert set(over) == {0}


@in_a_browser
def test_on_a_phone_tables_are_scrolled_and_the_page_is_not(
    browser: webdriver.Chrome, chain: Chain, tmp_path: Path
) -> None:
    opened(browser, chain, tmp_path, 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390
    assert browser.execute_script("return document.querySelector('table').scrollWidth") > 390
