"""Edits: the steps of the model that one run can leave out or change, as one frozen value."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields, replace
from numbers import Real
from operator import index
from typing import Any, Literal, get_args

import numpy as np

from gemma_viz.errors import EditsError
from gemma_viz.spec import ModelSpec

Activation = Literal["gelu", "gelu_exact", "relu", "identity"]
Pattern = Literal["model", "uniform", "own"]
Removal = Literal["zero", "mean"]

WEIGHT_BITS = (8, 4, 2)
PER_MODEL = ("embedding_scale", "embedding_factor", "final_norm", "final_softcap", "unembedding_seed")
NAMED_PLACES = ("without_heads", "without_neurons")
LARGEST = 2**31 - 1
# What float32 and 64-bit positions can do something with.
RANGES: dict[str, tuple[float, float]] = {
    "embedding_factor": (-1e6, 1e6),
    "window": (1, LARGEST),
    "attention_temperature": (1e-3, 1e3),
    "rope_theta": (1.001, 1e12),
    "rope_stretch": (-1e6, 1e6),
    "rope_shift": (-LARGEST, LARGEST),
    "rope_shuffle": (0, LARGEST),
    "unembedding_seed": (0, LARGEST),
}


@dataclass(frozen=True)
class Edits:
    """Which steps a run takes, and how; the defaults are the model as it was trained.

    Embedding:
    embedding_scale: multiply the embedding rows with sqrt(d_model)
    embedding_factor: what they are multiplied with instead; None for sqrt(d_model)

    Norms; where one is left out, what it is given goes on as it is:
    norms: RMSNorm before (Gemma 2, 3: and after) every attention and MLP
    attention_norms, mlp_norms: the same, of one of the two kinds of sublayer only
    qk_norms: RMSNorm of queries and keys, before RoPE (Gemma 3)
    final_norm: RMSNorm before the output projection

    Attention:
    attention: every attention sublayer; off, it adds nothing to the stream
    attention_residual: add what attention gives to the stream; off, it takes the stream's place
    causal_mask: hide later tokens, and tokens outside a sliding window; off, every token sees every token
    window: tokens that a query sees, its own included, in place of the model's sliding window; in a model without one,
        in every layer. None for the model's own
    attention_temperature: what the scores are divided by before the softmax, from 0.001 to 1,000; 1 changes nothing
    attention_softcap: the soft-cap of the scores (Gemma 2)
    pattern: "model" what the softmax gives, "uniform" the same weight on every token that the query sees, "own" all
        weight on the query's own token
    queries_from: pairs (head, source); a head uses the queries of head `source`, after RoPE, and keeps the rest

    RoPE:
    rope: rotate queries and keys by their position; off, attention cannot tell where a token stands
    rope_theta: base of the wavelengths, above 1; None for the model's own
    rope_stretch: what every position is multiplied with before the rotation
    rope_shift: positions that every token is moved on by after that
    rope_shuffle: seed of a random order in which the positions 0, 1, … are given to the tokens, before the two above;
        None for their own order

    MLP:
    mlp: every MLP sublayer; off, it adds nothing to the stream
    mlp_residual: add what the MLP gives to the stream; off, it takes the stream's place
    activation: what the gate goes through: "gelu" is the model's own tanh form, "gelu_exact" the one with the error
        function, "relu" max(0, gate), "identity" the gate as it is
    gate: multiply up with the activated gate; off, up goes into the down-projection as it is

    Parts:
    without_heads: pairs (layer, head) of heads that are left out: their z is removed
    without_neurons: pairs (layer, neuron) of neurons of the MLP that are left out: their act is removed
    removal: what stands in the place of heads, neurons, attention and MLPs that are left out: "zero", or "mean", their
        own mean over the tokens of this text

    Weights and output:
    weight_bits: 8, 4 or 2: round every matrix of the layers to so many bits, evenly from minus to plus the largest
        absolute weight of each output; None for the weights as they are
    unembedding_seed: seed of a random matrix in place of the output projection, normally distributed and with the
        embedding table's root mean square; None for the model's own
    final_softcap: the soft-cap of the logits (Gemma 2)

    layers: the layers in which all this is changed, frozenset of int; None for all. What concerns the embedding and
        the output belongs to no layer, and heads and neurons name their own

    `Edits()` changes nothing, bit for bit. A value is hashable, and names a capture together with model and text.
    Sets and lists are taken for frozensets and tuples, numpy's numbers for Python's.
    Raises EditsError, a ValueError, for values of another type, and for those that no model could run with.
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
    qk_norms: bool = True
    attention_residual: bool = True
    mlp_residual: bool = True
    attention_softcap: bool = True
    final_softcap: bool = True
    gate: bool = True
    embedding_factor: float | None = None
    window: int | None = None
    attention_temperature: float = 1.0
    pattern: Pattern = "model"
    queries_from: tuple[tuple[int, int], ...] = ()
    rope_theta: float | None = None
    rope_stretch: float = 1.0
    rope_shift: int = 0
    rope_shuffle: int | None = None
    activation: Activation = "gelu"
    without_heads: frozenset[tuple[int, int]] = frozenset()
    without_neurons: frozenset[tuple[int, int]] = frozenset()
    removal: Removal = "zero"
    weight_bits: int | None = None
    unembedding_seed: int | None = None
    layers: frozenset[int] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _normal(field.name, field.type, getattr(self, field.name)))
        for name, (low, high) in RANGES.items():
            number = getattr(self, name)
            _refuse(name, number, f"a number from {low:,} to {high:,}", number is None or low <= number <= high)
        _refuse("weight_bits", self.weight_bits, "8, 4 or 2", self.weight_bits in (None, *WEIGHT_BITS))
        for name, choices in (("pattern", Pattern), ("activation", Activation), ("removal", Removal)):
            options = get_args(choices)
            _refuse(name, getattr(self, name), f"one of {', '.join(options)}", getattr(self, name) in options)
        heads = [head for head, _ in self.queries_from]
        _refuse("queries_from", self.queries_from, "one source for each head", len(set(heads)) == len(heads))

    def takes(self, step: str, layer: int | None = None) -> bool:
        """Whether the run takes a step, named as the fields are, in a layer (None: in the step's only place)."""
        return getattr(self, step) or not self.act_in(layer)

    def act_in(self, layer: int | None) -> bool:
        """Whether a layer (None: what belongs to no layer) is among those that are changed."""
        return layer is None or self.layers is None or layer in self.layers

    def only_in(self, *layers: int) -> "Edits":
        """The same steps left out, in these layers only."""
        return replace(self, layers=frozenset(layers))

    def in_layer(self, layer: int) -> "Edits":
        """What a layer sees of these edits: nothing where it is not among those that are changed.

        Heads and neurons that are left out are seen in any case.
        """
        if self.act_in(layer):
            return self
        return Edits(**{name: getattr(self, name) for name in (*PER_MODEL, *NAMED_PLACES, "removal")})

    def also(self, other: "Edits") -> "Edits":
        """These edits and others at once; where both change one thing, the others count.

        Raises EditsError where the two act in different layers, which one value cannot say.
        """
        mine, others = self.changes, other.changes
        layers = {self.layers if self._belong_to_layers else None, other.layers if other._belong_to_layers else None}
        if self._belong_to_layers and other._belong_to_layers and len(layers) > 1:
            raise EditsError(
                "These two changes act in different layers, and one run can only change the same layers everywhere. "
                "Undo one of them, or give both the same layers."
            )
        merged = mine | others
        for name in (*NAMED_PLACES,):
            merged[name] = getattr(self, name) | getattr(other, name)
        merged["layers"] = next((some for some in layers if some is not None), None)
        return Edits(**merged)

    @property
    def changes(self) -> dict[str, Any]:
        """The fields that differ from the model as it was trained, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @property
    def look_ahead(self) -> bool:
        """Whether what a token's stream is can depend on the tokens after it."""
        removed = not self.attention or not self.mlp or self.without_heads or self.without_neurons
        return not self.causal_mask or self.rope_shuffle is not None or (self.removal == "mean" and bool(removed))

    @property
    def turn_otherwise(self) -> bool:
        """Whether queries and keys are turned other than as the model was trained."""
        return any(name.startswith("rope") for name in self.changes)

    @property
    def _belong_to_layers(self) -> bool:
        return bool(self.changes.keys() - {*PER_MODEL, *NAMED_PLACES, "removal", "layers"})

    def check(self, spec: ModelSpec) -> None:
        """Raises EditsError for a layer, head or neuron that a model does not have."""
        _refuse_outside("layer", self.layers or (), spec.n_layers)
        heads = [head for _, head in self.without_heads] + [head for pair in self.queries_from for head in pair]
        _refuse_outside("head", heads, spec.n_heads)
        _refuse_outside("neuron", [neuron for _, neuron in self.without_neurons], spec.d_mlp)
        _refuse_outside("layer", [layer for layer, _ in self.without_heads | self.without_neurons], spec.n_layers)

    def to_text(self) -> str:
        """The changes as a short text for a link: rope-off~layers-3_4. The empty text for `Edits()`."""
        return "~".join(f"{name}-{_value_to_text(value)}" for name, value in self.changes.items())

    @classmethod
    def from_text(cls, text: str) -> "Edits":
        """Read what `to_text` wrote. Raises EditsError for a text that is no such thing."""
        changes: dict[str, Any] = {}
        for part in filter(None, text.split("~")):
            name, _, value = part.partition("-")
            if name not in _READERS:
                raise EditsError(
                    f"There is no change {name[:40]!r}. Undo it, or choose changes on the Experiments page."
                )
            try:
                changes[name] = _READERS[name](value)
            except ValueError:
                raise EditsError(
                    f"The change {name!r} cannot be {value[:40]!r}. Undo it, or choose changes on the Experiments page."
                ) from None
        return cls(**changes)


