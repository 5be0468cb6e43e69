"""Flow: every token's stream through all layers, how large each update of it is, and where attention reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from gemma_viz.capture import Capture
from gemma_viz.stages import Floats, counted, rms, to_numpy
from gemma_viz.stages.heads import bands

READ = 3  # tokens that are named of those that attention reads
DEPTHS = 6  # at which a token's stream is read out before the end, at most


@dataclass(frozen=True)
class LayerFlow:
    """What one layer does to the stream of every token. All [position], or [position, rank].

    middle, after: float32, RMS of the stream after the attention, and after the MLP
    attention, mlp: float32, RMS of the update divided by the RMS of the stream that it is added to
    read: int32, the tokens that attention reads most; weights: float32, how much, the mean over the heads; 0 where
        there is no such token
    """

    middle: Floats
    after: Floats
    attention: Floats
    mlp: Floats
    read: npt.NDArray[np.int32]
    weights: Floats


@dataclass(frozen=True)
class Flow:
    """The `LayerFlow` of all layers, for some neighbouring tokens.

    shown: range, their positions
    stream_rms: float32 [depth, token]: as it enters the first layer, then after each attention and after each MLP
    attention, mlp: float32 [layer, token]
    read: int32 [layer, token, rank], positions in the whole text; weights: float32 [layer, token, rank]
    """

    shown: range
    stream_rms: Floats
    attention: Floats
    mlp: Floats
    read: npt.NDArray[np.int32]
    weights: Floats


@dataclass(frozen=True)
class Likeliest:
    """The likeliest token to come next, read off some streams.

    texts: tuple of str; probabilities: float32, of the whole vocabulary
    """

    texts: tuple[str, ...]
    probabilities: Floats


def embedded_rms(cap: Capture) -> Floats:
    """RMS of the stream as it enters the first layer: float32 [position]."""
    return to_numpy(rms(cap.resid_pre(0)))


@counted
def layer_flow(cap: Capture, layer: int) -> LayerFlow:
    """What a layer does to the stream of every token; may not be finite in a changed model."""
    attention, updates = cap.attention_and_sublayers(layer)
    before, middle, after = (rms(stream) for stream in (cap.resid_pre(layer), updates.resid_mid, cap.resid_post(layer)))
    read, weights = zip(*(_strongest(band.mean(0), left) for _, left, band in bands(attention)), strict=True)
    return LayerFlow(
        middle=to_numpy(middle),
        after=to_numpy(after),
        attention=to_numpy(rms(updates.attn_out) / before),
        mlp=to_numpy(rms(updates.mlp_out) / middle),
        read=torch.cat(read).to(torch.int32).numpy(),
        weights=to_numpy(torch.cat(weights)),
    )


def flow(embedded: Floats, layers: Sequence[LayerFlow], shown: range) -> Flow:
    """All layers together, for some neighbouring tokens. embedded: the `embedded_rms` of all tokens."""
    part = slice(shown.start, shown.stop)
    return Flow(
        shown=shown,
        stream_rms=np.stack([embedded, *(rms for layer in layers for rms in (layer.middle, layer.after))])[:, part],
        attention=np.stack([layer.attention[part] for layer in layers]),
        mlp=np.stack([layer.mlp[part] for layer in layers]),
        read=np.stack([layer.read[part] for layer in layers]),
        weights=np.stack([layer.weights[part] for layer in layers]),
    )


def depths(n_layers: int) -> tuple[int, ...]:
    """Numbers of layers, evenly spread, after which a stream is read out before the end."""
    return tuple(sorted({round(n_layers * part / (DEPTHS + 1)) for part in range(1, DEPTHS + 1)} - {0, n_layers}))


def following(cap: Capture, shown: range) -> Likeliest:
    """The likeliest next token after each of some neighbouring tokens."""
    return _likeliest(cap, cap.final_norm()[shown.start : shown.stop])


@counted
def early(cap: Capture, position: int) -> Likeliest:
    """What the output makes of one token's stream after so many layers as `depths` names: the logit lens."""
    return _likeliest(cap, cap.normed_stream_at(position)[list(depths(cap.model.spec.n_layers))])


def _likeliest(cap: Capture, normed: Tensor) -> Likeliest:
    """normed: [stream, d_model]"""
    probabilities, ids = cap.unembed(normed).softmax(-1).max(-1)
    return Likeliest(tuple(map(cap.model.token_text, ids.tolist())), to_numpy(probabilities))


def _strongest(pattern: Tensor, left: int) -> tuple[Tensor, Tensor]:
    """The keys that each query of a band reads most, and the weights on them: [query, rank] both.

    pattern: [query, key]; left: the position of the first key
    """
    weights, keys = pad(pattern, (0, max(0, READ - pattern.shape[1]))).topk(READ)
    return torch.where(weights > 0, keys + left, 0), weights
