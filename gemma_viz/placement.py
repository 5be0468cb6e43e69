"""Where a model's weights go: onto one device, or layer by layer onto several GPUs, and in which dtype.

Nothing is put aside onto the disk, or from a GPU into the machine's memory: a model that would only run so is refused.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from gemma_viz.errors import BadSetting, ModelTooLarge
from gemma_viz.memory import free_bytes

DEVICE = "GEMMA_VIZ_DEVICE"
ALL_GPUS = "auto"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
WORKING_SPACE = 1.2  # memory a loaded model needs, as a multiple of its weights


@dataclass(frozen=True)
class Placement:
    """What the weights are loaded in, and onto what.

    dtype: torch.dtype
    modules: {name of a module: its device}, what transformers calls a device map; "" names the whole model
    """

    dtype: torch.dtype
    modules: dict[str, torch.device]


def default_device() -> torch.device:
    """CUDA if there is one, else MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def dtype_of(asked: str | torch.dtype | None) -> torch.dtype | None:
    """A dtype that a model can compute in, by its name or as it is. Raises BadSetting for any other."""
    if asked is None:
        return None
    name = str(asked).removeprefix("torch.")
    if name == "float16":
        raise BadSetting("float16 ends at 65,504, and Gemma's residual stream goes beyond. Choose bfloat16 or float32.")
    if name not in DTYPES:
        raise BadSetting(f"The dtype is {name[:40]!r}, and must be one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def place(
    config: PreTrainedConfig, device: str | torch.device | None, dtype: torch.dtype | None, shown: str
) -> Placement:
    """The first of the devices in question that hold the model, and the most exact dtype that they hold it in.

    device: "auto" for all GPUs; None for `$GEMMA_VIZ_DEVICE`, without which it is the default device, or all GPUs where
        one does not hold the model
    dtype: None for a choice by the memory; on a single device another is taken as it is, whatever the memory
    shown: the model's name, for people

    Raises ModelTooLarge or BadSetting.
    """
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    groups = _groups(device)
    for devices in groups:
        if dtype and len(groups) == len(devices) == 1:
            return Placement(dtype, {"": devices[0]})
        for choice in (dtype,) if dtype else _dtypes(devices):
            if modules := _spread(skeleton, devices, choice):
                return Placement(choice, modules)
    need = sum(parameter.numel() for parameter in skeleton.parameters()) * choice.itemsize * WORKING_SPACE
    free = sum(map(free_bytes, devices))
    where = f"the {devices[0].type}" if len(devices) == 1 else f"{len(devices)} GPUs together"
    raise ModelTooLarge(
        f"{shown} needs {need / 1e9:.1f} GB of memory in {str(choice).removeprefix('torch.')}, and {free / 1e9:.1f} GB "
        f"are free on {where}. Choose a smaller model, or free memory."
    )


def _groups(device: str | torch.device | None) -> list[list[torch.device]]:
    """Devices that may hold the model together, in the order in which they are tried."""
    gpus = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    device = device or device_setting()
    if device == ALL_GPUS:
        return [gpus or [default_device()]]
    if device is not None:
        return [[_device(device)]]
    return [[default_device()], *([gpus] if len(gpus) > 1 else [])]


def device_setting() -> str | None:
    """`$GEMMA_VIZ_DEVICE`, one that is here; None where it is not set. Raises BadSetting."""
    chosen = os.environ.get(DEVICE, "").strip()
    if not chosen:
        return None
    if not re.fullmatch(rf"{ALL_GPUS}|cpu|cuda(:[0-9]{{1,3}})?", chosen):
        raise BadSetting(
            f"{DEVICE} is {chosen!r}. It takes auto, cpu, cuda, one of several GPUs as cuda:1, or nothing."
        )
    if chosen != ALL_GPUS:
        _refuse_absent(DEVICE, chosen, torch.device(chosen))
    return chosen


def _device(asked: str | torch.device) -> torch.device:
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError):
        device = torch.device("meta")  # no more a place to compute than this
    if device.type == "meta":
        raise BadSetting(f"The device is {str(asked)[:40]!r}. It is auto, cpu, cuda, one of several as cuda:1, or mps.")
    _refuse_absent("The device", str(asked), device)
    return device


def _refuse_absent(what: str, asked: str, device: torch.device) -> None:
    if device.type == "cuda" and (device.index or 0) >= (n := torch.cuda.device_count()):
        raise BadSetting(f"{what} is {asked!r}, and torch finds {n} GPUs, counted from 0. Choose another.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise BadSetting(f"{what} is {asked!r}, and torch finds no such GPU. Choose another.")


def _dtypes(devices: Sequence[torch.device]) -> tuple[torch.dtype, ...]:
    return (torch.float32, torch.bfloat16) if devices[0].type == "cpu" else (torch.bfloat16,)


def _spread(
    skeleton: PreTrainedModel, devices: Sequence[torch.device], dtype: torch.dtype
) -> dict[str, torch.device] | None:
    """The device of each part of the model; None where they do not hold it.

    The parts stay in their order, so that a pass crosses from each device to the next only once, and all devices are
    filled to the same share of what is free, so that captures find room on each.
    """
    rooms = [free_bytes(device) / WORKING_SPACE for device in devices]
    parts = list(_parts(skeleton))
    sizes = [sum(parameter.numel() for parameter in part.parameters()) * dtype.itemsize for _, part in parts]
    if len(devices) == 1:
        return {"": devices[0]} if sum(sizes) <= rooms[0] else None
    filled = (_filled(sizes, [room * percent / 100 for room in rooms]) for percent in range(1, 101))
    where = next((places for places in filled if places), None)
    if where is None:
        return None
    modules = {names: devices[place] for (names, _), place in zip(parts, where, strict=True)}
    return {name: device for names, device in modules.items() for name in names}


def _parts(skeleton: PreTrainedModel) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
    """What is never divided, in the order of a pass: the names of its modules, and one that has all of its weights."""
    is_tied = skeleton.lm_head.weight is skeleton.model.embed_tokens.weight
    yield ("model.embed_tokens", "model.rotary_emb", *(["lm_head"] if is_tied else [])), skeleton.model.embed_tokens
    for index, layer in enumerate(skeleton.model.layers):
        yield (f"model.layers.{index}",), layer
    yield ("model.norm",), skeleton.model.norm
    if not is_tied:
        yield ("lm_head",), skeleton.lm_head


def _filled(sizes: Sequence[int], rooms: Sequence[float]) -> list[int] | None:
    """The room that each of some parts goes into, one room after the other; None where not all find a place."""
    places, room, used = [], 0, 0.0
    for size in sizes:
        while used + size > rooms[room]:
            room, used = room + 1, 0.0
            if room == len(rooms):
                return None
        places.append(room)
        used += size
    return places
