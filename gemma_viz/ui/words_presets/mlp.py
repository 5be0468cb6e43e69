"""Why-questions about the MLP and its neurons."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _mlp(spec: ModelSpec) -> Preset:
    return Preset(
        "MLP",
        "Why an MLP?",
        "Between two attentions every token passes an MLP by itself. Most of a layer's weights are in it.",
        "What if it adds nothing, in all layers?",
        {"off": ("no MLP", Edits(mlp=False))},
        {
            "stays": "On this prompt attention alone, from the embeddings on, finds the same answer.",
            "other": "Attention only mixes what there is. What is made of the mix is missing.",
        },
    )


def _nonlinearity(spec: ModelSpec) -> Preset:
    return Preset(
        "MLP",
        "Why a nonlinearity?",
        "The gate goes through GELU, which makes nearly nothing of numbers below zero: a neuron is on or off.",
        "What if the gate is used as it is?",
        {"off": ("the gate as it is, without GELU", Edits(activation="identity"))},
        {
            "stays": "The likeliest token is the same, though gates below zero now count too. Look at the loss and "
            "the KL divergence for how well the rest survives.",
            "other": "Neurons that should be off now add their vectors with the opposite sign. (Gate × up is "
            "still a product, so that even this is not a linear map.)",
        },
    )


def _relu(spec: ModelSpec) -> Preset:
    return Preset(
        "MLP",
        "Why GELU, and not ReLU?",
        "ReLU, max(0, x), is simpler: it cuts at zero. GELU is the same far from zero, and smooth around it.",
        "What if ReLU stands in the place of GELU, in a model that was trained with GELU?",
        {"off": ("ReLU in the place of GELU", Edits(activation="relu"))},
        {
            "stays": "The likeliest token is the same. GELU's small negative values are cut off, which the KL "
            "divergence measures; that a model trained with ReLU would be worse cannot be seen here.",
            "other": "Small as they are, the values of GELU below zero count: what they add is missing, in every "
            "layer. A model trained with ReLU would not have this problem.",
        },
    )


def _gate(spec: ModelSpec) -> Preset:
    return Preset(
        "MLP",
        "Why a gate?",
        "An MLP of Gemma has two projections into its neurons: gate, through GELU, says how far a neuron is open, "
        "and up says what goes through.",
        "What if all neurons are open, and up goes through as it is?",
        {"off": ("no gate in the MLP", Edits(gate=False))},
        {
            "stays": "On this prompt the answer survives with all neurons open.",
            "other": "Every neuron now adds its vector, the many that should be shut too, and the MLP has become a "
            "linear map: it can no longer treat one token otherwise than another.",
            "none": "All neurons add their vectors, and the sums leave the range of numbers.",
        },
    )


QUESTIONS: Questions = {
    "mlp": _mlp,
    "nonlinearity": _nonlinearity,
    "relu": _relu,
    "gate": _gate,
}
