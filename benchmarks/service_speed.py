"""How fast a service is beside the model alone, and beside LitServe and BentoML with the same graph.

    python benchmarks/service_speed.py own ARTIFACT                        beside the model alone; CPU per request
    python benchmarks/service_speed.py litserve ARTIFACT --python PYTHON   which has litserve, onnxruntime, tokenizers
    python benchmarks/service_speed.py bentoml ARTIFACT --python PYTHON    the same with bentoml

With --wrk the program wrk asks in the place of our own client in Python, whose processor time (about 0.4 ms a request,
on the same cores) is otherwise taken from the service. Texts have 32 tokens. Everything has two workers of one thread
each; the two servers are loaded in turns, several times.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from benchmarks.asking import bodies, path, texts
from benchmarks.load import Reply, Target, closed, quantile, statuses
from benchmarks.served import serving
from tokenizers import Tokenizer

TOKENS = 32
HERE = Path(__file__).parent
PORT = 8917


def of_length(artifact: str, count: int) -> list[str]:
    """Sentences of SST-2 joined and cut to 32 tokens, special ones included."""
    tokenizer = Tokenizer.from_file(str(Path(artifact) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    given = texts(4 * count, 13)
    made = []
    for start in range(0, 4 * count, 4):
        encoded = tokenizer.encode(" ".join(given[start : start + 4]))
        if len(encoded.ids) > TOKENS:
            text = " ".join(given[start : start + 4])[: encoded.offsets[TOKENS - 2][1]]
            made.append(text)
    return made


def model_alone(artifact: str, given: Sequence[str], batch: int) -> float:
    """Texts per second of two processes with one thread, each of which answers batches and does nothing else."""
    program = (
        "import sys,time,json,torch;torch.set_num_threads(1);"
        "from tunesmith.inference.predictor import Predictor;"
        "p=Predictor.load(sys.argv[1]);t=json.load(sys.stdin);n=int(sys.argv[2]);p.predict_texts(t[:64]);"
        "print('ready',flush=True);sys.argv and time.sleep(1);b=time.perf_counter();"
        "[p.predict_texts(t[i:i+n]) for i in range(0,len(t),n)];print(len(t)/(time.perf_counter()-b))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, artifact, str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    halves = [given[0::2], given[1::2]]
    for process, half in zip(started, halves, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps(list(half)))
        process.stdin.close()
    return sum(float(process.stdout.read().split()[-1]) for process in started if process.stdout is not None)


def throughput(target: Target, given: Sequence[str], clients: int) -> tuple[float, list[Reply]]:
    """Requests per second of clients that ask in turns, and the replies."""
    replies, seconds = asyncio.run(closed(target, bodies(given), clients=clients))
    assert all(reply.status == 200 for reply in replies), statuses(replies)
    return len(replies) / seconds, replies


def drummed(target: Target, given: Sequence[str], clients: int, seconds: int = 10) -> tuple[float, int]:
    """Requests per second, and how many, of clients in wrk that ask in turns."""
    rows = ",".join(f"[==[{json.dumps(body)}]==]" for body in bodies(given))
    script = (
        f"local rows = {{{rows}}}\nlocal next = 0\nwrk.method = 'POST'\n"
        f"wrk.headers['content-type'] = 'application/json'\nwrk.headers['authorization'] = 'Bearer {target.key}'\n"
        "function request() next = next + 1; return wrk.format(nil, nil, nil, rows[next % #rows + 1]) end\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ask.lua"
        file.write_text(script, encoding="utf-8")
        address = f"http://{target.host}:{target.port}{target.path}"
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(file), address]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Non-2xx" not in told, told
    (count,), (rate,) = re.findall(r"(\d+) requests in", told), re.findall(r"Requests/sec:\s*([\d.]+)", told)
    return float(rate), int(count)


def own(artifact: str, rounds: int, *, by_wrk: bool) -> None:
    """HTTP beside the model alone."""
    given = of_length(artifact, 3000)
    shares, fronts = [], []
    with serving([f"m={artifact}"], "--workers", "2") as service:
        target = service.target(path("m"))
        throughput(target, given[:500], 16)
        for number in range(rounds):
            before = service.cpu_seconds()
            if by_wrk:
                rate, asked = drummed(target, given, 32)
            else:
                rate, asked = throughput(target, given, 32)[0], len(given)
            after = service.cpu_seconds()
            alone = model_alone(artifact, given, 8)
            front = (after["front"] - before["front"]) / asked
            shares.append(rate / alone)
            fronts.append(1000 * front)
            worker = 1000 * (after["workers"] - before["workers"]) / asked
            print(
                f"round {number + 1}: {rate:.0f} requests/s, model alone {alone:.0f} texts/s, share "
                f"{rate / alone:.2f}; CPU ms per request: front {1000 * front:.2f}, worker {worker:.2f}",
                flush=True,
            )
    print(f"share of the model's own throughput: median {statistics.median(shares):.2f} (least {min(shares):.2f})")
    print(f"CPU of the front per request: median {statistics.median(fronts):.2f} ms")


@dataclass(frozen=True)
class Other:
    """Another server over the artifact's graph: how it is started, and how it is asked."""

    name: str
    command: tuple[str, ...]
    path: str
    body: Callable[[str], Mapping[str, object]]
    environment: Mapping[str, str] = field(default_factory=dict)


