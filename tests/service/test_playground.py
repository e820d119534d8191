"""The playground in a real browser: every task can be asked, answers and refusals are seen, nothing foreign loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.browsing import browsing, in_a_browser
from tests.service.conftest import SERVED
from tests.service.running import FakeEngine, Running, running
from tunesmith.components import build
from tunesmith.guarding import GUARDS
from tunesmith.guarding.guards import Guards
from tunesmith.service.serving import Behind
from tunesmith.service.versions import read_version

pytestmark = in_a_browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browsing(tmp_path_factory.mktemp("browser")) as driver:
        driver.implicitly_wait(20)
        yield driver


def opened(browser: webdriver.Chrome, service: Running, model: str, key: str = "any") -> None:
    browser.get(f"http://127.0.0.1:{service.port}/")
    browser.find_element("id", "key").send_keys(key + "\t")
    browser.find_element("css selector", f"option[value={model}]").click()


def typed(browser: webdriver.Chrome, name: str, text: str) -> None:
    field = browser.find_element("id", name)
    field.clear()
    browser.execute_script("arguments[0].value = arguments[1]", field, text)


def asked(browser: webdriver.Chrome) -> str:
    browser.execute_script("document.getElementById('answer').replaceChildren()")
    browser.find_element("id", "ask").click()
    browser.find_element("css selector", "#answer:not(:empty)")
    return str(browser.find_element("id", "answer").text)


def test_entities_are_marked_in_the_text(browser: webdriver.Chrome, service: Running) -> None:
    text = "Anna 🎉 went to Rome, 张三在北京 <b>no markup</b>"
    found = service.predict("spans", text).body["answers"][0]["label"]
    assert found, "the tiny model finds something, or this test shows nothing"
    opened(browser, service, "spans")
    typed(browser, "text", text)
    asked(browser)
    script = "return [...document.querySelectorAll('#answer mark')].map((mark) => mark.firstChild.textContent)"
    assert browser.execute_script(script) == [span["text"] for span in found]
    assert "<b>" not in str(browser.find_element("id", "answer").get_attribute("innerHTML"))


GIVEN = {
    "questions": {"text": "Anna went to Rome.", "second": "Who?"},
    "pairs": {"text": "good film", "second": "bad film"},
    "relations": {"text": "[Anna] went to [Rome]"},
    "items": {"history": "1, 3"},
}


FIELDS = ("text", "second", "history")


@pytest.mark.parametrize("model", SERVED)
def test_every_kind_of_task_can_be_asked(model: str, browser: webdriver.Chrome, service: Running) -> None:
    opened(browser, service, model)
    for name, value in GIVEN.get(model, {"text": "good film 今天"}).items():
        typed(browser, name, value)
    shown = [name for name in FIELDS if browser.find_element("id", name).is_displayed()]
    assert shown == [name for name in FIELDS if name in GIVEN.get(model, {"text": ""})]
    answer = asked(browser)
    assert answer
    assert "problem" not in (browser.find_element("id", "answer").get_attribute("class") or "")
    assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_a_refusal_is_shown_in_the_chosen_language(browser: webdriver.Chrome, service: Running) -> None:
    opened(browser, service, "classes")
    language = browser.find_element("id", "language")
    if language.text == "中文":
        language.click()
    assert browser.find_element("id", "ask").text == "提问"
    typed(browser, "text", "")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in asked(browser))


def test_what_a_guard_does_not_know_is_shown_as_it_says(browser: webdriver.Chrome, artifacts: dict[str, Path]) -> None:
    guards = Guards([build(GUARDS, {"name": "confidence_floor", "least": 0.7}, "guards")])
    engine = FakeEngine()
    engine.said = lambda slot, text: {"label": "good", "confidence": 0.5, "scores": {"good": 0.5, "bad": 0.5}}
    versions = [read_version(artifacts["classes"], name="mood")]
    with running(versions, engine, behind=Behind(guards={"mood": guards})) as service:
        why = service.predict("mood", "hm").body["answers"][0]["unknown"]
        opened(browser, service, "mood")
        typed(browser, "text", "hm")
        shown = asked(browser)
    assert shown in {why["en"], why["zh"]}


def test_the_page_may_load_nothing_from_elsewhere(service: Running) -> None:
    policy = service.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    pages = Path("src/tunesmith/service/pages")
    assert not any("http" in page.read_text(encoding="utf-8") for page in pages.iterdir())
