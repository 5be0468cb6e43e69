"""How much memory there is, and what a lack of it looks like."""

import gc
from pathlib import Path

import psutil
import torch

from gemma_viz.errors import OutOfMemory

# Where Linux says what a container may have, and what it has: version 2 of control groups.
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
CONTAINER_USED = Path("/sys/fs/cgroup/memory.current")


def free_bytes(device: torch.device) -> int:
    """What can still be had: of the GPU, or of the machine, and in a container of what that may have."""
    if device.type == "cuda":
        kept_by_torch = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept_by_torch
    machine: int = psutil.virtual_memory().available
    return min(machine, left) if (left := _left_to_container()) is not None else machine


def _left_to_container() -> int | None:
    try:
        limit, used = (path.read_text().strip() for path in (CONTAINER_LIMIT, CONTAINER_USED))
    except OSError:
        return None
    return max(0, int(limit) - int(used)) if limit.isdecimal() else None  # "max" is no limit


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there was not enough memory, of the machine or of the GPU."""
    on_the_cpu = isinstance(error, RuntimeError) and "allocate memory" in str(error)  # torch has no class for it
    return on_the_cpu or isinstance(error, OutOfMemory | MemoryError | torch.OutOfMemoryError)


def keep_for_good() -> None:
    """Spare all that is there now from every later collection of garbage.

    To go through the half million objects of the model and the libraries takes a quarter of a second, in which no
    other thread of Python can run.
    """
    gc.collect()
    gc.freeze()


def give_back_memory() -> None:
    """Let go of what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
