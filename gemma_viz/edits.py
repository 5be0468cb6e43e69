"""Edits: the steps of the model that one run can leave out, as one frozen value."""

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Edits:
    """Which steps a run takes; True is the model as it was trained.

    embedding_scale: multiply the embedding rows with sqrt(d_model)
    norms: RMSNorm before (Gemma 2, 3: and after) every attention and MLP; off, the stream goes in as it is
    attention: every attention sublayer; off, it adds nothing to the stream
    causal_mask: hide later tokens, and tokens outside a sliding window; off, every token sees every token
    rope: rotate queries and keys by their position; off, attention cannot tell where a token stands
    mlp: every MLP sublayer; off, it adds nothing to the stream
    final_norm: RMSNorm before the output projection
    attention_norms, mlp_norms: as `norms`, of one of the two kinds of sublayer only
    layers: the layers in which the steps are left out, frozenset of int; None for all. The rescaling of the embedding
        and the final norm belong to no layer

    `Edits()` changes nothing, bit for bit. A value is hashable, and names a capture together with model and text.
    """

    embedding_scale: bool = True
    norms: bool = True
    attention: bool = True
    causal_mask: bool = True
    rope: bool = True
    mlp: bool = True
    final_norm: bool = True
    attention_norms: bool = True
    mlp_norms: bool = True
    layers: frozenset[int] | None = None

    def takes(self, step: str, layer: int | None = None) -> bool:
        """Whether the run takes a step, named as the fields are, in a layer (None: in the step's only place)."""
        spared = layer is not None and self.layers is not None and layer not in self.layers
        return getattr(self, step) or spared

    def only_in(self, *layers: int) -> "Edits":
        """The same steps left out, in these layers only."""
        return replace(self, layers=frozenset(layers))

    @property
    def off(self) -> tuple[str, ...]:
        """Names of the steps left out, in the order of the fields."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is False)


UNCHANGED = Edits()
