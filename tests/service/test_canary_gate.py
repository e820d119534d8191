"""A canary gets its share past golden examples: it is refused where they show it to be worse, and not before."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.service.golden_stage import PLANTED, SIZE, Stage, right, staged, wrong
from tests.service.running import Response
from tunesmith.access.key_store import KeyStore
from tunesmith.service.engine import UnanswerableError


def canary(stage: Stage, share: float = 0.1, **more: Any) -> Response:
    return stage.admin("canary", version=stage.second, share=share, **more)


def roles(stage: Stage) -> Mapping[str, Any]:
    return dict(stage.service.get("/v1/models/classes").body["roles"])


def asked(stage: Stage) -> int:
    return sum(batch[0].startswith(PLANTED) for batch in stage.engine.batches)


def few_wrong(number: int) -> str:
    """Worse by 5 in 400: not shown to be worse by more than 1 in 100, nor shown not to be."""
    return wrong(number) if number % 80 == 3 else right(number)


def test_a_canary_that_is_shown_to_be_worse_gets_no_requests(stage: Stage) -> None:
    stage.answers[stage.second] = lambda number: wrong(number) if number % 20 < 2 else right(number)
    refused = canary(stage)
    assert (refused.status, refused.body["code"]) == (409, "inferior")
    assert (roles(stage)["canary"], roles(stage)["canary_share"]) == (None, None)
    figures = refused.body["figures"]
    assert (figures["old"], figures["new"], figures["n"], figures["alpha"]) == (1.0, 0.9, SIZE, 0.05)
    assert figures["difference"] < figures["upper_bound"] < -0.01
    for told in ("accuracy is 0.9", f"below {figures['upper_bound']}", "force"):
        assert told in refused.body["detail"]
    body = {"version": stage.second, "share": 0.1}
    chinese = stage.service.post("/admin/models/classes:canary", body, accept_language="zh").body["detail"]
    assert f"已证明其低于 {figures['upper_bound']}" in chinese
    line = stage.audit()[-2]
    assert (line["what"], line["before"]) == ("model.canary.refused", {"champion": stage.first})
    assert line["after"] == {**figures, "version": stage.second, "refused": "inferior"}


def test_what_is_not_shown_to_be_worse_is_a_canary_and_no_champion(stage: Stage) -> None:
    stage.answers[stage.second] = few_wrong
    done = canary(stage)
    assert (done.status, done.body["roles"]["canary"], done.body["roles"]["canary_share"]) == (200, stage.second, 0.1)
    figures = done.body["figures"]
    assert (figures["difference"], figures["look"]) == (-0.0125, 1)
    assert figures["bound"] < -0.01 < figures["upper_bound"]
    last = stage.audit()[-1]
    assert last["what"] == "model.canary"
    assert last["after"] == {**last["after"], **figures, "canary_share": 0.1}
    refused = stage.promote()
    assert (refused.status, refused.body["code"]) == (409, "inferior")


def test_a_larger_share_of_what_passed_asks_nobody_again(stage: Stage) -> None:
    stage.answers[stage.second] = few_wrong
    figures = canary(stage).body["figures"]
    before = asked(stage)
    more = canary(stage, 0.5)
    assert (more.status, more.body["roles"]["canary_share"], more.body["figures"]) == (200, 0.5, figures)
    assert asked(stage) == before
    assert stage.audit()[-1]["after"]["look"] == 1


def test_beside_another_champion_more_is_judged_anew_and_less_is_never_refused(stage: Stage) -> None:
    third = stage.admin("load", version="third").body["version"]
    stage.answers |= {third: right, stage.first: wrong, stage.second: wrong}
    assert canary(stage, 0.5).status == 200
    stage.admin("promote", version=third, force=True)
    before = asked(stage)
    assert canary(stage, 0.2).body["roles"]["canary_share"] == 0.2
    assert asked(stage) == before
    assert canary(stage, 0.3).body["code"] == "inferior"
    stage.file.unlink()
    assert stage.admin("canary", share=0).body["roles"]["canary"] is None


def test_a_request_sent_again_while_the_first_is_judged_has_no_line_of_its_own(stage: Stage) -> None:
    stage.engine.seconds = 0.01
    replies: list[Response] = []
    threads = [threading.Thread(target=lambda: replies.append(stage.promote())) for _ in range(2)]
    threads[0].start()
    until = time.monotonic() + 20
    while not asked(stage) and time.monotonic() < until:
        time.sleep(0.005)
    threads[1].start()
    for thread in threads:
        thread.join()
    assert [reply.status for reply in replies] == [200, 200]
    (line,) = [one for one in stage.audit() if one["what"] == "model.promote"]
    assert line["before"]["champion"] == stage.first
    assert line["after"]["look"] == 1


def test_a_shadow_is_not_judged(stage: Stage) -> None:
    stage.answers[stage.second] = wrong
    assert stage.admin("shadow", version=stage.second).status == 200
    assert asked(stage) == 0


def test_force_makes_a_canary_and_stands_in_the_audit_log(stage: Stage) -> None:
    stage.answers[stage.second] = wrong
    done = canary(stage, force=True)
    assert (done.status, done.body["roles"]["canary"], done.body["figures"]["forced"]) == (200, stage.second, True)
    assert asked(stage) == 0
    assert stage.audit()[-1]["after"]["forced"] is True
    assert canary(stage, 0.2).body["code"] == "inferior", "what was forced has not passed"


def test_a_slice_that_is_worse_is_named_to_a_canary_too(stage: Stage) -> None:
    stage.answers[stage.first] = lambda number: wrong(number) if number % 4 == 3 else right(number)
    stage.answers[stage.second] = lambda number: wrong(number) if number % 8 == 0 else right(number)
    refused = canary(stage)
    assert (refused.status, refused.body["code"], refused.body["figures"]["slice"]) == (
        409,
        "slice_worse",
        "channel: mail",
    )


def test_confidences_that_are_lost_are_refused_and_those_that_are_off_are_not(stage: Stage) -> None:
    plain = stage.engine.said
    sure: dict[str, float | None] = {stage.first: 0.95, stage.second: 0.6}
    stage.engine.said = lambda slot, text: {**plain(slot, text), "confidence": sure[slot.partition("@")[2]]}
    done = canary(stage)
    assert (done.status, done.body["figures"]["new_ece"]) == (200, 0.4)
    assert stage.promote().body["code"] == "calibration_worse"
    stage.admin("canary", share=0)
    third = stage.admin("load", version="third").body["version"]
    stage.answers[third], sure[third] = right, None
    refused = stage.admin("canary", version=third, share=0.1)
    assert (refused.status, refused.body["code"]) == (409, "confidence_missing")


def test_what_cannot_be_judged_is_no_canary(stage: Stage) -> None:
    def fail(number: int) -> str:
        if number == 7:
            raise UnanswerableError("The model failed.")
        return right(number)

    stage.answers[stage.second] = fail
    assert canary(stage).body["code"] == "golden_unanswered"
    stage.answers[stage.second] = right
    stage.file.write_bytes(stage.file.read_bytes() + b"\n")
    refused = canary(stage)
    assert (refused.status, refused.body["code"]) == (409, "golden_changed")
    assert roles(stage)["canary"] is None


def test_another_champion_meanwhile_ends_the_canary(stage: Stage) -> None:
    third = stage.admin("load", version="third").body["version"]
    stage.answers[third] = right
    stage.engine.seconds = 0.01
    replies: list[Response] = []
    thread = threading.Thread(target=lambda: replies.append(canary(stage)))
    thread.start()
    until = time.monotonic() + 20
    while not asked(stage) and time.monotonic() < until:
        time.sleep(0.005)
    stage.admin("promote", version=third, force=True)
    thread.join()
    assert (replies[0].status, replies[0].body["code"]) == (409, "champion_changed")
    assert roles(stage)["canary"] is None


def test_a_canary_and_its_promotion_are_one_look_also_after_a_restart(versions: Path, tmp_path: Path) -> None:
    with staged(versions, tmp_path) as stage:
        assert canary(stage).body["figures"]["look"] == 1
    with staged(versions, tmp_path) as stage:
        assert canary(stage).body["figures"]["look"] == 1, "the same two, on the same examples"
        third = stage.admin("load", version="third").body["version"]
        stage.answers[third] = wrong
        assert stage.admin("canary", version=third, share=0.1).body["figures"]["look"] == 2
        stage.answers[stage.second] = wrong
        assert stage.promote().body["figures"]["look"] == 1, "the canary's"
        assert stage.promote().body["figures"]["look"] == 3, "once"
        canary(stage, 0.5)
    with staged(versions, tmp_path) as stage:
        stage.answers[stage.second] = right
        done = stage.promote()
        assert (done.status, done.body["figures"]["look"]) == (409, 4), "spent before the restart"
        assert KeyStore(stage.state).audit.verify().broken is None
