"""Controls for everything that `Edits` can change, a group of them at a time; what they say is in the address."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from gemma_viz.edits import RANGES, UNCHANGED, WEIGHT_BITS, Edits
from gemma_viz.numbers import head_label
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.described import ModelCard
from gemma_viz.ui import change, words_edits
from gemma_viz.ui.view import View
from gemma_viz.ui.words import size


@dataclass(frozen=True)
class Group:
    """Some fields of `Edits` that belong together, and what they are about."""

    title: str
    about: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """A field that holds a number, from step to step a whole one where the step is one.

    trained: what a model has there, for a field that is None by default
    """

    label: str
    help: str
    step: int | float
    trained: Callable[[ModelSpec], str] | None = None


@dataclass(frozen=True)
class Choice:
    """A field that holds one of some values. options: their names"""

    label: str
    help: str
    options: Mapping[Any, str]


GROUPS = {
    "embedding": Group(
        "Embedding",
        "A token's row of the embedding table is what enters the stream, multiplied by a constant.",
        ("embedding_scale", "embedding_factor"),
    ),
    "norms": Group(
        "Norms",
        "RMSNorm divides a vector by its own scale. Where a norm is left out, what it is given goes on as it is.",
        ("norms", "attention_norms", "mlp_norms", "qk_norms", "final_norm"),
    ),
    "attention": Group(
        "Attention",
        "Every token reads from others, with weights that a softmax makes of scores.",
        (
            *("attention", "attention_residual", "causal_mask", "attention_softcap", "window"),
            *("attention_temperature", "pattern", "queries_from"),
        ),
    ),
    "rope": Group(
        "RoPE",
        "Queries and keys are turned by their position, so that scores depend on distances.",
        ("rope", "rope_theta", "rope_stretch", "rope_shift", "rope_shuffle"),
    ),
    "mlp": Group(
        "MLP",
        "Each token by itself: gelu(gate) × up, and the down-projection of it.",
        ("mlp", "mlp_residual", "gate", "activation"),
    ),
    "parts": Group(
        "Heads and neurons",
        "Single heads and neurons, removed wherever you name them, and what stands in their place.",
        ("without_heads", "without_neurons", "removal"),
    ),
    "output": Group(
        "Weights and output",
        "The numbers that were learned, and the way from the stream to the logits.",
        ("weight_bits", "unembedding_seed", "final_softcap"),
    ),
    "layers": Group(
        "In which layers",
        "All of the changes act in the same layers. What concerns the embedding and the output belongs to no layer, "
        "and heads and neurons name their own.",
        ("layers",),
    ),
}

SWITCHES = {
    "embedding_scale": ("Rescale the embedding", "Multiply each row; off, rows enter the stream as they are stored."),
    "norms": ("Norms around attention and MLP", "All of them in a layer, but those of queries and keys."),
    "attention_norms": ("Norms around attention", "Before it, and on Gemma 2 and 3 after it too."),
    "mlp_norms": ("Norms around the MLP", "Before it, and on Gemma 2 and 3 after it too."),
    "qk_norms": ("Norms of queries and keys", "Before RoPE turns them."),
    "final_norm": ("Final norm", "Before the output projection."),
    "attention": ("Attention", "Off, it adds nothing to the stream, or its mean: see Heads and neurons."),
    "attention_residual": ("Residual connection", "Off, what attention gives takes the stream's place."),
    "causal_mask": ("Causal mask", "Off, every token sees every token, later ones and those outside a window too."),
    "attention_softcap": ("Soft-cap of the scores", "c · tanh(score / c), before the softmax."),
    "rope": ("Rotate queries and keys", "Off, no score depends on where a token stands."),
    "mlp": ("MLP", "Off, it adds nothing to the stream, or its mean: see Heads and neurons."),
    "mlp_residual": ("Residual connection", "Off, what the MLP gives takes the stream's place."),
    "gate": ("Gate", "Off, up goes into the down-projection as it is."),
    "final_softcap": ("Soft-cap of the logits", "c · tanh(logit / c)."),
}

NUMBERS = {
    "embedding_factor": Number(
        "Embedding rows times",
        "In place of √d_model.",
        1.0,
        lambda spec: f"√{spec.d_model:,} = {size(spec.embedding_scale)}",
    ),
    "window": Number(
        "Tokens that a query sees",
        "Its own included. In place of the sliding window; in a model without one, in every layer.",
        1,
        lambda spec: f"{spec.sliding_window:,} in sliding layers" if spec.sliding_window else "all before it",
    ),
    "attention_temperature": Number(
        "Attention temperature",
        "Scores are divided by it. Below 1 a head looks more narrowly, above 1 more widely.",
        0.1,
    ),
    "rope_theta": Number(
        "Base of the wavelengths (theta)",
        "The larger, the slower turn the slow hands.",
        1000.0,
        lambda spec: " and ".join(f"{theta:,.0f}" for theta in sorted(set(spec.rope_thetas))),
    ),
    "rope_stretch": Number("Positions times", "Stretches every distance.", 0.1),
    "rope_shift": Number("Positions plus", "Moves every token on; distances stay.", 1),
    "rope_shuffle": Number(
        "Positions in a random order: seed",
        "Hands the positions 0, 1, … to the tokens in a random order.",
        1,
        lambda spec: "in their own order",
    ),
    "unembedding_seed": Number(
        "Random output projection: seed",
        "A random matrix of the same scale in place of the output projection.",
        1,
        lambda spec: "the embedding table" if spec.tied else "the learned one",
    ),
}

CHOICES = {
    "pattern": Choice(
        "Attention weights",
        "What the softmax gives, or something that asks no query and no key.",
        {"model": "as the model makes them", "uniform": "the same on every token seen", "own": "all on its own token"},
    ),
    "activation": Choice(
        "What the gate goes through",
        "Gemma's own is GELU in its tanh form.",
        {
            "gelu": "GELU, tanh form",
            "gelu_exact": "GELU, exact",
            "relu": "ReLU",
            "identity": "nothing (the gate as it is)",
        },
    ),
    "removal": Choice(
        "In the place of what is left out",
        "Of heads, neurons, attention and MLPs that are left out.",
        {"zero": "zeros", "mean": "its own mean over this text"},
    ),
    "weight_bits": Choice(
        "Round the weights of the layers to",
        "Evenly between plus and minus the largest weight of each output.",
        {None: "nothing: as they are", **{bits: f"{bits} bits" for bits in WEIGHT_BITS}},
    ),
}

_LACKING: dict[str, tuple[Callable[[ModelSpec], bool], str]] = {
    "qk_norms": (lambda spec: spec.qk_norm, "norms of queries and keys (Gemma 3 has them)"),
    "attention_softcap": (lambda spec: spec.attention_softcap is not None, "soft-cap of the scores (Gemma 2 has one)"),
    "final_softcap": (lambda spec: spec.final_softcap is not None, "soft-cap of the logits (Gemma 2 has one)"),
    "queries_from": (lambda spec: spec.n_heads > 1, "second head that could lend its queries"),
}


def lacking(spec: ModelSpec, field: str) -> str | None:
    """What a model would need for a change, and does not have; None where nothing is missing."""
    has, what = _LACKING.get(field, (lambda spec: True, ""))
    return None if has(spec) else what


def edit_controls(view: View, model: ModelCard, edits: Edits) -> None:
    """Draw the controls. edits: what the address holds."""
    titles = {}
    for name, group in GROUPS.items():
        n_changes = sum(field in edits.changes for field in group.fields)
        titles[name] = f"{group.title} ({n_changes})" if n_changes else group.title
    group = GROUPS[view.section("group", titles, label="What to change")]
    st.caption(group.about)
    controls = _Controls(view, model, edits)
    offered = [field for field in group.fields if not lacking(model.spec, field)]
    small = [field for field in offered if field in SWITCHES or field in NUMBERS or field in CHOICES]
    for start in range(0, len(small), 2):
        for column, field in zip(st.columns(2, gap="large"), small[start : start + 2], strict=False):
            with column:
                controls.small(field)
    for field in offered:
        if field not in small:
            getattr(controls, field)()
    missing = [what for field in group.fields if (what := lacking(model.spec, field))]
    if missing:
        st.caption(f"{model.spec.family} has no {', and no '.join(missing)}.")


def changes_and_undo(view: View, model: ModelCard, edits: Edits) -> None:
    """What is changed, each change with the way back, and all of them at once."""
    with st.container(horizontal=True, key="changes"):
        for field, value in edits.changes.items():
            trained = getattr(UNCHANGED, field)
            st.button(
                words_edits.described(replace(UNCHANGED, **{field: value})),
                key=f"undo:{field}",
                icon=":material/close:",
                help="Undo this one",
                on_click=_set,
                args=(view, model, field, lambda _, trained=trained: trained),
            )
        st.button(
            "Undo all", type="tertiary", icon=":material/undo:", on_click=change.store_edits, args=(view, UNCHANGED)
        )


class _Controls:
    """Controls that are bound to single fields of the edits in the address."""

    def __init__(self, view: View, model: ModelCard, edits: Edits) -> None:
        self.view, self.model, self.edits = view, model, edits

    def small(self, field: str) -> None:
        """A switch, a number or a choice."""
        value = getattr(self.edits, field)
        if field in SWITCHES:
            label, help = SWITCHES[field]
            self._bound(field, st.toggle, label=label, value=value, help=help)
        elif field in CHOICES:
            choice = CHOICES[field]
            options = list(choice.options)
            self._bound(
                field,
                st.selectbox,
                label=choice.label,
                options=options,
                index=options.index(value),
                format_func=choice.options.__getitem__,
                help=choice.help,
            )
        else:
            self._number(field, NUMBERS[field], value)

    def _number(self, field: str, number: Number, value: float | None) -> None:
        kind, (low, high) = type(number.step), RANGES[field]
        trained = f"as trained: {number.trained(self.model.spec)}" if number.trained else None
        self._bound(
            field,
            st.number_input,
            label=number.label,
            value=value,
            min_value=kind(low),
            max_value=kind(high),
            step=number.step,
            format=None if kind is int else "%g",
            placeholder=trained,
            help=number.help,
        )

    def layers(self) -> None:
        """The layers in which all changes act."""
        options = list(range(self.model.spec.n_layers))
        self._several("layers", "Only in these layers (none chosen: in all)", options, sorted(self.edits.layers or ()))

    def without_heads(self) -> None:
        """Any heads of any layers."""
        spec = self.model.spec
        options = [(layer, head) for layer in range(spec.n_layers) for head in range(spec.n_heads)]
        self._several("without_heads", "Heads left out", options, sorted(self.edits.without_heads), _head)

    def without_neurons(self) -> None:
        """Neurons, too many for one list: one is chosen and added."""
        spec = self.model.spec
        left, middle, right = st.columns(3, gap="large", vertical_alignment="bottom")
        with left:
            layer = self.view.integer("layer", "Layer", 0, spec.n_layers - 1, default=0)
        with middle:
            neuron = self.view.integer("neuron", "Neuron", 0, spec.d_mlp - 1, default=0)
        with right:
            self._button(f"Leave out neuron {layer}.{neuron}", "without_neurons", lambda some: some | {(layer, neuron)})
        if left_out := sorted(self.edits.without_neurons):
            self._several("without_neurons", "Neurons left out (layer.neuron)", left_out, left_out, _neuron)

    def queries_from(self) -> None:
        """Heads that ask with another head's queries."""
        last = self.model.spec.n_heads - 1
        left, middle, right = st.columns(3, gap="large", vertical_alignment="bottom")
        with left:
            head = self.view.integer("head", "Head", 0, last, default=0)
        with middle:
            source = self.view.integer("source", "Queries of head", 0, last, default=0)
        with right:
            self._button(
                f"Let head {head} use the queries of head {source}",
                "queries_from",
                lambda pairs: tuple((a, b) for a, b in sorted({**dict(pairs), head: source}.items()) if a != b),
            )
            self._button(
                f"Let all heads use those of head {source}",
                "queries_from",
                lambda _: tuple((other, source) for other in range(last + 1) if other != source),
            )

    def _several(
        self, field: str, label: str, options: list[Any], chosen: list[Any], name: Callable[[Any], str] = str
    ) -> None:
        default = getattr(UNCHANGED, field)
        self._bound(
            field,
            st.multiselect,
            domain=str(options),
            to_value=lambda entered: frozenset(entered) if entered else default,
            label=label,
            options=options,
            default=chosen,
            format_func=name,
            placeholder="Choose",
        )

    def _button(self, label: str, field: str, new: Callable[[Any], Any]) -> None:
        st.button(label, width="stretch", on_click=_set, args=(self.view, self.model, field, new))

    def _bound(
        self,
        field: str,
        widget: Callable[..., Any],
        domain: str = "",
        to_value: Callable[[Any], Any] = lambda entered: entered,
        **options: Any,
    ) -> None:
        def text_of(entered: Any) -> str | None:
            return change.with_field(self.view, self.model, field, lambda _: to_value(entered))

        self.view.control("edits", f"{field} {domain}", widget, text_of, **options)


def _set(view: View, model: ModelCard, field: str, new: Callable[[Any], Any]) -> None:
    view.set(edits=change.with_field(view, model, field, new))


def _head(place: tuple[int, int]) -> str:
    return head_label(*place)


def _neuron(place: tuple[int, int]) -> str:
    return ".".join(map(str, place))
