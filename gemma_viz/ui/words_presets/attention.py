"""Why-questions about attention: who may look where, and how much is read from whom."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words import size
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _attention(spec: ModelSpec) -> Preset:
    return Preset(
        "Attention",
        "Why attention?",
        "Attention is the only step in which a token can take something over from another. All others work on each "
        "token by itself.",
        "What if it adds nothing, in all layers?",
        {"off": ("no attention", Edits(attention=False))},
        {
            "stays": "On this prompt the last token alone is enough for the same answer: nothing else of the text "
            "has reached it.",
            "other": "The prediction is now made from the selected token alone, as if nothing stood before it; and "
            "the MLPs are given streams without what attention always adds.",
            "none": "The MLPs are given streams that they have never seen, and their sums leave the range of numbers.",
        },
    )


def _mask(spec: ModelSpec) -> Preset:
    return Preset(
        "Attention",
        "Why a causal mask?",
        "In training every token is to be predicted from those before it, all of them in one pass. A token that "
        "could look ahead would simply see its answer, and nothing would be learned. The mask hides later tokens.",
        "What if this trained model may look ahead?",
        {"off": ("no causal mask", Edits(causal_mask=False))},
        {
            "stays": "The answer stays. The last token could see everything before it anyway; what differs is "
            "that the tokens it reads from have looked ahead. Select an earlier token to see more of a change.",
            "other": "The tokens have read from later ones, which they were never trained to do, so that the last "
            "one reads other things from them.",
        },
        loss_said={
            "falls": "The loss falls, because tokens now see the very token that they are to predict. In training "
            "that is what the mask prevents: the loss would be small, and nothing learned.",
            "rises": "The loss does not fall, although tokens could now see the very token that they are to "
            "predict: this model has never learned to look there.",
        },
    )


def _sqrt(spec: ModelSpec) -> Preset:
    unscaled = size(1 / spec.attention_scale)
    return Preset(
        "Attention",
        f"Why are the scores divided by {unscaled}?",
        f"A score is the product of a query and a key of {spec.d_head:,} components each, divided by {unscaled}. "
        "The more components, the larger are products; the softmax of large numbers puts all weight on one token.",
        "What if the scores are not divided?",
        {
            "off": (
                f"scores {unscaled} times as large",
                Edits(attention_temperature=spec.attention_scale),
            )
        },
        {
            "stays": "The answer stays although heads now look much more narrowly. In training it would matter "
            "more: where a softmax is sure, hardly any gradient passes.",
            "other": "Heads now look much more narrowly, and the averages that they had learned to make are gone.",
        },
    )


def _weights(spec: ModelSpec) -> Preset:
    return Preset(
        "Attention",
        "Why weights from queries and keys?",
        "How much a token reads of each other one is decided by its query and their keys, anew for every text.",
        "Which of these does the most damage to the prediction?",
        {
            "uniform": ("the same weight on every token seen", Edits(pattern="uniform")),
            "own": ("all weight on the token itself", Edits(pattern="own")),
        },
        {
            "uniform": "A plain average of all tokens is worse than reading none of the others: too much of it is "
            "what no head wanted, the first token's value among it, on which heads often rest when they want "
            "nothing.",
            "own": "Reading nothing of the others is worse than a plain average of all of them.",
            "none": "On this prompt it hardly matters what is read from where.",
        },
        "most",
    )


def _window(spec: ModelSpec) -> Preset:
    return Preset(
        "Attention",
        "How far back has attention to look?",
        (
            f"Some layers see a window of {spec.sliding_window:,} tokens, which is cheaper in a long text."
            if spec.sliding_window
            else "Every token may look at all tokens before it."
        )
        + " Narrower windows can be tried.",
        "With which of these windows does the likeliest token change first?",
        {
            "16": ("a window of 16 tokens", Edits(window=16)),
            "4": ("a window of 4 tokens", Edits(window=4)),
            "1": ("a window of 1 token", Edits(window=1)),
        },
        {
            "16": "Already what stands more than 15 tokens back is needed: content, or just the first token, on "
            "which many heads rest.",
            "4": "What stands more than 3 tokens back is needed: content, or just the first token, on which many "
            "heads rest.",
            "1": "The last few tokens are enough for this answer, but not the token alone.",
            "none": "The answer needs nothing from other tokens, or gets it through the layers that keep looking "
            "at the whole text.",
        },
        "first",
    )


def _heads(spec: ModelSpec) -> Preset | None:
    if spec.n_heads == 1:
        return None
    every_head = tuple((head, 0) for head in range(1, spec.n_heads))
    return Preset(
        "Attention",
        "Why several heads?",
        f"A layer has {spec.n_heads} heads, which read with different queries. "
        + (
            f"They share {spec.n_kv_heads} "
            + ("set" if spec.n_kv_heads == 1 else "sets")
            + " of keys and values, which saves memory while a text is generated."
            if spec.group_size > 1
            else "Each has its own keys and values."
        ),
        "What if all heads of a layer ask with the queries of head 0?",
        {"off": ("the queries of head 0 in all heads", Edits(queries_from=every_head))},
        {
            "stays": "The answer stays: what the heads of this model ask differently was not needed for it. Look "
            "at the KL divergence for how much the rest of the distribution has changed.",
            "other": "Heads that share keys, and now queries, look at the same tokens, and what the others would "
            "have found is missing.",
        },
    )


def _scores_softcap(spec: ModelSpec) -> Preset | None:
    if not spec.attention_softcap:
        return None
    return Preset(
        "Attention",
        "Why are scores capped?",
        f"Gemma 2 sends every score through c · tanh(x / c) with c = {spec.attention_softcap:g} before the softmax.",
        "What if the cap is left out?",
        {"off": ("no soft-cap of the scores", Edits(attention_softcap=False))},
        {
            "stays": "The answer stays: few scores are so large here that the cap bends them much, or what they "
            "decide was not needed.",
            "other": "Large scores are larger now, and heads look more narrowly than they have learned to.",
        },
    )


QUESTIONS: Questions = {
    "attention": _attention,
    "mask": _mask,
    "sqrt": _sqrt,
    "weights": _weights,
    "window": _window,
    "heads": _heads,
    "scores_softcap": _scores_softcap,
}
