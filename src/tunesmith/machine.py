"""What this machine has: cores, instructions, memory, accelerators."""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from tunesmith.errors import ResourceError


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts that decide how training and prediction run.

    `memory_bytes` and `free_memory_bytes` are 0 where the system does not say; `has_bf16` means that matrix products in
    bfloat16 are done by the hardware; `has_vnni` the same for int8.
    """

    processor: str
    cores: int
    memory_bytes: int
    free_memory_bytes: int
    has_bf16: bool
    has_vnni: bool
    accelerator: str
    accelerator_memory_bytes: int


def inspect_machine() -> Machine:
    """Look at the machine."""
    flags = cpu_flags()
    device = torch.accelerator.current_accelerator(check_available=True)
    total, free = _memory()
    is_cuda = device is not None and device.type == "cuda"
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_bytes=total,
        free_memory_bytes=free,
        has_bf16=has_bf16(device or torch.device("cpu")),
        has_vnni=bool(flags & {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}),
        accelerator="none" if device is None else torch.cuda.get_device_name() if is_cuda else device.type,
        accelerator_memory_bytes=torch.cuda.get_device_properties(0).total_memory if is_cuda else 0,
    )


def has_bf16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are done by the device's hardware (emulation is slower than fp32)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets as Linux names them; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return frozenset()
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("flags", "Features")):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def peak_memory_bytes() -> int:
    """The most memory that this process has held: of the accelerator if one is used, else resident memory."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0:
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


_FULL = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""How torch says that the memory of a CPU, of an Apple GPU, or of a CUDA library is full."""


@contextmanager
def enough_memory(to_do: str) -> Iterator[None]:
    """A block whose tensors may not fit.

    Raises:
        ResourceError: they do not; `to_do` says what would help.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_known = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if is_known or any(sign in str(error) for sign in _FULL):
            raise ResourceError("There is not enough memory.", where=error.__class__.__name__, to_do=to_do) from error
        raise


class EnergyMeter:
    """The energy that the processor's packages have taken since it was made, where the system counts it (RAPL)."""

    def __init__(self, counters: Path = Path("/sys/class/powercap")) -> None:
        self._began = _energy_counters(counters)
        self._counters = counters

    def watt_hours(self) -> float | None:
        """Watt hours since the meter was made; None where the machine does not tell."""
        now = _energy_counters(self._counters)
        if not now or now.keys() != self._began.keys():
            return None
        # A counter starts anew from zero when it has reached its range.
        joules = [
            (microjoules - self._began[place][0]) % max_range / 1e6 for place, (microjoules, max_range) in now.items()
        ]
        return sum(joules) / 3600


def _energy_counters(folder: Path) -> dict[str, tuple[int, int]]:
    """Microjoules so far and the counter's range, of each package (not of its parts, which it includes)."""
    found = {}
    for place in sorted(folder.glob("intel-rapl:*")):
        if place.name.count(":") == 1:
            try:
                count = int((place / "energy_uj").read_text(encoding="utf-8"))
                found[place.name] = count, int((place / "max_energy_range_uj").read_text(encoding="utf-8")) + 1
            except (OSError, ValueError):  # there, but only for the administrator
                return {}
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> tuple[int, int]:
    path = Path("/proc/meminfo")
    if not path.is_file():
        return 0, 0
    rows = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
    return int(rows["MemTotal"].split()[0]) * 1024, int(rows["MemAvailable"].split()[0]) * 1024


def memory_limit(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes that this process's group may still take, where a container or a service sets a limit; else 0."""
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int((groups / most).read_text(encoding="utf-8"))
            taken = int((groups / used).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
        return max(1, limit - taken + _given_back(groups / most)) if limit < _NO_LIMIT else 0
    return 0


def free_memory() -> int:
    """The bytes that this process may still take, by machine and group; 0 where the system does not say."""
    return min((one for one in (_memory()[1], memory_limit()) if one), default=0)


def _given_back(file: Path) -> int:
    """The bytes of files that were read and not again; a group counts them as taken, and gives them back at once."""
    try:
        rows = (file.parent / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    told = dict(row.split(" ", 1) for row in rows if " " in row)
    return int(told.get("total_inactive_file", told.get("inactive_file", 0)))


_NO_LIMIT = 1 << 60
"""The first version of groups says so where there is none."""