def _normal(name: str, kind: Any, value: Any) -> Any:
    """A field's value in the one form that is hashed, compared and written."""
    is_left_alone = value is None and type(None) in get_args(kind)
    if is_left_alone or kind not in _NORMAL:
        return value
    needed, normal = _NORMAL[kind]
    try:
        return normal(value)
    except (TypeError, ValueError):
        raise EditsError(_refusal(name, value, needed)) from None


def _refuse(name: str, value: object, needed: str, fits: bool) -> None:
    if not fits:
        raise EditsError(_refusal(name, value, needed))


def _refusal(name: str, value: object, needed: str) -> str:
    return f"The change {name} is {str(value)[:40]}, and must be {needed}."


def _refuse_outside(what: str, asked: Collection[int], n: int) -> None:
    outside = [index for index in asked if not 0 <= index < n]
    if outside:
        raise EditsError(f"This model has no {what} {outside[0]}: its {what}s are 0 to {n - 1}. Choose one of those.")


def _bool(value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError
    return bool(value)


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError
    return index(value)


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError
    return float(value)


def _ints(pair: Any) -> tuple[int, int]:
    first, second = map(_int, pair)
    return first, second


_NORMAL: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    bool: ("True or False", _bool),
    int: ("a whole number", _int),
    int | None: ("a whole number", _int),
    float: ("a number", _float),
    float | None: ("a number", _float),
    tuple[tuple[int, int], ...]: ("pairs of whole numbers", lambda pairs: tuple(map(_ints, pairs))),
    frozenset[tuple[int, int]]: ("a set of pairs of whole numbers", lambda pairs: frozenset(map(_ints, pairs))),
    frozenset[int] | None: ("a set of whole numbers", lambda layers: frozenset(map(_int, layers))),
}
"""How a field of each type is brought into its one form, and what may be given for it."""


def _value_to_text(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, frozenset | tuple):
        ordered = sorted(value) if isinstance(value, frozenset) else value
        return "_".join("x".join(map(str, item)) if isinstance(item, tuple) else str(item) for item in ordered)
    return str(value)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError(text)
    return text == "on"


def _pair(text: str) -> tuple[int, int]:
    first, second = map(int, text.split("x"))
    return first, second


def _parts(text: str) -> list[str]:
    return [part for part in text.split("_") if part]


_READERS: dict[str, Any] = {
    "embedding_factor": float,
    "window": int,
    "attention_temperature": float,
    "pattern": str,
    "queries_from": lambda text: tuple(map(_pair, _parts(text))),
    "rope_theta": float,
    "rope_stretch": float,
    "rope_shift": int,
    "rope_shuffle": int,
    "activation": str,
    "without_heads": lambda text: frozenset(map(_pair, _parts(text))),
    "without_neurons": lambda text: frozenset(map(_pair, _parts(text))),
    "removal": str,
    "weight_bits": int,
    "unembedding_seed": int,
    "layers": lambda text: frozenset(map(int, _parts(text))),
} | {field.name: _switch for field in fields(Edits) if field.type is bool}

UNCHANGED = Edits()
