"""Edits: the steps of the model that one run can leave out or change, as one frozen value."""

from dataclasses import dataclass, replace
from typing import Literal

Activation = Literal["gelu", "gelu_exact", "relu", "identity"]


@dataclass(frozen=True)
class Edits:
    """Which steps a run takes, and how; the defaults are the model as it was trained.

    embedding_scale: multiply the embedding rows with sqrt(d_model)
    norms: RMSNorm before (Gemma 2, 3: and after) every attention and MLP; off, the stream goes in as it is
    attention: every attention sublayer; off, it adds nothing to the stream
    causal_mask: hide later tokens, and tokens outside a sliding window; off, every token sees every token
    rope: rotate queries and keys by their position; off, attention cannot tell where a token stands
    mlp: every MLP sublayer; off, it adds nothing to the stream
    final_norm: RMSNorm before the output projection
    attention_norms, mlp_norms: as `norms`, of one of the two kinds of sublayer only
    rope_shift: positions that every token is moved on by before queries and keys are rotated
    rope_stretch: what every position is multiplied with before that (and before the shift)
    activation: what the gate goes through: "gelu" is the model's own tanh form, "gelu_exact" the one with the error
        function, "relu" max(0, gate), "identity" the gate as it is
    gate: multiply up with the activated gate; off, up goes into the down-projection as it is
    layers: the layers in which all this is changed, frozenset of int; None for all. The rescaling of the embedding
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
    rope_shift: int = 0
    rope_stretch: float = 1.0
    activation: Activation = "gelu"
    gate: bool = True
    layers: frozenset[int] | None = None

    def takes(self, step: str, layer: int | None = None) -> bool:
        """Whether the run takes a step, named as the fields are, in a layer (None: in the step's only place)."""
        return getattr(self, step) or not self.act_in(layer)

    def act_in(self, layer: int | None) -> bool:
        """Whether a layer (None: what belongs to no layer) is among those that are changed."""
        return layer is None or self.layers is None or layer in self.layers

    def only_in(self, *layers: int) -> "Edits":
        """The same steps left out, in these layers only."""
        return replace(self, layers=frozenset(layers))


UNCHANGED = Edits()
