"""Residual stream: its scale at every depth, what each sublayer adds to it, and what RMSNorm divides by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from gemma_viz.capture import Capture
from gemma_viz.instrument import norm_before_mlp
from gemma_viz.spec import ModelSpec
from gemma_viz.stages import Check, Floats, check, counted, rms, to_numpy
from gemma_viz.steps import rms_norm


@dataclass(frozen=True)
class Residual:
    """Depths run through the layers: 0 is the embedding, then after each attention and after each MLP.

    stream_rms: float32 [depth, position], 2 n_layers + 1 depths
    attention_share, mlp_share: float32 [layer, position], sqrt(var_r / (var_r + var_s)) of an update r to a stream s:
        near 0 it hardly changes the stream, near 1 it replaces it (the measure of Douglas Orr's article)
    attention_cosine, mlp_cosine: float32 [layer, position], of the update to the stream it is added to: above 0 it adds
        to the stream's own direction, below 0 it takes away from it
    divisors: by the norm's place in a layer, as in `norm_places`: float32 [layer, position], what it divides by
    """

    stream_rms: Floats
    attention_share: Floats
    mlp_share: Floats
    attention_cosine: Floats
    mlp_cosine: Floats
    divisors: dict[str, Floats]


@dataclass(frozen=True)
class LayerScales:
    """One layer's part of `Residual`. All float32 [position].

    before, middle, after: RMS of the stream before the attention, between it and the MLP, and after the MLP
    attention_output, mlp_output: RMS of what the sublayers give, before any norm of it
    attention_share, mlp_share, attention_cosine, mlp_cosine: as in `Residual`
    """

    before: Floats
    middle: Floats
    after: Floats
    attention_output: Floats
    mlp_output: Floats
    attention_share: Floats
    mlp_share: Floats
    attention_cosine: Floats
    mlp_cosine: Floats


@dataclass(frozen=True)
class Lens:
    """What the output would predict if the stream of one token went there from every depth.

    ids: int [depth, rank]; texts: tuple of tuple of str; probabilities: float32 [depth, rank]. n_layers + 1 depths
    target: int, a token of interest; target_probabilities: float32 [depth]; target_ranks: int [depth]
    leads_from: int, the depth from which the final answer stays the likeliest
    """

    ids: npt.NDArray[np.int64]
    texts: tuple[tuple[str, ...], ...]
    probabilities: Floats
    target: int
    target_probabilities: Floats
    target_ranks: npt.NDArray[np.int64]
    leads_from: int


@dataclass(frozen=True)
class NormInNumbers:
    """One RMSNorm on one token's vector.

    x, weight, normed: float32 [d_model], what it is given, what it has learned (it multiplies with 1 + weight), and
        what the model's own norm gives
    rms: float, what it divides by
    """

    x: Floats
    weight: Floats
    normed: Floats
    rms: float


def norm_places(spec: ModelSpec) -> tuple[str, ...]:
    """Where a layer has norms: Gemma 1 before its two sublayers, Gemma 2 and 3 after them too."""
    if spec.post_norms:
        return ("before attention", "after attention", "before MLP", "after MLP")
    return ("before attention", "before MLP")


@counted
def layer_scales(cap: Capture, layer: int) -> LayerScales:
    """Scales of the stream in one layer."""
    before, after, inside = cap.resid_pre(layer), cap.resid_post(layer), cap.sublayers(layer)
    middle = inside.resid_mid
    return LayerScales(
        before=to_numpy(rms(before)),
        middle=to_numpy(rms(middle)),
        after=to_numpy(rms(after)),
        attention_output=to_numpy(rms(inside.attn_projected)),
        mlp_output=to_numpy(rms(inside.mlp_projected)),
        attention_share=to_numpy(_share(inside.attn_out, before)),
        mlp_share=to_numpy(_share(inside.mlp_out, middle)),
        attention_cosine=to_numpy(cosine_similarity(inside.attn_out, before, dim=-1)),
        mlp_cosine=to_numpy(cosine_similarity(inside.mlp_out, middle, dim=-1)),
    )


def residual(layers: Sequence[LayerScales], spec: ModelSpec) -> Residual:
    """The `layer_scales` of all layers together."""
    stream_rms = np.stack([layers[0].before, *(rms for layer in layers for rms in (layer.middle, layer.after))])
    given = {
        "before attention": stream_rms[0:-1:2],
        "after attention": np.stack([layer.attention_output for layer in layers]),
        "before MLP": stream_rms[1::2],
        "after MLP": np.stack([layer.mlp_output for layer in layers]),
    }
    return Residual(
        stream_rms=stream_rms,
        attention_share=np.stack([layer.attention_share for layer in layers]),
        mlp_share=np.stack([layer.mlp_share for layer in layers]),
        attention_cosine=np.stack([layer.attention_cosine for layer in layers]),
        mlp_cosine=np.stack([layer.mlp_cosine for layer in layers]),
        divisors={place: np.sqrt(given[place] ** 2 + np.float32(spec.norm_eps)) for place in norm_places(spec)},
    )


@counted
def stream_scales(cap: Capture, position: int) -> Floats:
    """RMS of one token's stream before the first layer and after each: float32 [n_layers + 1]; may not be finite."""
    return to_numpy(rms(cap.stream_at(position)))


@counted
def depth_similarity(cap: Capture, position: int) -> Floats:
    """Cosine of one token's stream between any two depths: float32 [n_layers + 1, n_layers + 1]."""
    directions = normalize(cap.stream_at(position), dim=-1)
    return to_numpy(directions @ directions.T)


@counted
def lens(cap: Capture, position: int, target: int | None = None, k: int = 5) -> Lens:
    """The logit lens for one token. target: an id to follow; None for the model's own answer."""
    followed = cap.top_k(1, position).ids[0] if target is None else target
    ranking = cap.lens(position, followed, k)
    leading = ranking.ids[:, 0] == ranking.ids[-1, 0]
    others = (~leading).nonzero()
    return Lens(
        ids=ranking.ids.numpy(),
        texts=tuple(tuple(map(cap.model.token_text, row)) for row in ranking.ids.tolist()),
        probabilities=to_numpy(ranking.probabilities),
        target=followed,
        target_probabilities=to_numpy(ranking.target_probabilities),
        target_ranks=ranking.target_ranks.numpy(),
        leads_from=int(others[-1]) + 1 if len(others) else 0,
    )


@counted
def norm_in_numbers(cap: Capture, layer: int, place: str, position: int) -> NormInNumbers:
    """One of a layer's norms, on one token. place: one of `norm_places`."""
    module = cap.model.hf.model.layers[layer]
    inside = cap.sublayers(layer)
    x, norm, normed = {
        "before attention": lambda: (cap.resid_pre(layer), module.input_layernorm, cap.attention(layer).input),
        "after attention": lambda: (inside.attn_projected, module.post_attention_layernorm, inside.attn_out),
        "before MLP": lambda: (inside.resid_mid, norm_before_mlp(module, cap.model.spec), cap.mlp(layer).input),
        "after MLP": lambda: (inside.mlp_projected, module.post_feedforward_layernorm, inside.mlp_out),
    }[place]()
    return NormInNumbers(
        x=to_numpy(x[position]),
        weight=to_numpy(norm.weight),
        normed=to_numpy(normed[position]),
        rms=float((x[position].pow(2).mean() + cap.model.spec.norm_eps).sqrt()),
    )


@counted
def check_rms_norm(cap: Capture, layer: int) -> Check:
    """`steps.rms_norm` against what the layer's attention was given."""
    norm = cap.model.hf.model.layers[layer].input_layernorm
    mine = rms_norm(cap.resid_pre(layer), norm.weight.detach().float().cpu(), cap.model.spec.norm_eps)
    return check(rms_norm, f"rms_norm(stream, weight, eps), layer {layer}", mine, cap.attention(layer).input)


def _share(update: Tensor, stream: Tensor) -> Tensor:
    """[position], from two [position, d_model]."""
    update_variance, stream_variance = update.var(-1), stream.var(-1)
    return (update_variance / (update_variance + stream_variance)).sqrt()
