"""Watching without Prometheus: scrapes with a key, alerts once, says when it is over, survives a restart."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from email import message_from_string, policy
from pathlib import Path

import pytest

from tests.watching.receivers import Web, accepting, post_office, serving
from tunesmith.errors import DataError, ResourceError
from tunesmith.watching.delivering import Channel, Mail, MailServer, Webhook
from tunesmith.watching.evaluator import Alert
from tunesmith.watching.history import History, Series
from tunesmith.watching.metrics import Metrics
from tunesmith.watching.notices import WORDS, webhook_body
from tunesmith.watching.requesting import Address
from tunesmith.watching.rules import LANGUAGES, Language, shipped
from tunesmith.watching.scraping import samples_of
from tunesmith.watching.watch import Watch

KEY = "ft_1_" + "a" * 43


class Service:
    """Metrics behind a key."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.status = 200

    def answer(self, _path: str, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        if headers.get("Authorization") != f"Bearer {KEY}":
            return 401, b"", {}
        body, kind = self.metrics.text()
        return self.status, body if self.status == 200 else b"", {"Content-Type": kind}


@pytest.fixture
def service() -> Iterator[tuple[Service, str]]:
    made = Service()
    made.metrics.workers(1)
    made.metrics.swapped("news", "v1", "a", "torch", 1.0)
    with serving(made.answer) as web:
        yield made, f"{web.url}/metrics"


@pytest.fixture
def hook() -> Iterator[Web]:
    with serving(accepting) as web:
        yield web


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def watched(url: str, hook: Web, key_file: Path, state: Path | None = None) -> Watch:
    rules = shipped()
    channels: list[Channel] = [Webhook(Address(hook.url + "/hook"), rules, "en", url)]
    return Watch(Address(url), rules, channels, key_file=key_file, state=state)


def test_an_alert_is_told_once_and_its_end_too(service: tuple[Service, str], hook: Web, key_file: Path) -> None:
    made, url = service
    watch = watched(url, hook, key_file)
    for number in range(4):
        assert watch.look(number * 15.0).trouble == ""
    made.metrics.dropped(3)
    for number in range(4, 10):
        watch.look(number * 15.0)
    assert [body["status"] for body in hook.bodies()] == ["firing"]
    for number in range(10, 60):
        watch.look(number * 15.0)
    first, last = hook.bodies()
    assert (first["version"], first["status"], last["status"]) == ("4", "firing", "resolved")
    (alert,) = first["alerts"]
    assert alert["labels"] == {"alertname": "AnswersNotRemembered", "severity": "page"}
    assert alert["startsAt"] == "1970-01-01T00:01:00.000Z"
    assert alert["endsAt"] == "0001-01-01T00:00:00Z"
    assert last["alerts"][0]["endsAt"] > alert["startsAt"]
    assert last["alerts"][0]["fingerprint"] == alert["fingerprint"]
    assert "could not be remembered" in alert["annotations"]["summary"]


def test_a_service_that_is_down_is_an_alert(service: tuple[Service, str], hook: Web, key_file: Path) -> None:
    made, url = service
    watch = watched(url, hook, key_file)
    watch.look(0.0)
    made.status = 500
    assert "Status 500" in watch.look(15.0).trouble
    assert not hook.asked
    for number in range(2, 8):
        watch.look(number * 15.0)
    assert [alert["labels"]["alertname"] for body in hook.bodies() for alert in body["alerts"]] == ["ServiceDown"]


def test_a_key_that_is_not_taken_is_said(service: tuple[Service, str], hook: Web, tmp_path: Path) -> None:
    path = tmp_path / "wrong"
    path.write_text("wrong", encoding="utf-8")
    path.chmod(0o600)
    trouble = watched(service[1], hook, path).look(0.0).trouble
    assert "Status 401" in trouble
    assert "--key-file" in trouble


def test_a_page_that_is_not_metrics_counts_as_down(hook: Web) -> None:
    with serving(lambda *_: (200, b"<html>hello</html>", {})) as web:
        watch = Watch(Address(web.url), shipped(), [])
        assert "not in Prometheus's format" in watch.look(0.0).trouble
    assert "No answer" in watch.look(15.0).trouble


def test_a_restart_neither_forgets_nor_repeats(
    service: tuple[Service, str], hook: Web, key_file: Path, tmp_path: Path
) -> None:
    made, url = service
    state = tmp_path / "state.json"
    watch = watched(url, hook, key_file, state)
    watch.look(0.0)
    made.metrics.dropped(3)
    watch.look(15.0)
    assert len(hook.asked) == 1
    watch.keep(15.0)
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    again = watched(url, hook, key_file, state)
    again.look(30.0)
    assert len(hook.asked) == 1, "a restart said a known alert again"
    again.keep(30.0)
    later = watched(url, hook, key_file, state)
    for number in range(3, 60):
        later.look(number * 15.0)
    assert [body["status"] for body in hook.bodies()] == ["firing", "resolved"]


def test_the_state_of_another_service_is_not_used(
    service: tuple[Service, str], hook: Web, key_file: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    watch = watched(service[1], hook, key_file, state)
    watch.look(0.0)
    watch.keep(0.0)
    assert len(watched(service[1], hook, key_file, state).history) > 0
    assert len(watched(service[1] + "?other", hook, key_file, state).history) == 0


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"format": 2, "source": "", "series": [], "alerts": [], "waiting": []}', "\x00", '{"format": 1}'],
)
def test_a_damaged_state_is_refused_with_what_to_do(damage: str, hook: Web, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(damage, encoding="utf-8")
    with pytest.raises(DataError) as refusal:
        Watch(Address(hook.url), shipped(), [], state=state)
    assert "Delete it" in refusal.value.to_do


def test_a_key_that_others_may_read_is_refused(hook: Web, key_file: Path) -> None:
    key_file.chmod(0o644)
    with pytest.raises(ResourceError, match="Others may read"):
        watched(hook.url, hook, key_file)


def test_watching_goes_on_without_a_key_file_or_a_place_for_the_state(
    service: tuple[Service, str], hook: Web, key_file: Path, tmp_path: Path
) -> None:
    made, url = service
    folder = tmp_path / "folder"
    folder.mkdir()
    watch = watched(url, hook, key_file, folder / "state")
    watch.look(0.0)
    made.metrics.dropped()
    (folder / "state").unlink(missing_ok=True)
    folder.rmdir()
    seen = watch.look(15.0)
    assert any("cannot be written" in line for line in seen.said)
    assert [body["status"] for body in hook.bodies()] == ["firing"]
    key_file.unlink()
    assert "cannot be read" in watch.look(30.0).trouble
    key_file.write_text(KEY, encoding="utf-8")
    key_file.chmod(0o600)
    assert watch.look(45.0).trouble == ""


def test_what_fails_is_tried_again_later_and_in_order(service: tuple[Service, str], key_file: Path) -> None:
    made, url = service
    answers = [503, 500, 200, 200]
    with serving(lambda *_: (answers.pop(0), b"", {"Retry-After": "40"})) as web:
        watch = watched(url, web, key_file)
        watch.look(0.0)
        made.metrics.dropped()
        said = watch.look(15.0).said
        assert said == ["webhook: status 503; next try in 40 s."]
        watch.look(30.0)
        assert len(web.asked) == 1, "tried before the server asked for"
        watch.look(60.0)
        assert len(web.asked) == 2
        for number in range(5, 60):
            watch.look(number * 15.0)
        assert [body["status"] for body in web.bodies()] == ["firing"] * 3 + ["resolved"]
        assert not watch.outbox.waiting


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404])
def test_a_refusal_or_redirect_is_final_and_said(service: tuple[Service, str], key_file: Path, status: int) -> None:
    made, url = service
    with serving(lambda path, _: (status, b"", {"Location": "/elsewhere"})) as web:
        watch = watched(url, web, key_file)
        watch.look(0.0)
        made.metrics.dropped()
        said = watch.look(15.0).said
        assert said == [f"webhook: gave up a notice of AnswersNotRemembered: status {status}."]
        assert [path for path, _, _ in web.asked] == ["/hook"]


