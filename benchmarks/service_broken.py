"""Broken versions: each is refused under traffic, or called back, and nobody is answered wrongly meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.asking import bound, is_of, labelled, path, texts
from benchmarks.broken_models import ELSEWHERE, GRAPH_WAYS, WAYS, contrary, copies
from benchmarks.load import Connections, Reply
from benchmarks.served import Service, serving

from tunesmith.inference.predictor import Predictor
from tunesmith.service.versions import read_version

GOLDEN = 400
CLIENTS = 4
REASON = 110
"""Characters of a reason that are shown."""


@dataclass
class Traffic:
    """Texts asked in turns by a few clients, with the phase in which each request began and ended."""

    connections: Connections
    given: Sequence[str]
    phase: int = 0
    replies: list[tuple[int, int, Reply]] = field(default_factory=list)
    is_over: bool = False

    async def ask(self, start: int) -> None:
        """Ask on and on until it is over."""
        number = start
        while not self.is_over:
            began = self.phase
            reply = await self.connections.post({"inputs": [self.given[number]]}, number=number)
            self.replies.append((began, self.phase, reply))
            number = (number + CLIENTS) % len(self.given)


@dataclass(frozen=True)
class Admin:
    """Changes who answers."""

    service: Service

    async def ask(self, verb: str, **body: Any) -> Reply:
        """Ask a verb once."""
        connections = Connections(self.service.target(f"/admin/models/m:{verb}"))
        reply = await connections.post(body)
        connections.close()
        return reply


@dataclass(frozen=True)
class Staged:
    """Folders of versions below ROOT/m by what is wrong with them, and the names that lead nowhere."""

    root: Path
    first: Path
    inferior: Path
    broken: Mapping[str, str]
    golden: Path


def staged(arguments: argparse.Namespace, root: Path) -> Staged:
    """The first version, a worse one, and broken ones of both forms."""
    models, artifact = root / "m", Path(arguments.artifact)
    models.mkdir(parents=True)
    shutil.copytree(artifact, models / "first")
    shutil.copytree(artifact, root / "elsewhere")
    (models / "link").symlink_to(root / "elsewhere")
    found = copies(artifact, models, WAYS)
    if arguments.other:
        found |= copies(Path(arguments.other), models, GRAPH_WAYS)
    names = {way: place.name for way, place in found.items()} | {f"the name '{name}'": name for name in ELSEWHERE}
    golden = root / "golden.jsonl"
    rows = [{"text": text, "label": label} for text, label in labelled("test")[:GOLDEN]]
    golden.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Staged(root, models / "first", contrary(artifact, models / "inferior"), names, golden)


def broken(arguments: argparse.Namespace) -> None:
    """Under traffic load what is broken, and promote what is worse, and call it back."""
    given = texts(400, arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        stage = staged(arguments, Path(folder).resolve())
        ids = {read_version(one, name="m").id: one for one in (stage.first, stage.inferior)}
        scored = {version: Predictor.load(one).predict_texts(given) for version, one in ids.items()}
        options = ("--root", str(stage.root), "--workers", "2", "--golden", f"m={stage.golden}")
        with serving([f"m={stage.first}"], *options) as service:
            traffic = Traffic(Connections(service.target(path("m"))), given)
            lines = asyncio.run(_story(traffic, Admin(service), stage, list(ids)))
    print("\n".join(lines))
    _tell(traffic, scored, *ids)


async def _story(traffic: Traffic, admin: Admin, stage: Staged, ids: Sequence[str]) -> list[str]:
    """All that happens while the traffic goes on; what is told of it."""
    clients = [asyncio.create_task(traffic.ask(start)) for start in range(CLIENTS)]
    refused: Counter[str] = Counter()
    lines = []
    for way, name in stage.broken.items():
        reply = await admin.ask("load", version=name)
        refused[f"{reply.status} {reply.body.get('code', 'LOADED')}"] += 1
        lines.append(f"{way}: {_told(reply, stage.root)}")
    lines.append(f"{len(stage.broken)} loads: {', '.join(f'{code}: {count}' for code, count in refused.items())}")
    lines.append(f"load of the inferior one: {_told(await admin.ask('load', version=stage.inferior.name), stage.root)}")
    lines.append(
        f"promote it past the golden examples: {_told(await admin.ask('promote', version=ids[1]), stage.root)}"
    )
    for verb, body in (("promote", {"version": ids[1], "force": True}), ("rollback", {})):
        traffic.phase += 1
        lines.append(f"{verb} {json.dumps(body)}: {_told(await admin.ask(verb, **body), stage.root)}")
        traffic.phase += 1
        await asyncio.sleep(5)
    traffic.is_over = True
    await asyncio.gather(*clients)
    traffic.connections.close()
    return lines


def _told(reply: Reply, root: Path) -> str:
    """Status, code and reason, without the place where the test lies."""
    if reply.status == 200:
        return f"200 {reply.body.get('roles', {}).get('champion', '')} answers"
    detail = str(reply.body.get("detail", reply.body)).replace(str(root), "ROOT")
    return f"{reply.status} {reply.body.get('code', '')}: {detail[:REASON]}{'...' if len(detail) > REASON else ''}"


def _tell(traffic: Traffic, scored: Mapping[str, Sequence[Any]], first: str, second: str) -> None:
    """How many requests of each phase were answered, and by whom; in odd phases the change is under way."""
    due = {0: ("while versions were refused", first), 2: ("while forced", second), 4: ("after the rollback", first)}
    for phase, (when, version) in due.items():
        own = [reply for began, ended, reply in traffic.replies if began == ended == phase]
        lost = sum(reply.status != 200 for reply in own)
        good = [reply for reply in own if reply.status == 200]
        other = sum(reply.body["version"] != version or not is_of(scored, reply) for reply in good)
        print(f"{when}: lost {bound(lost, len(own))}; not of {version}: {bound(other, len(good))}")
    between = [reply for began, ended, reply in traffic.replies if began != ended or began % 2]
    bad = sum(reply.status != 200 or not is_of(scored, reply) for reply in between)
    print(f"at a change: lost, or not of the version that it names: {bound(bad, len(between))}")
