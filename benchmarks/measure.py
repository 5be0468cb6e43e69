"""Timing in pairs, memory, and what a result has to say about the machine it was found on."""

import multiprocessing
import platform
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

MIB = 1 << 20
LIBRARIES = ("torch", "transformers", "tokenizers", "transformer-lens", "nnsight")


@dataclass(frozen=True)
class Timing:
    """Of n runs: seconds, and the ratios to the baseline's run of the same round."""

    seconds: float
    ratio: float
    smallest_ratio: float
    quartiles: tuple[float, float]
    n: int

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.quartiles[0]:.2f}–{self.quartiles[1]:.2f}, min {self.smallest_ratio:.2f})"


def in_pairs(subjects: dict[str, Callable[[], Any]], baseline: str, n: int) -> dict[str, Timing]:
    """Run all subjects n times in turn, each time beginning with another, after one run each that does not count.

    A machine that is slow for a while is slow for a subject and for the baseline it is compared with.
    """
    names = list(subjects)
    for name in names:
        subjects[name]()
    rounds = []
    for i in range(n):
        first = i % len(names)
        rounds.append({name: seconds(subjects[name]) for name in names[first:] + names[:first]})
    return {name: _timing([r[name] for r in rounds], [r[baseline] for r in rounds]) for name in names}


def _timing(own: list[float], baseline: list[float]) -> Timing:
    ratios = sorted(a / b for a, b in zip(own, baseline, strict=True))
    low, _, high = statistics.quantiles(ratios, n=4)
    return Timing(statistics.median(own), statistics.median(ratios), ratios[0], (low, high), len(own))


def seconds(run: Callable[[], Any]) -> float:
    """How long one run takes, the GPU's part included."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def bytes_held(value: Any) -> int:
    """Bytes of all the tensors that a value holds on to, each piece of memory once."""
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(value)}
    return sum(storages.values())


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in _tensors(part)]
    return []


def largest_difference(mine: Tensor, theirs: Tensor) -> float:
    """Relative to the largest value of the row it is in."""
    scale = theirs.abs().amax(-1, keepdim=True).clamp_min(1e-30)
    return float(((mine - theirs).abs() / scale).max())


def alone(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a fresh process, whose peak memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_mib() -> int:
    """The most memory this process has had at any time."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) // 1024  # type: ignore[index]


def peak_gpu_mib() -> int:
    """The most memory this process's tensors have had on the GPU since this was asked last; 0 without one."""
    if not torch.cuda.is_available():
        return 0
    peak = torch.cuda.max_memory_allocated() // MIB
    torch.cuda.reset_peak_memory_stats()
    return peak


def machine() -> dict[str, Any]:
    """Processor, GPU and the versions of what is installed."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{cpu[1].strip() if cpu else platform.processor()}, {torch.get_num_threads()} threads",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{library: _installed(library) for library in LIBRARIES},
    }


def _installed(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def as_json(value: Any) -> Any:
    """For json.dump: dataclasses as dictionaries."""
    return asdict(value)
