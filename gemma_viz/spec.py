"""ModelSpec: the sizes of a Gemma and the variations it has, read from its config."""

from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedConfig

from gemma_viz.errors import NotAGemma

FAMILIES = {"gemma": "Gemma 1", "gemma2": "Gemma 2", "gemma3_text": "Gemma 3"}

LayerKind = Literal["full", "sliding"]


@dataclass(frozen=True)
class ModelSpec:
    """What there is to know about a Gemma before it has seen a text.

    family: "Gemma 1", "Gemma 2" or "Gemma 3"
    n_layers, n_heads, n_kv_heads: int. A group of n_heads / n_kv_heads query heads shares a key/value head
    d_model, d_head, d_mlp, vocab_size: int, lengths of the vectors
    context_length: int, tokens, the most the model was made for
    embedding_scale: float, what an embedding row is multiplied with, sqrt(d_model)
    norm_eps: float, added to the mean square before the root
    post_norms: bool, whether each sublayer's output is normalised too, before it is added (Gemma 2, 3)
    qk_norm: bool, whether queries and keys are normalised before RoPE (Gemma 3)
    attention_scale: float, what q . k is multiplied with
    attention_softcap, final_softcap: float or None, c in c * tanh(x / c) for scores and logits (Gemma 2)
    sliding_window: int or None, tokens that a "sliding" layer sees, itself included (Gemma 2, 3)
    layer_kinds: "full" or "sliding" for each layer
    rope_thetas: float for each layer, the base of RoPE's wavelengths
    rope_factors: float for each layer, by how much every turn is slowed down besides (Gemma 3 from 4B on: 8 in "full"
        layers); 1 where it is not
    activation: str, transformers' name of the MLP's gate function
    tied: bool, whether the output projection is the embedding table

    Source: Gemma (arXiv:2403.08295), Gemma 2 (arXiv:2408.00118), Gemma 3 (arXiv:2503.19786), section 2 of each.
    """

    family: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab_size: int
    context_length: int
    embedding_scale: float
    norm_eps: float
    post_norms: bool
    qk_norm: bool
    attention_scale: float
    attention_softcap: float | None
    final_softcap: float | None
    sliding_window: int | None
    layer_kinds: tuple[LayerKind, ...]
    rope_thetas: tuple[float, ...]
    rope_factors: tuple[float, ...]
    activation: str
    tied: bool

    @classmethod
    def from_config(cls, config: PreTrainedConfig) -> "ModelSpec":
        """Read a transformers config. Raises NotAGemma for any other kind of model."""
        kind = config.model_type
        if kind not in FAMILIES:
            raise NotAGemma(
                f"This checkpoint is of the kind {kind!r}. Gemma Viz explains the text models of Gemma 1, 2 and 3 "
                f"(kinds {', '.join(FAMILIES)}). Choose one of those."
            )
        layer_types = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
        query_scalar = getattr(config, "query_pre_attn_scalar", config.head_dim)
        has_window = "sliding_attention" in layer_types
        return cls(
            family=FAMILIES[kind],
            n_layers=config.num_hidden_layers,
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_key_value_heads,
            d_model=config.hidden_size,
            d_head=config.head_dim,
            d_mlp=config.intermediate_size,
            vocab_size=config.vocab_size,
            context_length=config.max_position_embeddings,
            embedding_scale=config.hidden_size**0.5,
            norm_eps=config.rms_norm_eps,
            post_norms=kind != "gemma",
            qk_norm=kind == "gemma3_text",
            attention_scale=query_scalar**-0.5,
            # Gemma 3's config has the setting too, but its attention does not read it.
            attention_softcap=config.attn_logit_softcapping if kind == "gemma2" else None,
            final_softcap=getattr(config, "final_logit_softcapping", None),
            sliding_window=config.sliding_window if has_window else None,
            layer_kinds=tuple("sliding" if t == "sliding_attention" else "full" for t in layer_types),
            rope_thetas=tuple(float(_rope_parameters(config, t)["rope_theta"]) for t in layer_types),
            rope_factors=tuple(float(_rope_parameters(config, t).get("factor", 1.0)) for t in layer_types),
            activation=getattr(config, "hidden_activation", None) or config.hidden_act,
            tied=config.tie_word_embeddings,
        )

    def window(self, layer: int) -> int | None:
        """How many tokens a query of this layer sees, itself included; None where it sees all before it."""
        return self.sliding_window if self.layer_kinds[layer] == "sliding" else None

    @property
    def group_size(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_kv_heads


def _rope_parameters(config: PreTrainedConfig, layer_type: str) -> dict[str, Any]:
    """Gemma 3 has one set of rope parameters per layer type, Gemma 1 and 2 one set in all."""
    parameters: dict[str, Any] = config.rope_parameters
    return parameters.get(layer_type, parameters)
