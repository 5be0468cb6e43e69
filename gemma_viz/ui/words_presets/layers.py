"""Why-questions about whole layers and all of their weights."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _which(spec: ModelSpec) -> Preset:
    return Preset(
        "Layers",
        "Is one sublayer more important than the other?",
        "Every layer has an attention and an MLP.",
        "Which of these does the most damage to the prediction?",
        {
            "attention": ("no attention", Edits(attention=False)),
            "mlp": ("no MLP", Edits(mlp=False)),
        },
        {
            "attention": "Here the model needs the other tokens more than what the MLPs make of each.",
            "mlp": "Here the model needs what the MLPs make of each token more than the other tokens.",
            "none": "This prompt hardly needs either: look for one that does.",
        },
        "most",
    )


def _layers(spec: ModelSpec) -> Preset:
    middle, last = spec.n_layers // 2, spec.n_layers - 1
    return Preset(
        "Layers",
        "Does every layer count the same?",
        f"{spec.n_layers} layers of the same build stand one after the other, and each only adds to the stream. So "
        "one can be taken out.",
        "Which of these does the most damage to the prediction?",
        {
            "first": ("no layer 0", Edits(attention=False, mlp=False).only_in(0)),
            "middle": (f"no layer {middle}", Edits(attention=False, mlp=False).only_in(middle)),
            "last": (f"no layer {last}", Edits(attention=False, mlp=False).only_in(last)),
        },
        {
            "first": "The first layer works on bare embeddings, and all the others build on what it makes of them.",
            "middle": "This layer adds something here that the others do not make up for.",
            "last": "What the last layer adds goes straight to the output; nothing after it could make up for it.",
            "none": "Each only adds to the stream, and the others make up for one that is missing.",
        },
        "most",
    )


def _bits(spec: ModelSpec) -> Preset:
    return Preset(
        "Weights",
        "Can weights be rounded?",
        "A matrix of random-looking numbers may not need all their digits. Each output's weights are rounded to "
        "steps between plus and minus the largest.",
        "From how many bits on does the likeliest token change?",
        {
            "8": ("weights of 8 bits", Edits(weight_bits=8)),
            "4": ("weights of 4 bits", Edits(weight_bits=4)),
            "2": ("weights of 2 bits", Edits(weight_bits=2)),
        },
        {
            "8": "Another token leads with 8 bits already. Look at the KL divergence: where two tokens are nearly "
            "as likely, a very small change is enough for that.",
            "4": "8 bits leave the likeliest token as it is, 4 do not. Formats that are used in practice share a "
            "step among few weights, and so come through with 4.",
            "2": "Even 4 bits leave the likeliest token as it is. With 2 a weight is only minus, zero or plus.",
            "none": "On this prompt even minus, zero and plus are enough for the same likeliest token.",
        },
        "first",
    )


QUESTIONS: Questions = {
    "which": _which,
    "layers": _layers,
    "bits": _bits,
}