def test_notices_wait_over_a_restart(service: tuple[Service, str], key_file: Path, tmp_path: Path) -> None:
    made, url = service
    answers = [500, 200]
    with serving(lambda *_: (answers.pop(0), b"", {})) as web:
        watch = watched(url, web, key_file, tmp_path / "state")
        watch.look(0.0)
        made.metrics.dropped()
        watch.look(15.0)
        watched(url, web, key_file, tmp_path / "state").look(60.0)
        assert [body["status"] for body in web.bodies()] == ["firing", "firing"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_e_mail_tells_of_alerts_in_both_languages(
    service: tuple[Service, str], key_file: Path, language: Language
) -> None:
    made, url = service
    rules = shipped()
    with post_office() as post:
        mail = Mail(MailServer(port=post.port), ("a@example.org", "b@example.org"), rules, language)
        watch = Watch(Address(url), rules, [mail], key_file=key_file)
        watch.look(0.0)
        made.metrics.dropped(2)
        assert watch.look(15.0).said == []
    message = message_from_string(post.messages[0], policy=policy.default)
    text = message.get_content()
    words = WORDS[language]
    assert words["firing"] in message["Subject"]
    assert message["To"] == "a@example.org, b@example.org"
    rule = next(rule for rule in rules.rules if rule.name == "AnswersNotRemembered")
    assert rule.to_do[language] in text
    assert len([line for _, line in post.lines if line.upper().startswith("RCPT")]) == 2


@pytest.mark.parametrize(("code", "result"), [("550 no", "refused"), ("451 later", "failed")])
def test_a_mailbox_that_is_refused_for_good_is_not_tried_again(code: str, result: str) -> None:
    alert = Alert("NoWorkers", "page", (), 0.0, "firing", 0.0)
    with post_office(refuse=code) as post:
        mail = Mail(MailServer(port=post.port), ("a@example.org",), shipped(), "en")
        assert mail.send([alert]).result == result


def test_every_rule_has_texts_in_both_languages_without_gaps() -> None:
    rules = shipped()
    for language in LANGUAGES:
        for rule in rules.rules:
            labels = tuple(sorted((label, "x") for label in rule.by))
            body = webhook_body([Alert(rule.name, rule.severity, labels, 0.5, "firing", 0.0)], rules, language, "u")
            text = json.dumps(body["alerts"], ensure_ascii=False)
            assert "{model}" not in text
            assert "{value}" not in text
            assert any("一" <= character <= "鿿" for character in text) == (language == "zh"), rule.name


def test_thinning_loses_no_increase() -> None:
    whole, thinned = Series("a", ()), Series("a", ())
    value = 0.0
    for number in range(20_000):
        value = 1.0 if number % 1711 == 1710 else value + number % 7
        whole.add(number * 15.0, value)
        thinned.add(number * 15.0, value)
        if number % 500 == 0:
            thinned.thin(number * 15.0, 260_000.0)
    now = 19_999 * 15.0
    assert len(thinned.times) < 2000
    for window in (300.0, 3600.0, 7200.0):
        assert thinned.increase(now, window) == whole.increase(now, window)
    for window in (21_600.0, 86_400.0, 259_200.0):
        assert thinned.increase(now, window) == pytest.approx(whole.increase(now, window), rel=0.01)


def test_memory_is_bounded_and_what_is_left_out_is_said() -> None:
    history = History(["a"], keep=600.0, limit=10)
    for number in range(2000):
        history.add(number * 15.0, [("a", (("n", str(one)),), 1.0) for one in range(25)] + [("b", (), 1.0)])
    assert len(history) == 10
    assert history.left_out == 15
    assert max(len(series.times) for series in history) <= 600 / 15 + 21


def test_series_that_are_gone_make_room() -> None:
    history = History(["a"], keep=600.0)
    history.add(0.0, [("a", (("n", "old"),), 1.0)])
    for number in range(1, 100):
        history.add(number * 15.0, [("a", (("n", "new"),), 1.0)])
    assert [series.labels for series in history] == [(("n", "new"),)]


def test_a_clock_that_went_back_begins_anew() -> None:
    history = History(["a"], keep=600.0)
    history.add(1000.0, [("a", (), 5.0)])
    history.add(10.0, [("a", (), 6.0)])
    assert [list(series.times) for series in history] == [[10.0]]


def test_samples_are_read_with_labels_of_any_text() -> None:
    metrics = Metrics()
    metrics.swapped("news", "v1", "a", "torch", 1.0)
    label = 'a "quoted" \\ 体育\n'
    metrics.answer(model="news", version="v1", labels=[label], confidence=None)
    samples = samples_of(metrics.text()[0].decode())
    found = [dict(labels) for name, labels, _ in samples if name == "tunesmith_predictions_total"]
    assert found[0]["label"] == label
