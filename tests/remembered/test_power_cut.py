"""Simulated power cuts, in small; benchmarks/power_cut.py runs them in large."""

from __future__ import annotations

import random
import shutil

import pytest
from benchmarks.power_cut import PAGE, SECTOR, Disk, Entry, File, cut, record

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")


@needs_compiler
def test_no_cut_loses_or_tears_what_was_acknowledged(tmp_path):
    log = record(tmp_path, rows=48, clients=4, synchronous="FULL", seed=1)
    found = cut(log, cuts=60, seed=1, folder=tmp_path / "disk")
    assert found.acknowledged > 500
    assert (found.lost, found.torn, found.damaged) == (0, 0, 0)


@needs_compiler
def test_the_simulation_sees_a_loss_where_commits_are_not_synced(tmp_path):
    log = record(tmp_path, rows=48, clients=4, synchronous="OFF", seed=1)
    found = cut(log, cuts=60, seed=1, folder=tmp_path / "disk")
    assert found.lost > 0
    assert found.damaged > 0


def test_what_was_synced_is_there_and_what_was_not_may_be_torn():
    disk, chance = Disk(), random.Random(1)
    old, new = b"o" * 2 * PAGE, b"n" * 2 * PAGE
    for entry in (
        Entry("C", "f", 0, b""),
        Entry("W", "f", 0, old),
        Entry("S", "f", 0, b""),
        Entry("S", "", 0, b""),
        Entry("W", "f", 0, new),
    ):
        disk.follow(entry)
    seen = [disk.after_cut(chance)["f"] for _ in range(300)]
    assert {old, new} < set(seen)
    parts = [{data[at : at + SECTOR] for at in range(0, len(data), SECTOR)} for data in seen]
    assert all(part <= {b"o" * SECTOR, b"n" * SECTOR} for part in parts)
    halves = {(data[:PAGE] == new[:PAGE], data[PAGE:] == new[PAGE:]) for data in seen}
    assert halves == {(True, True), (True, False), (False, True), (False, False)}
    disk.follow(Entry("S", "f", 0, b""))
    assert {disk.after_cut(chance)["f"] for _ in range(20)} == {new}


def test_sizes_and_names_may_be_old_until_they_are_synced():
    disk, chance = Disk(), random.Random(1)
    disk.follow(Entry("C", "f", 0, b""))
    disk.follow(Entry("W", "f", 0, b"abc"))
    assert {len(found.get("f", b"????")) for found in (disk.after_cut(chance) for _ in range(100))} == {0, 3, 4}
    disk.follow(Entry("S", "f", 0, b""))
    disk.follow(Entry("S", "", 0, b""))
    disk.follow(Entry("T", "f", 1, b""))
    disk.follow(Entry("R", "f", 0, b"g"))
    found = [disk.after_cut(chance) for _ in range(100)]
    assert {next(iter(names)) for names in found} == {"f", "g"}
    assert {next(iter(names.values())) for names in found} == {b"abc", b"a"}
    file = File(bytearray(b"abc"), [(1, None), (2, b"z")])
    file.sync()
    assert file.durable == b"a\0z"
