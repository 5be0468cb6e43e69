"""What is inside one layer of a run: the values of its attention and of its MLP, and what both add to the stream.

Made by a `Capture`, which replays the layer for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape

import torch
from torch import Tensor
from torch.nn.functional import adaptive_max_pool2d

from gemma_viz import display
from gemma_viz.attention import AttentionRule, hidden_keys, masked_scores, seen_keys
from gemma_viz.spec import ModelSpec

# In the order in which a layer makes them; a replay stops after the last.
INSIDE_ATTENTION = ("attn_in", "q", "k", "v", "rot_q", "rot_k", "z", "attn_projected", "attn_out")
INSIDE_SUBLAYERS = ("attn_projected", "attn_out", "resid_mid", "mlp_projected", "mlp_out")
INSIDE_MLP = ("mlp_in", "gate", "up", "act", "mlp_projected", "mlp_out")

# For display: the axes of what a notebook shows of a sublayer.
ATTENTION_AXES = {
    "input": "position, d_model",
    **dict.fromkeys(("q", "rot_q"), "head, position, d_head"),
    **dict.fromkeys(("k", "rot_k", "v"), "kv_head, position, d_head"),
    "z": "head, position, d_head",
    **dict.fromkeys(("projected", "out"), "position, d_model"),
}
MLP_AXES = {
    "input": "position, d_model",
    **dict.fromkeys(("gate", "up", "act"), "position, d_mlp"),
    **dict.fromkeys(("projected", "out"), "position, d_model"),
}
LARGEST_DISPLAYED = 512  # tokens; the patterns of longer texts are not made only to be displayed
CELLS_DISPLAYED = 24  # a side


@dataclass(frozen=True, repr=False)
class Attention:
    """The inside of one attention sublayer. Float32 tensors on the CPU.

    input: [position, d_model], the stream after RMSNorm
    q, rot_q: [head, position, d_head], queries before and after RoPE (Gemma 3: after the query norm). Where heads use
        the queries of others, `rot_q` are those they use
    k, rot_k: [kv_head, position, d_head], keys, likewise
    v: [kv_head, position, d_head]
    z: [head, position, d_head], the values, weighted and summed: what goes into attention's output projection, o_proj
    projected: [position, d_model], the heads' outputs after that
    out: [position, d_model], what is added to the stream: the same, or (Gemma 2, 3) its norm
    scores: [head, query, key], rot_q . rot_k, scaled (Gemma 2: soft-capped); -inf where the query may not look
    pattern: [head, query, key], softmax of the scores; rows sum to 1
    rule: AttentionRule, how the scores are made

    Source: Attention Is All You Need (arXiv:1706.03762), section 3.2; multi-query: arXiv:1911.02150.
    """

    input: Tensor
    q: Tensor
    rot_q: Tensor
    k: Tensor
    rot_k: Tensor
    v: Tensor
    z: Tensor
    projected: Tensor
    out: Tensor
    rule: AttentionRule

    @classmethod
    def of(cls, values: Mapping[str, Tensor], spec: ModelSpec, rule: AttentionRule) -> "Attention":
        """Of the values `INSIDE_ATTENTION` of a run, without the batch axis."""
        return cls(
            input=values["attn_in"],
            q=_heads_first(values["q"], spec.n_heads),
            rot_q=values["rot_q"],
            k=_heads_first(values["k"], spec.n_kv_heads),
            rot_k=values["rot_k"],
            v=_heads_first(values["v"], spec.n_kv_heads),
            z=_heads_first(values["z"], spec.n_heads),
            projected=values["attn_projected"],
            out=values["attn_out"],
            rule=rule,
        )

    @cached_property
    def scores(self) -> Tensor:
        """[head, query, key], before the softmax."""
        return self.scores_of(slice(None))

    @cached_property
    def pattern(self) -> Tensor:
        """[head, query, key], after the softmax."""
        return self.scores.softmax(-1)

    def moved_to(self, device: torch.device) -> "Attention":
        """The same, with the queries and keys that scores are made of on a device."""
        return replace(self, rot_q=self.rot_q.to(device), rot_k=self.rot_k.to(device))

    def scores_of(self, heads: slice, queries: slice = slice(None), keys: slice = slice(None)) -> Tensor:
        """The scores of some heads, queries and keys only, each a run of neighbours: [heads, queries, keys]."""
        n_heads, n_kv_heads, n = len(self.rot_q), len(self.rot_k), self.rot_q.shape[1]
        kv_heads = [head * n_kv_heads // n_heads for head in range(n_heads)[heads]]
        hidden = hidden_keys(range(n)[queries], range(n)[keys], self.rule, self.rot_q.device)
        rot_q, rot_k = self.rot_q[heads, queries], self.rot_k[kv_heads, keys]
        return masked_scores(rot_q, rot_k, hidden, self.rule)

    def keys_seen_by(self, queries: range) -> range:
        """The keys that at least one of some neighbouring queries may look at."""
        return seen_keys(queries, self.rot_k.shape[1], self.rule)

    def __repr__(self) -> str:
        n_heads, n, _ = self.rot_q.shape
        window = self.rule.window
        back = "all tokens" if not window else "1 token" if window == 2 else f"{window - 1:,} tokens"
        sees = "every token" if not self.rule.causal else "itself" if window == 1 else f"itself and {back} before it"
        return f"<Attention of {n_heads} heads ({len(self.rot_k)} of keys and values), {n:,} tokens; each sees {sees}>"

    def _repr_html_(self) -> str:
        n_heads, n, _ = self.rot_q.shape
        inside = {name: (axes, getattr(self, name)) for name, axes in ATTENTION_AXES.items()}
        rows = [*display.shapes(inside), ("scores, pattern", f"head {n_heads:,}, query {n:,}, key {n:,}")]
        pictures = display.maps(self._small_pattern(), "head") if n <= LARGEST_DISPLAYED else ""
        return f"<p>{escape(repr(self)[1:-1])}</p>{display.html_table(('value', 'shape'), rows)}{pictures}"

    def _small_pattern(self) -> Tensor:
        """The pattern, [head, row, column], of longer texts the largest weight of each cell."""
        side = min(self.rot_q.shape[1], CELLS_DISPLAYED)
        return adaptive_max_pool2d(self.pattern, (side, side))


@dataclass(frozen=True, repr=False)
class MLP:
    """The inside of one MLP sublayer. Float32 tensors on the CPU.

    input: [position, d_model], the stream after RMSNorm
    gate, up: [position, d_mlp], the two projections of the input
    act: [position, d_mlp], gelu(gate) * up, what goes into the down-projection
    projected: [position, d_model], act after the down-projection
    out: [position, d_model], what is added to the stream: the same, or (Gemma 2, 3) its norm

    Source: GLU Variants Improve Transformer (arXiv:2002.05202).
    """

    input: Tensor
    gate: Tensor
    up: Tensor
    act: Tensor
    projected: Tensor
    out: Tensor

    @classmethod
    def of(cls, values: Mapping[str, Tensor]) -> "MLP":
        """Of the values `INSIDE_MLP` of a run, without the batch axis."""
        return cls(
            input=values["mlp_in"],
            gate=values["gate"],
            up=values["up"],
            act=values["act"],
            projected=values["mlp_projected"],
            out=values["mlp_out"],
        )

    def __repr__(self) -> str:
        n, d_mlp = self.act.shape
        return f"<MLP of {d_mlp:,} neurons, {n} tokens>"

    def _repr_html_(self) -> str:
        rows = display.shapes({name: (axes, getattr(self, name)) for name, axes in MLP_AXES.items()})
        return f"<p>{escape(repr(self)[1:-1])}</p>{display.html_table(('value', 'shape'), rows)}"


@dataclass(frozen=True, repr=False)
class Sublayers:
    """What the two sublayers of a layer add to the stream. Float32 [position, d_model], on the CPU.

    attn_projected, mlp_projected: what they give
    attn_out, mlp_out: what is added to the stream: the same, or (Gemma 2, 3) its norm
    resid_mid: the stream between them
    """

    attn_projected: Tensor
    attn_out: Tensor
    resid_mid: Tensor
    mlp_projected: Tensor
    mlp_out: Tensor

    @classmethod
    def of(cls, values: Mapping[str, Tensor]) -> "Sublayers":
        """Of the values `INSIDE_SUBLAYERS` of a run, without the batch axis."""
        return cls(**{name: values[name] for name in INSIDE_SUBLAYERS})

    def __repr__(self) -> str:
        n, d_model = self.resid_mid.shape
        return f"<Sublayers of {n:,} tokens, {d_model:,} components each>"

    def _repr_html_(self) -> str:
        rows = display.shapes({name: ("position, d_model", getattr(self, name)) for name in INSIDE_SUBLAYERS})
        return f"<p>{escape(repr(self)[1:-1])}</p>{display.html_table(('value', 'shape'), rows)}"


def _heads_first(tensor: Tensor, n_heads: int) -> Tensor:
    """[head, position, d_head] from [position, head * d_head], or from [head, position, d_head] as it is.

    A projection gives the first form; transformers splits the heads before it applies a query or key norm.
    """
    if tensor.dim() == 3:
        return tensor
    return tensor.reshape(len(tensor), n_heads, -1).transpose(0, 1)
