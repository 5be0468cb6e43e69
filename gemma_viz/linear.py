"""The linear layers in a run: what they multiply with, and by the faster of the two libraries that torch's CPU build
carries.

torch gives float32 products to MKL, which on processors of other makers than its own runs at a third of what oneDNN
reaches (measured on an AMD EPYC: see benchmarks/RESULTS.md). Both sum in float32; results differ by rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear as torch_linear

from gemma_viz.edits import Edits

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T: float [..., n_out] from [..., n_in] and [n_out, n_in]."""
    if _HAS_ONEDNN and x.device.type == "cpu" and x.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return torch_linear(x, weight)


def weight_in_run(module: nn.Linear, layer: int, edits: Edits) -> Tensor:
    """The matrix that a run multiplies with: [n_out, n_in]."""
    weight, n_bits = module.weight.detach(), edits.in_layer(layer).weight_bits
    if n_bits is None:
        return weight
    steps = 2 ** (n_bits - 1) - 1  # to either side of zero
    scale = (weight.float().abs().amax(1, keepdim=True) / steps).clamp_min(torch.finfo(torch.float32).tiny)
    return ((weight.float() / scale).round() * scale).to(weight.dtype)
