"""MLP, in the walk."""

from gemma_viz.edits import Edits
from gemma_viz.figures import mlp as draw
from gemma_viz.figures import neuron as draw_neuron
from gemma_viz.figures.extremes import extremes as draw_extremes
from gemma_viz.report.blocks import Block, Charts, Heading, Section, Text, left_out, the_code, why
from gemma_viz.report.subject import Subject
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.mlp import MOST, check_mlp, neurons
from gemma_viz.stages.neuron import activations, writes
from gemma_viz.tokens import visible
from gemma_viz.ui import words, words_mlp


def section(subject: Subject) -> Section:
    """What the MLPs of the shown layers do with the token."""
    blocks: list[Block] = [
        Text(
            "Between two attentions every token is worked on by itself. An MLP is a row of neurons. "
            + words_mlp.what_a_neuron_does(subject.spec.d_model)
        ),
        *(block for layer in subject.layers for block in _layer(subject, layer)),
        *the_code(subject, check_mlp(subject.cap, subject.layers[0])),
        *why(
            subject,
            "Attention only mixes what is there: its values are linear in what it reads. What is made of the mixture, "
            f"token by token, is the MLPs' work. {_share_of_weights(subject.spec):.0%} of the numbers in a layer's "
            "matrices are theirs.",
            Edits(mlp=False),
            "the MLP in all layers",
        ),
        Text("Whether the gate's curve matters can be tried, too: ReLU has a kink where GELU is smooth."),
        *left_out(subject, Edits(activation="relu"), "GELU (ReLU in its place)"),
    ]
    return Section("mlp", "MLP", blocks)


def _layer(subject: Subject, layer: int) -> list[Block]:
    spec = subject.spec
    values = neurons(subject.cap, layer, subject.position)
    strongest = int(values.most_carrying[0])
    return [
        Heading(f"Layer {layer}"),
        Text(
            f"{subject.token} meets {spec.d_mlp:,} neurons. {words.percent(values.open_share)} of the gates are "
            f"above 0. The update that comes out has an RMS of {words.size(values.update_rms)}; the stream that it is "
            f"added to, {words.size(values.stream_rms)}."
        ),
        Charts([draw.gelu_curve(values), draw.distributions(values, subject.label)]),
        Text(
            f"**{values.n_for_most:,} of the {spec.d_mlp:,} neurons** carry {MOST:.0%} of the lengths of all vectors "
            f"that are added, neuron {strongest} alone {words.percent(float(values.cumulative[0]))}."
        ),
        Charts([draw.most_carrying(values, subject.label), draw.cumulative(values, subject.label)]),
        *_neuron(subject, layer, strongest),
    ]


def _neuron(subject: Subject, layer: int, neuron: int) -> list[Block]:
    over_prompt = activations(subject.cap, layer, neuron)
    written = writes(subject.cap, layer, neuron, subject.position)
    raised, lowered = ([visible(text) for text in texts] for texts in (written.logits.highest, written.logits.lowest))
    title = f"What neuron {neuron} writes: next tokens that it raises and lowers by itself"
    return [
        Charts(
            [
                draw_neuron.over_prompt(over_prompt, subject.labels, neuron, subject.position),
                draw_extremes(written.logits, raised, lowered, title, "change of the logit, for each 1 of the product"),
            ],
            f"For {subject.token} its product is {written.activation:.3f}"
            + (", below 0: here it lowers what is shown as raised." if written.activation < 0 else "."),
        )
    ]


def _share_of_weights(spec: ModelSpec) -> float:
    """How much of the matrices of a layer is the MLP's."""
    mlp = 3 * spec.d_mlp  # gate, up and down; all of this times d_model
    attention = 2 * spec.d_head * (spec.n_heads + spec.n_kv_heads)  # queries and output, keys and values
    return mlp / (mlp + attention)
