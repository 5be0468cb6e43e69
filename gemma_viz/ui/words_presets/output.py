"""Why-questions about the output: from the last stream to logits."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _unembed(spec: ModelSpec) -> Preset:
    return Preset(
        "Output",
        "What does the output projection do, and why is it the embedding table?",
        "Every token has a vector; its logit is the product of that with the stream. "
        + (
            "In Gemma these are the rows of the embedding table, so that they are learned once."
            if spec.tied
            else "In this model they are not the rows of the embedding table."
        ),
        "What if they are random vectors of the same size?",
        {"off": ("a random output projection", Edits(unembedding_seed=0))},
        {
            "stays": f"Among {spec.vocab_size:,} tokens that is chance, and a rare one.",
            "other": "The stream still holds the answer, but as a direction: it means something only beside the "
            "vectors that were learned together with it.",
        },
    )


def _softcap(spec: ModelSpec) -> Preset | None:
    if not spec.final_softcap:
        return None
    return Preset(
        "Output",
        "Why are logits capped?",
        f"Gemma 2 sends every logit through c · tanh(x / c) with c = {spec.final_softcap:g}, so that none can run "
        "away in training.",
        "What if the cap is left out?",
        {"off": ("no soft-cap of the logits", Edits(final_softcap=False))},
        {
            "stays": "It has to: the curve only rises, so that the order of the logits is the same with it and "
            "without. Only how far apart they are changes, and with it the probabilities.",
            "other": "The curve only rises, so that the order can change only where logits are so near the cap "
            "that rounding makes them equal.",
        },
    )


QUESTIONS: Questions = {
    "unembed": _unembed,
    "softcap": _softcap,
}
