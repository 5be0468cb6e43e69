"""What transformers itself computes inside a Gemma, to compare captures with.

The model is loaded apart from Gemma Viz, with transformers' "eager" attention, which is the one that hands out its
pattern. The values come from this module's own hooks; what no hook can see (rotated queries and keys, scores) is
written out plainly. `test_capture.py` checks the reference against what transformers returns of its own accord.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from gemma_viz import Capture
from tests.conftest import ROUNDING

# Of every layer: in the reference, and (by `captured`) in a capture.
LAYER_QUANTITIES = (
    "resid_pre",
    "attn_in",
    "q",
    "k",
    "v",
    "rot_q",
    "rot_k",
    "scores",
    "pattern",
    "z",
    "attn_projected",
    "attn_out",
    "resid_mid",
    "mlp_in",
    "gate",
    "up",
    "act",
    "mlp_projected",
    "mlp_out",
    "resid_post",
)

# Captures and the reference do the same sums in another order (sdpa against eager attention), so they differ by
# rounding: some units of float32's 1.2e-7 in each sum, carried on through the layers and steepened by the softmax.
# The largest difference seen is 1e-5 of the largest value of its row; a step done wrongly shows as 1e-2 and more.
TOLERANCE = 3e-5 * ROUNDING

LONG_PROMPT = "the red cat " * 40  # more tokens than a tiny model's d_model and d_mlp


@dataclass(frozen=True)
class Reference:
    """One forward pass. All tensors float32, without the batch axis.

    layers: for each layer the LAYER_QUANTITIES, in the shapes that captures have
    attentions, hidden_states: what transformers returned under these names
    final_norm: [position, d_model]; logits: [position, vocab]
    """

    layers: list[dict[str, Tensor]]
    attentions: list[Tensor]
    hidden_states: list[Tensor]
    final_norm: Tensor
    logits: Tensor


def load_reference(folder: Path | str, attention: str = "eager", dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A model that Gemma Viz has never touched."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation=attention).eval()


@torch.no_grad()
def run_reference(hf: PreTrainedModel, ids: Tensor) -> Reference:
    """Run the model over token ids [position]."""
    with _recorded(hf) as seen:
        out = hf(ids[None], output_attentions=True, output_hidden_states=True, use_cache=False)
    layers = [_layer_values(hf, index, seen, out.attentions[index][0]) for index in range(len(hf.model.layers))]
    return Reference(
        layers=layers,
        attentions=[pattern[0] for pattern in out.attentions],
        hidden_states=[state[0] for state in out.hidden_states],
        final_norm=seen["final_norm"],
        logits=out.logits[0],
    )


def captured(cap: Capture, layer: int) -> dict[str, Tensor]:
    """What a capture has under the names of LAYER_QUANTITIES."""
    attention, mlp = cap.attention(layer), cap.mlp(layer)
    return {
        "resid_pre": cap.resid_pre(layer),
        "attn_in": attention.input,
        "q": attention.q,
        "k": attention.k,
        "v": attention.v,
        "rot_q": attention.rot_q,
        "rot_k": attention.rot_k,
        "scores": attention.scores,
        "pattern": attention.pattern,
        "z": attention.z,
        "attn_projected": attention.projected,
        "attn_out": attention.out,
        "resid_mid": cap.resid_mid(layer),
        "mlp_in": mlp.input,
        "gate": mlp.gate,
        "up": mlp.up,
        "act": mlp.act,
        "mlp_projected": mlp.projected,
        "mlp_out": mlp.out,
        "resid_post": cap.resid_post(layer),
    }


def difference(mine: Tensor, theirs: Tensor) -> float:
    """The largest difference, relative to the largest value of its row; infinite where only one of two is infinite."""
    assert mine.shape == theirs.shape
    assert mine.dtype == torch.float32
    largest = theirs.masked_fill(theirs.isinf(), 0).abs().amax(-1, keepdim=True)
    return float(((mine - theirs).masked_fill(mine == theirs, 0).abs() / largest.clamp_min(1e-30)).max())


def fingerprint(cap: Capture) -> list[Tensor]:
    """Some of everything in it, to see whether another run has changed it."""
    found = [cap.resid_post(layer) for layer in range(4)]
    return [*found, cap.attention(1).z, cap.attention(2).rot_q, cap.mlp(3).act, cap.logits([0, -1])]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def allowed_keys(n: int, window: int | None) -> Tensor:
    """bool [query, key]: the key is not later, and among the last `window` keys."""
    rows = [[key <= query and (window is None or query - key < window) for key in range(n)] for query in range(n)]
    return torch.tensor(rows)


def window_of(hf: PreTrainedModel, layer: int) -> int | None:
    """Read from the config, apart from ModelSpec."""
    kinds = getattr(hf.config, "layer_types", None)
    return hf.config.sliding_window if kinds and kinds[layer] == "sliding_attention" else None


@contextmanager
def _recorded(hf: PreTrainedModel) -> Iterator[dict[str, Tensor]]:
    """Inputs and outputs of the modules, by name and layer ("gate.3"), without the batch axis."""
    seen: dict[str, Tensor] = {}
    handles = []

    def note_input(module: torch.nn.Module, name: str) -> None:
        def hook(_, args, kwargs):
            seen[name] = (args[0] if args else kwargs["hidden_states"])[0]

        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def note_output(module: torch.nn.Module, name: str) -> None:
        def hook(_, __, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output)[0]

        handles.append(module.register_forward_hook(hook))

    four_norms = hasattr(hf.model.layers[0], "post_feedforward_layernorm")
    for i, layer in enumerate(hf.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        note_input(layer, f"resid_pre.{i}")
        note_input(attention, f"attn_in.{i}")
        note_output(getattr(attention, "q_norm", attention.q_proj), f"q.{i}")
        note_output(getattr(attention, "k_norm", attention.k_proj), f"k.{i}")
        note_output(attention.v_proj, f"v.{i}")
        note_input(attention.o_proj, f"z.{i}")
        note_output(attention, f"attn_projected.{i}")
        note_output(layer.post_attention_layernorm if four_norms else attention, f"attn_out.{i}")
        note_input(mlp, f"mlp_in.{i}")
        note_output(mlp.gate_proj, f"gate.{i}")
        note_output(mlp.up_proj, f"up.{i}")
        note_input(mlp.down_proj, f"act.{i}")
        note_output(mlp, f"mlp_projected.{i}")
        note_output(layer.post_feedforward_layernorm if four_norms else mlp, f"mlp_out.{i}")
        note_output(layer, f"resid_post.{i}")
    note_output(hf.model.norm, "final_norm")
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _layer_values(hf: PreTrainedModel, index: int, seen: dict[str, Tensor], pattern: Tensor) -> dict[str, Tensor]:
    config = hf.config
    values = {name.rpartition(".")[0]: value for name, value in seen.items() if name.endswith(f".{index}")}
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    for name, n in (("q", heads), ("k", kv_heads), ("v", kv_heads), ("z", heads)):
        values[name] = _split_heads(values[name], n, config.head_dim)
    values["resid_mid"] = values["resid_pre"] + values["attn_out"]
    values["rot_q"], values["rot_k"] = _rotated(hf, index, values["q"], values["k"])
    values["scores"] = _scores(hf, index, values["rot_q"], values["rot_k"])
    values["pattern"] = pattern
    return values


def _split_heads(value: Tensor, n_heads: int, d_head: int) -> Tensor:
    """[head, position, d_head]; Gemma 3's queries and keys come split already."""
    if value.dim() == 3:
        return value
    return torch.stack([value[:, head * d_head : (head + 1) * d_head] for head in range(n_heads)])


def _rotated(hf: PreTrainedModel, index: int, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    family = importlib.import_module(type(hf).__module__)
    positions = torch.arange(q.shape[1])[None]
    by_kind = "full_attention" in hf.config.rope_parameters
    kind = (hf.config.layer_types[index],) if by_kind else ()
    cos, sin = hf.model.rotary_emb(q, positions, *kind)
    rot_q, rot_k = family.apply_rotary_pos_emb(q[None], k[None], cos, sin)
    return rot_q[0], rot_k[0]


def _scores(hf: PreTrainedModel, index: int, rot_q: Tensor, rot_k: Tensor) -> Tensor:
    config = hf.config
    cap = config.attn_logit_softcapping if config.model_type == "gemma2" else None
    hidden = ~allowed_keys(rot_q.shape[1], window_of(hf, index))
    shared_by = len(rot_q) // len(rot_k)
    rows = []
    for head, queries in enumerate(rot_q):
        score = queries @ rot_k[head // shared_by].T / getattr(config, "query_pre_attn_scalar", config.head_dim) ** 0.5
        if cap is not None:
            score = torch.tanh(score / cap) * cap
        rows.append(score.masked_fill(hidden, -torch.inf))
    return torch.stack(rows)
