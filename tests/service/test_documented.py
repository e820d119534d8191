"""The three commands of docs/serving.md and the README, run as they stand but for the port, the folder and the key."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.running import said_until

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/serving.md", "README.md")


def commands(page: str) -> list[str]:
    """The first three commands after the mark."""
    text = (ROOT / page).read_text(encoding="utf-8")
    block = re.search(r"<!-- tests/service/test_documented.py runs these lines -->\n```console\n(.*?)```", text, re.S)
    assert block, f"{page} has no such block"
    return [re.sub(r"\s{2,}#.*$", "", line[2:]) for line in block[1].splitlines() if line.startswith("$ ")]


def test_both_pages_show_the_same_commands() -> None:
    assert commands(PAGES[0]) == commands(PAGES[1])
    assert len(commands(PAGES[0])) == 3


@pytest.mark.parametrize("page", PAGES)
def test_a_newcomer_gets_an_answer_by_three_commands(page: str, finished_run: Path, tmp_path: Path) -> None:
    serve, key, curl = commands(page)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = serve.replace("runs/demo/artifact", f"ner-demo={finished_run / 'artifact'}").split()
    command = [sys.executable, "-m", *told, "--port", str(port)]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT) as process:
        said = said_until(process, "Try:")
        secret = re.search(r"Key (ts_\S+)", said)
        assert secret, said
        assert f"Playground http://127.0.0.1:{port}/" in said
        script = f"{key.replace('ts_...', secret[1])}\n{curl.replace(':8080', f':{port}')}"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
        answer = json.loads(done.stdout)
        assert answer["model"] == "ner-demo"
        assert 0 < answer["answers"][0]["confidence"] <= 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, -signal.SIGTERM}
