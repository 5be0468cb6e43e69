"""MLP: what each token does by itself, between two attentions."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.errors import SeveralTokens
from gemma_viz.figures import mlp as draw
from gemma_viz.figures import mlp_alone as draw_alone
from gemma_viz.figures import neuron as draw_neuron
from gemma_viz.figures import toy_mlp as draw_toy
from gemma_viz.figures.extremes import extremes as draw_extremes
from gemma_viz.stages.embedding import token_of_word
from gemma_viz.stages.mlp import MOST, Neurons, check_mlp, neurons
from gemma_viz.stages.mlp_alone import alone, between
from gemma_viz.stages.neuron import (
    activations,
    reads,
    shipped_pieces,
    shipped_texts,
    strongest_in_piece,
    strongest_in_pieces,
    strongest_in_prompt,
    writes,
)
from gemma_viz.stages.toy_mlp import ACROSS, KINDS, N_NEURONS, RANGES, ToyNeuron, along, drawn, n_regions, plane
from gemma_viz.stages.toy_mlp import activations as gate_functions
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words, words_mlp
from gemma_viz.ui.page import Page, end_page, start_page
from gemma_viz.ui.words_glossary import term

TEXTS = {"prompt": "your prompt", "shipped": "the shipped text"}
REPLACEMENT = "red"
HIGHEST_SEED = 999

LEFT_OUT = {
    "mlp": (Edits(mlp=False), "the MLP"),
    "relu": (Edits(activation="relu"), "GELU (ReLU in its place)"),
    "gelu_exact": (Edits(activation="gelu_exact"), "the tanh form of GELU (the exact GELU in its place)"),
    "identity": (Edits(activation="identity"), "GELU (the gate as it is in its place)"),
    "gate": (Edits(gate=False), "the gate (up goes on alone)"),
}

TOY_NUMBERS = {
    "gate_angle": ("Gate: opens towards", "%d°"),
    "gate_offset": ("Gate: offset of the line", "%.1f"),
    "up_angle": ("Up: grows towards", "%d°"),
    "up_offset": ("Up: offset of the line", "%.1f"),
    "weight": ("Weight in the output, w", "%.1f"),
}


def this_token(page: Page, layer: int, values: Neurons) -> None:
    """The real neurons, on the selected token."""
    spec, token = page.run.model.spec, words.code(page.label)
    st.header("What happens")
    st.markdown(
        f"In layer {layer} {token} meets {spec.d_mlp:,} neurons. {words_mlp.what_a_neuron_does(spec.d_model)} "
        f"{words.percent(values.open_share)} of the gates are above 0. The update's RMS is "
        f"{words.size(values.update_rms)}, the stream's {words.size(values.stream_rms)}."
    )
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.gelu_curve(values), key="gelu")
    with right:
        panels.chart(draw.gate_and_up(values, page.label), key="gate_and_up")


def output(page: Page, layer: int, values: Neurons) -> None:
    """What comes through the gates for the selected token, and which neurons make the update."""
    spec, strongest = page.run.model.spec, int(values.most_carrying[0])
    st.header("What comes through")
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.distributions(values, page.label), key="distributions")
    with right:
        panels.chart(draw.most_active(values, page.label), key="most_active")
    st.header("What the output is made of")
    st.markdown(
        "Every neuron has a column of the down-projection: the vector that it adds, times its product. |product| × "
        f"the column's length is how long a vector it adds. **{values.n_for_most:,} of the {spec.d_mlp:,} neurons** "
        f"carry {MOST:.0%} of the sum of all these lengths, and neuron {strongest} alone "
        f"{words.percent(float(values.cumulative[0]))}."
    )
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw.cumulative(values, page.label), key="cumulative")
    with right:
        panels.chart(draw.most_carrying(values, page.label), key="most_carrying")


def one_neuron(page: Page, layer: int, values: Neurons) -> None:
    """A neuron that the visitor chooses: where it fires, what it reads and writes."""
    spec, model = page.run.model.spec, page.run.model
    strongest = int(values.most_carrying[0])
    neuron = page.view.integer("neuron", "Neuron", 0, spec.d_mlp - 1, default=strongest)
    st.caption(f"Without a choice: the neuron that carries most for {words.code(page.label)} here, {strongest}.")
    act = live.values(activations, page.run, layer, neuron)
    st.markdown(words_mlp.strongest_tokens(act, page.labels, neuron))
    panels.chart(draw_neuron.over_prompt(act, page.labels, neuron, page.position), key="over_prompt")

    st.header("Where it is strongest")
    if page.view.choice("among", "In", list(TEXTS), format_func=TEXTS.__getitem__) == "prompt":
        firings = live.values(strongest_in_prompt, page.run, act)
    else:
        pieces = live.values(shipped_pieces, model)
        found = live.values_of_each(
            strongest_in_piece, [(model, piece, page.run.edits) for piece in pieces], "Running the shipped text: piece"
        )
        firings = strongest_in_pieces(found, live.values(shipped_texts, model), layer, neuron)
        st.caption(
            f"Stories, news, code, numbers, German and other things in {len(pieces)} pieces, "
            f"{sum(map(len, pieces)):,} tokens. The first token of each piece is left out."
        )
    st.dataframe(
        pd.DataFrame(
            {
                "product": [firing.activation for firing in firings],
                "token": [visible(firing.token) for firing in firings],
                "in its context": [words_mlp.marked(firing.before, firing.token, firing.after) for firing in firings],
            }
        ),
        hide_index=True,
        column_config={
            "product": st.column_config.NumberColumn(format="%.3f"),
            "in its context": st.column_config.TextColumn(width="large"),
        },
        key="firings",
    )

    st.header("What it reads and what it writes")
    st.caption("Do not expect a meaning that has a name: few neurons have one.")
    read = live.values(reads, model, layer, neuron)
    written = live.values(writes, page.run, layer, neuron, page.position)
    st.markdown(
        "**Reads:** imagine a stream that holds one token's rescaled embedding and nothing else. After the norm before "
        "the MLP, with its learned factors, this is the gate and the up that the neuron would get. Shown are the "
        f"tokens with the largest and the smallest values, of all {model.n_text:,} that stand for text.\n\n"
        "**Writes:** its column of the down-projection, with the scales of the norms behind it kept as they are for "
        f"{words.code(page.label)}, goes straight to the output projection. So much each logit changes for every 1 of "
        "product, compared with the average logit. This is the direct effect only: later layers read the column too. "
        f"For {words.code(page.label)} the product is **{words.size(written.activation)}**"
        + (", so what is raised here is lowered there." if written.activation < 0 else ".")
    )
    columns = st.columns(3, gap="large")
    shown = (
        ("Gate: reads", read.gate, "gate"),
        ("Up: reads", read.up, "up"),
        ("Writes", written.logits, "logit for 1 of product"),
    )
    for column, (title, extremes, quantity) in zip(columns, shown, strict=True):
        highest, lowest = ([visible(text) for text in texts] for texts in (extremes.highest, extremes.lowest))
        with column:
            panels.chart(draw_extremes(extremes, highest, lowest, title, quantity), key=title)


def by_itself(page: Page, layer: int) -> None:
    """The MLP on other inputs: it does not mix tokens, and it bends smoothly."""
    if len(page.run) == 1:
        st.info("A prompt of one token has no other token to change. Type a longer prompt.")
        return
    last, token = len(page.run) - 1, words.code(page.label)
    left, right = st.columns(2, gap="large")
    with left:
        other = page.view.integer("beside", "Another token", 0, last, default=_another(page.position, last))
    if other == page.position:
        st.info(f"Token {other} is the selected one. Choose another.")
        return
    other_label = page.run.tokens[other].label
    with right:
        word = page.view.text("swap", f"Replace token {other} by this word", REPLACEMENT).strip()
    st.header("Same input, same output")
    try:
        new_id = live.values(token_of_word, page.run.model, word)
    except SeveralTokens as several:
        panels.several_tokens(several)
    else:
        st.markdown(
            f"The prompt runs again with {words.code(visible(' ' + word))} in place of {words.code(other_label)}. Then "
            f"the MLP of layer {layer} is given what it is given there, except that {token} has the input that it had "
            "in your prompt."
        )
        changed = live.with_token(page.run, other, new_id)
        values = live.values(alone, page.run, changed, layer, page.position)
        panels.chart(draw_alone.differences(values, page.labels, page.position), key="differences")
        st.markdown(f"{words_mlp.by_itself(values, page.label)} {words_mlp.through_attention(values, page.label)}")

    st.header("From one token to another")
    line = live.values(between, page.run, layer, page.position, other)
    st.markdown(
        f"The MLP of layer {layer} along the straight line from the input of {token} (t = 0) to that of "
        f"{words.code(other_label)} (t = 1), and half as far again on both sides. Gate and up are straight lines then; "
        "where a gate is wide open what comes out is a parabola, where it is shut nearly 0. "
        + words_mlp.on_the_way(line, page.run.model.spec.d_mlp)
    )
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw_alone.one_neuron(line, (page.label, other_label)), key="one_neuron")
    with right:
        panels.chart(draw_alone.components(line, (page.label, other_label)), key="components")


def _another(position: int, last: int) -> int:
    """For all tokens the same one, whose change all later ones read: the one after the first; for itself another."""
    if position != 1:
        return 1
    return 2 if last > 1 else 0


def toy(page: Page) -> None:
    """An MLP of two inputs and a handful of neurons, which the visitor can change."""
    st.header("An MLP small enough to see whole")
    st.markdown(
        f"Two numbers in, {N_NEURONS} neurons, one number out. A gate is 0 on a straight line and grows to one side of "
        "it; up likewise. These have offsets, which Gemma's do not: with hundreds of inputs a plane through them need "
        "not pass through the point where all are 0. No model runs here."
    )
    kind = page.view.step("toy_kind", "From linear to what Gemma has", KINDS, default="ReLU")
    seed = page.view.whole_number("toy_seed", 0, HIGHEST_SEED, default=0)
    ranges = [(bounds.low, bounds.high) for bounds in RANGES.values()] * N_NEURONS
    defaults = [number for neuron in drawn(seed) for number in neuron]
    numbers = page.view.numbers("toy", ranges, defaults)
    width = len(RANGES)
    toy_neurons = tuple(ToyNeuron(*numbers[i * width : (i + 1) * width]) for i in range(N_NEURONS))
    (cut,) = page.view.numbers("toy_cut", [(ACROSS.low, ACROSS.high)], [0.0])

    over_plane, count = live.values(plane, kind, toy_neurons), n_regions(toy_neurons)
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw_toy.surface(over_plane, toy_neurons, kind, cut), key="surface")
    with right:
        panels.chart(draw_toy.regions(over_plane, toy_neurons, count), key="regions")
    st.markdown(words_mlp.toy_regions(kind, N_NEURONS, count))
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw_toy.along(live.values(along, toy_neurons, cut), cut, kind), key="along")
        page.view.number("toy_cut", "Cut at x2", 0, [cut], ACROSS, format="%.1f")
    with right:
        names = [str(i + 1) for i in range(N_NEURONS)]
        chosen = page.view.step("toy_neuron", "Change neuron", names, default="1")
        first = names.index(chosen) * width
        for i, (name, (label, shown_as)) in enumerate(TOY_NUMBERS.items()):
            page.view.number("toy", label, first + i, numbers, RANGES[name], format=shown_as)
        st.button(
            "Draw others",
            help=f"These were drawn with seed {seed}.",
            on_click=page.view.set,
            kwargs={"toy_seed": str((seed + 1) % (HIGHEST_SEED + 1)), "toy": None},
        )

    st.header("GELU, in two forms")
    functions = live.values(gate_functions)
    st.markdown(
        "GELU multiplies a gate with the share of a normal distribution that lies below it. The exact form needs the "
        f"error function; Gemma uses a shortcut with tanh. They differ by at most "
        f"**{functions.largest_difference:.1e}**, at a gate of ±{functions.largest_at:.2f}."
    )
    left, right = st.columns(2, gap="large")
    with left:
        panels.chart(draw_toy.activations(functions), key="activations")
    with right:
        panels.chart(draw_toy.difference(functions), key="gelu_difference")


page = start_page(
    "MLP",
    "Between two attentions every token works by itself. Its vector is compared with thousands of learned directions; "
    f"those that match open a {term('gate')}, and what passes the gates is added to its stream.",
)
spec = page.run.model.spec
layer = page.choose_layer()
part = page.view.section(
    "mlp",
    {
        "token": "This token",
        "output": "What comes through",
        "neuron": "One neuron",
        "alone": "Each token by itself",
        "toy": "From the toy to the real",
    },
)
if part == "token":
    this_token(page, layer, live.values(neurons, page.run, layer, page.position))
elif part == "output":
    output(page, layer, live.values(neurons, page.run, layer, page.position))
elif part == "neuron":
    one_neuron(page, layer, live.values(neurons, page.run, layer, page.position))
elif part == "alone":
    by_itself(page, layer)
else:
    toy(page)

panels.code(live.values(check_mlp, page.run, layer), page.run)
panels.reason(
    "Attention moves information between tokens but hardly transforms it: once the weights are fixed, it is a "
    f"weighted sum. The {term('MLP')} is where a token's own vector is turned into something new, and where most of a "
    f"layer's parameters are: {3 * spec.d_model * spec.d_mlp:,} of them in each layer. The gate makes it more than a "
    "matrix: it lets one part of the vector decide whether another part counts."
)
which = page.view.choice("mlp_off", "What to leave out", list(LEFT_OUT), format_func=lambda name: LEFT_OUT[name][1])
edits, without = LEFT_OUT[which]
if page.view.toggle("one", f"Only in layer {layer}"):
    edits, without = edits.only_in(layer), f"{without} in layer {layer}"
else:
    without = f"{without} in all layers"
panels.left_out(page.view, page.run, page.position, edits, without)
end_page(page)
