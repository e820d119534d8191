"""What is said of the machine: energy from the processor's own counters, and nothing where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.machine import EnergyMeter


def counter(folder: Path, name: str, microjoules: int, largest: int) -> None:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{microjoules}\n", encoding="utf-8")
    (folder / name / "max_energy_range_uj").write_text(f"{largest}\n", encoding="utf-8")


def test_energy_is_the_sum_over_packages_even_when_a_counter_starts_anew(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", 1_000_000, 9_999_999)
    counter(tmp_path, "intel-rapl:1", 9_000_000, 9_999_999)
    counter(tmp_path, "intel-rapl:0:0", 0, 9_999_999)
    meter = EnergyMeter(tmp_path)
    counter(tmp_path, "intel-rapl:0", 8_200_000, 9_999_999)
    counter(tmp_path, "intel-rapl:1", 2_600_000, 9_999_999)
    counter(tmp_path, "intel-rapl:0:0", 5_000_000, 9_999_999)
    assert meter.watt_hours() == pytest.approx((7.2 + 3.6) / 3600)


def test_a_machine_without_counters_does_not_tell(tmp_path: Path) -> None:
    assert EnergyMeter(tmp_path).watt_hours() is None
    assert EnergyMeter(tmp_path / "nothing").watt_hours() is None