def litserve(python: str, graph: Path) -> Other:
    """LitServe over a graph, with two workers and batches of up to 8."""
    command = (python, str(HERE / "litserve_server.py"), str(graph), str(graph.with_name("tokenizer.json")), str(PORT))
    return Other("LitServe", command, "/predict", lambda text: {"text": text})


def bentoml(python: str, graph: Path) -> Other:
    """BentoML over a graph, with two workers and batches of up to 8."""
    given = {"GRAPH": str(graph), "TOKENIZER": str(graph.with_name("tokenizer.json")), "BENTOML_DO_NOT_TRACK": "True"}
    program = Path(python).with_name("bentoml")
    command = (str(program), "serve", "bentoml_server:Classes", "--port", str(PORT), "--host", "127.0.0.1")
    return Other("BentoML", command, "/predict", lambda text: {"texts": [text]}, given)


OTHERS = {"litserve": litserve, "bentoml": bentoml}


@contextmanager
def started(other: Other) -> Iterator[Target]:
    """Another server, once it answers."""
    unseen = subprocess.DEVNULL
    environment = {**os.environ, **other.environment}
    process = subprocess.Popen(
        other.command, cwd=HERE, env=environment, stdout=unseen, stderr=unseen, start_new_session=True
    )
    target = Target(PORT, other.path)
    try:
        for _ in range(120):
            time.sleep(0.5)
            replies, _ = asyncio.run(closed(target, [other.body("a")], clients=1))
            if replies[0].status == 200:
                break
        else:
            raise SystemExit(f"{other.name} did not start.")
        yield target
    finally:
        family = psutil.Process(process.pid).children(recursive=True)  # BentoML's workers have sessions of their own
        os.killpg(process.pid, signal.SIGKILL)
        for one in family:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(20)


def beside(artifact: str, name: str, python: str, rounds: int) -> None:
    """Both servers in turns."""
    given = of_length(artifact, 2000)
    graph = next(Path(artifact).resolve().glob("*.onnx"))
    other, ratios = OTHERS[name](python, graph), []
    with serving([f"m={artifact}"], "--workers", "2") as service, started(other) as target:
        ours = service.target(path("m"))
        asyncio.run(closed(target, [other.body(text) for text in given[:500]], clients=8))  # both are warm
        throughput(ours, given[:500], 8)
        for clients in (2, 8, 16):
            for number in range(rounds):
                rate, replies = throughput(ours, given, clients)
                found, seconds = asyncio.run(closed(target, [other.body(text) for text in given], clients=clients))
                assert all(reply.status == 200 for reply in found), statuses(found)
                theirs = len(found) / seconds
                ratios.append(rate / theirs)
                print(
                    f"{clients} clients, round {number + 1}: ours {rate:.0f}/s, 99 % in "
                    f"{quantile(replies, 0.99):.0f} ms; {other.name} {theirs:.0f}/s, 99 % in "
                    f"{quantile(found, 0.99):.0f} ms; ratio {rate / theirs:.2f}",
                    flush=True,
                )
    print(f"ratio of throughputs: median {statistics.median(ratios):.2f}, least {min(ratios):.2f}")


def main() -> None:
    """Run one comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=["own", *OTHERS])
    parser.add_argument("artifact")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wrk", action="store_true", help="ask by wrk, for 'own'")
    arguments = parser.parse_args()
    if arguments.comparison == "own":
        own(arguments.artifact, arguments.rounds, by_wrk=arguments.wrk)
    else:
        beside(arguments.artifact, arguments.comparison, arguments.python, arguments.rounds)


if __name__ == "__main__":
    main()
