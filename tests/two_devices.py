"""A model on two devices: the CPU and a GPU, or where there is none the CPU and a device that is only pretended."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import dispatch_model
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

import gemma_viz as gv
from gemma_viz.instrument import ATTENTION

CPU = torch.device("cpu")
PRETENDED = torch.device("ipu", 0)  # a kind of device that torch has a name for, but nothing to compute with
META = torch.device("meta")  # what torch itself takes a pretended tensor for
HAS_GPU = os.environ.get("GEMMA_VIZ_TEST_DEVICE", "cpu") != "cpu" and torch.cuda.is_available()
OTHER = torch.device("cuda", 0) if HAS_GPU else PRETENDED

# A pass over four layers crosses both ways, also before and after the final norm.
THERE = ("model.layers.1", "model.layers.2", "model.norm")
HERE = ("model.embed_tokens", "model.rotary_emb", "model.layers.0", "model.layers.3", "lm_head")

COPIES = (torch.ops.aten.to, torch.ops.aten._to_copy, torch.ops.aten.copy_)  # from anywhere to anywhere
# The indices, which are given second, may be on the CPU.
INDEXING = (torch.ops.aten.index, torch.ops.aten.index_put_, torch.ops.aten._index_put_impl_)


def load_spread(folder: Path) -> gv.Model:
    """A checkpoint in float32, on the CPU and the other device."""
    hf = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=ATTENTION)
    return gv.Model(spread(hf), AutoTokenizer.from_pretrained(folder), name=str(folder))


def spread(hf: PreTrainedModel) -> PreTrainedModel:
    if HAS_GPU:
        return dispatch_model(hf, dict.fromkeys(HERE, "cpu") | dict.fromkeys(THERE, OTHER), main_device="cpu")
    for name in THERE:
        for module in hf.get_submodule(name).modules():
            for parameter, value in list(module.named_parameters(recurse=False)):
                setattr(module, parameter, nn.Parameter(Elsewhere(value.detach()), requires_grad=False))
    return hf


@contextmanager
def other_device() -> Iterator[None]:
    """Let tensors be made on the other device, also where it is pretended."""
    if HAS_GPU:
        yield
    else:
        only_on_the_cpu = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)  # what is made of numbers comes to the mode before it is moved
        try:
            with _Pretending():
                yield
        finally:
            torch._C._set_only_lift_cpu_tensors(only_on_the_cpu)


class Elsewhere(Tensor):
    """A tensor that says it is on the pretended device, and as on a real one cannot meet tensors that are not."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        tensor = Tensor._make_wrapper_subclass(
            cls,
            here.shape,
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=META,
        )
        tensor.here = here
        return tensor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return PRETENDED

    __torch_function__ = torch._C._disabled_torch_function_impl

    def __getitem__(self, index: Any) -> Tensor:
        indices = index if isinstance(index, tuple) else (index,)
        # torch itself would make a tensor of a list, on the device that it takes this one to be on, without its values.
        return super().__getitem__(tuple(torch.tensor(one) if isinstance(one, list) else one for one in indices))

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


class _Pretending(TorchDispatchMode):
    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(operation, args, kwargs or {})


def _computed(operation: Any, args: Any, kwargs: Any) -> Any:
    """What the operation gives: computed on the CPU, and put where a device of its own would put it."""
    leaves = tree_leaves((args, kwargs))
    asked = next((leaf for leaf in leaves if isinstance(leaf, torch.device)), None)
    if operation == torch.ops.aten.to.other:
        asked = args[1].device
    # What torch takes to where it thinks a pretended tensor is: an index, which may stay on the CPU, or a value.
    is_taken_along = asked == META and operation.overloadpacket in COPIES
    if not (asked == PRETENDED or is_taken_along or any(isinstance(leaf, Elsewhere) for leaf in leaves)):
        return operation(*args, **kwargs)
    if is_taken_along and not args[0].is_floating_point():
        return args[0]
    device = asked or _common_device(operation, args, kwargs)
    result = operation(*tree_map(_here, args), **tree_map(_here, kwargs))
    if operation._schema.is_mutable:
        return args[0]
    with torch.inference_mode(args[0].is_inference() if operation.is_view else torch.is_inference_mode_enabled()):
        return tree_map(_there, result) if device in (PRETENDED, META) else result


def _common_device(operation: Any, args: Any, kwargs: Any) -> torch.device:
    tensors = [leaf for leaf in tree_leaves(args[:1]) if isinstance(leaf, Tensor)]
    if operation.overloadpacket not in COPIES:
        others = [leaf for leaf in tree_leaves((args[1:], kwargs)) if isinstance(leaf, Tensor)]
        may_be_on_the_cpu = [*args[1]] if operation.overloadpacket in INDEXING else []
        tensors += [one for one in others if one.device != CPU or not any(one is index for index in may_be_on_the_cpu)]
    devices = {tensor.device for tensor in tensors if tensor.dim() or tensor.device != CPU}  # a number may be there too
    if len(devices) > 1:
        raise RuntimeError(f"Expected all tensors to be on the same device: {operation} has them on {devices}.")
    return devices.pop() if devices else CPU


def _here(value: Any) -> Any:
    if isinstance(value, Elsewhere):
        return value.here
    return CPU if isinstance(value, torch.device) else value


def _there(value: Any) -> Any:
    return Elsewhere(value) if isinstance(value, Tensor) else value
