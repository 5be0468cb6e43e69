"""Changes of the model, in words."""

from collections.abc import Callable, Sequence
from typing import Any

from gemma_viz.edits import Edits
from gemma_viz.engine.keys import PatchKey
from gemma_viz.numbers import head_label
from gemma_viz.patching import Patch
from gemma_viz.ui.words import code, named, size

_OFF = {
    "embedding_scale": "no rescaling of the embedding",
    "norms": "no norms around attention and MLP",
    "attention": "no attention",
    "causal_mask": "no causal mask",
    "rope": "no RoPE",
    "mlp": "no MLP",
    "final_norm": "no final norm",
    "attention_norms": "no norms around attention",
    "mlp_norms": "no norms around the MLP",
    "qk_norms": "no norms of queries and keys",
    "attention_residual": "no residual connection around attention",
    "mlp_residual": "no residual connection around the MLP",
    "attention_softcap": "no soft-cap of the scores",
    "final_softcap": "no soft-cap of the logits",
    "gate": "no gate in the MLP",
}

_ACTIVATIONS = {
    "gelu_exact": "the exact GELU",
    "relu": "ReLU in the place of GELU",
    "identity": "the gate as it is in the place of GELU",
}

_PATTERNS = {"uniform": "the same attention weight on every token seen", "own": "attention to its own token only"}

_CHANGED: dict[str, Callable[[Any], str]] = {
    "embedding_factor": lambda factor: f"the embedding times {size(factor)}",
    "window": lambda tokens: f"a window of {tokens:,} tokens",
    "attention_temperature": lambda temperature: f"an attention temperature of {size(temperature)}",
    "pattern": _PATTERNS.__getitem__,
    "queries_from": lambda pairs: _queries(pairs),
    "rope_theta": lambda theta: f"a RoPE base of {size(theta)}",
    "rope_stretch": lambda factor: f"positions times {size(factor)}",
    "rope_shift": lambda shift: f"positions moved by {shift:,}",
    "rope_shuffle": lambda seed: f"positions in a random order (seed {seed})",
    "activation": _ACTIVATIONS.__getitem__,
    "without_heads": lambda heads: f"without {named('head', [head_label(*place) for place in sorted(heads)])}",
    "without_neurons": lambda neurons: f"without {named('neuron', [f'{a}.{b}' for a, b in sorted(neurons)])}",
    "removal": lambda removal: f"what is left out replaced by its {removal}",
    "weight_bits": lambda bits: f"weights of the layers rounded to {bits} bits",
    "unembedding_seed": lambda seed: f"a random output projection (seed {seed})",
    "layers": lambda layers: f"in {named('layer', [str(layer) for layer in sorted(layers)]) or 'no layer'}",
}


def described(edits: Edits) -> str:
    """What is changed, as a list of phrases that stands after a colon; empty where nothing is."""
    phrases = [_OFF[name] if name in _OFF else _CHANGED[name](value) for name, value in edits.changes.items()]
    return ", ".join(phrases)


def patched(patch: Patch | PatchKey) -> str:
    """Which value a run takes over, in Markdown."""
    value = {
        "resid_pre": f"the stream that enters layer {patch.layer}",
        "attn_out": f"what attention adds in layer {patch.layer}",
        "mlp_out": f"what the MLP adds in layer {patch.layer}",
        "z": f"what layer {patch.layer}, head {patch.head} reads",
    }[patch.kind]
    return f"{value} at token {patch.position} comes from the run of {code(patch.source.text)}"


def _queries(pairs: Sequence[tuple[int, int]]) -> str:
    """head 1 with the queries of head 0; heads 2 and 3 with the queries of head 4."""
    sources = dict.fromkeys(source for _, source in pairs)
    readers = {source: [str(head) for head, its_source in pairs if its_source == source] for source in sources}
    return "; ".join(f"{named('head', heads)} with the queries of head {source}" for source, heads in readers.items())
