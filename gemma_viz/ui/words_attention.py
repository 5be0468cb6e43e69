"""Sentences of the attention page, made from its numbers."""

import math
from collections.abc import Sequence

import numpy as np

from gemma_viz.attention import AttentionRule
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.attention import Query
from gemma_viz.stages.head_output import HeadOutputs
from gemma_viz.stages.heads import LayerHeads
from gemma_viz.stages.mask import LaterToken, Unmasked
from gemma_viz.ui.words import code, percent, size

SINK = 1.5  # times an even share of the weight, from which on the first token is called one


def heads_shown(n_shown: int, n_heads: int, order: str) -> str:
    """How many heads are shown, in Markdown."""
    if n_shown == n_heads:
        return f"**All {n_heads} heads**, in this order: {order}."
    if not n_shown:
        return (
            "**No head** has as much as that on this prompt. Lower the limit, or, for induction, try a prompt that "
            "repeats something."
        )
    return f"**{n_shown} of {n_heads} heads** have at least that much, the highest first: {order}."


def sees(rule: AttentionRule) -> str:
    """Which tokens a query may look at: completes "a query sees …"."""
    if not rule.causal:
        return "every token of the text, later ones too"
    if rule.window == 1:
        return "itself only"
    return f"the last {rule.window:,} tokens, itself included" if rule.window else "itself and all tokens before it"


def resting(layers: Sequence[LayerHeads], rules: Sequence[AttentionRule], first: str) -> str:
    """Whether the heads rest on the first token of the prompt, in Markdown; nothing where there is no other token.

    first: the first token
    """
    n_positions = layers[0].measures.profile.shape[1]
    share = float(np.mean([layer.measures.first for layer in layers]))
    if n_positions < 2 or not math.isfinite(share):
        return ""
    even = float(np.mean([_even_share_of_first(rule, n_positions) for rule in rules]))
    found = (
        f"On this prompt {percent(share)} of the weight lies on the first token, {code(first)} (mean over all heads "
        f"and the tokens after it). Spread evenly it would be {percent(even)}."
    )
    if share < SINK * even:
        return f"{found} So the first token is no **attention sink** here: heads do not rest on it."
    return (
        f"{found} Each row must sum to 1, so a head that finds nothing to read has to leave its weight somewhere. The "
        "place where heads leave it is called an **attention sink**."
    )


def _even_share_of_first(rule: AttentionRule, n_positions: int) -> float:
    """The weight on the first token if every later one read all it sees evenly, on average."""
    queries = np.arange(1, n_positions)
    if not rule.causal:
        return 1 / n_positions
    seen = np.minimum(queries + 1, rule.window or n_positions)
    return float(((seen > queries) / seen).mean())


def how_far_back(distance: float, rule: AttentionRule) -> str:
    """What the chart of a head's weights by distance shows, and their mean distance in tokens, in Markdown."""
    ahead = "" if rule.causal else " Tokens further on count as negative, and are not in this picture."
    return (
        "A bar is the weight on the token so many tokens back, on average over the tokens that have one. The "
        "mean distance from a token to those it reads, each counted by its weight, is "
        f"**{size(distance)} tokens** for this head: 0 is the token itself, 1 the one before. The first token, "
        f"which has none before it, is left out of the mean.{ahead}"
    )


def score_in_numbers(values: Query, labels: Sequence[str], query: int, key: int, spec: ModelSpec) -> str:
    """From q and k to what is moved, for one key, in Markdown."""
    names = f"The query of {code(labels[query])} (token {query}) times the key of {code(labels[key])} (token {key})"
    dot, score, weight = values.dots[key], values.scores[key], values.weights[key]
    summed = f"{names}, {spec.d_head} products in all, sums to q · k = **{dot:,.2f}**."
    if not math.isfinite(score):
        return f"{summed} But it lies outside of the window that this layer sees: the mask sets its score to −∞."
    factor, uncapped = values.rule.scale / values.rule.temperature, values.rule.softcap is None
    scaled = f" Times {factor:.4g} that is {dot * factor:,.2f}"
    capped = "" if uncapped else f", soft-capped to {score:,.2f}"
    others = int(np.isfinite(values.scores).sum()) - 1
    shared = f"the softmax over it and {others:,} other{'s' if others != 1 else ''}" if others else "the softmax"
    moved = weight * values.value_norms[key]
    return (
        f"{summed}{scaled}{capped}; {shared} makes it a weight of **{weight:.3f}**. Its value has a length of "
        f"{size(float(values.value_norms[key]))}, so {size(float(moved))} is moved."
    )


def shapes(spec: ModelSpec, n_positions: int) -> str:
    """The shapes of one layer's attention, step by step, in Markdown."""
    heads, n, width = spec.n_heads, n_positions, spec.d_head
    shared = f"{spec.n_kv_heads} key/value head{'s' if spec.n_kv_heads > 1 else ''}"
    return (
        f"In shapes, for all heads of the layer at once: queries `[{heads}, {n}, {width}]` times keys "
        f"`[{spec.n_kv_heads}, {n}, {width}]` ({shared}) make scores `[{heads}, {n}, {n}]`; scaled, masked and through "
        f"the softmax they are the pattern, `[{heads}, {n}, {n}]`; times values `[{spec.n_kv_heads}, {n}, {width}]` "
        f"that is z, `[{heads}, {n}, {width}]`. The code below does exactly this."
    )


def moved(values: Query, labels: Sequence[str]) -> str:
    """Whether the key with the largest weight is also the one that moves most, in Markdown."""
    amounts = values.weights * values.value_norms
    looked, most = int(values.strongest[0]), int(amounts.argmax())
    average = values.value_norms.mean()
    said = (
        f"The largest weight, {values.weights[looked]:.2f}, lies on {code(labels[looked])} (token {looked}). Its value "
        f"has a length of {size(float(values.value_norms[looked]))}; the average over the prompt is "
        f"{size(float(average))}."
    )
    share = amounts[looked] / amounts.sum()
    if looked != most:
        return (
            f"{said} So most of what is moved comes from another token: {code(labels[most])} (token {most}), with "
            f"{amounts[most] / amounts.sum():.0%} of weight × length."
        )
    return f"{said} It makes up {share:.0%} of weight × length, the most of all."


def head_output(values: HeadOutputs, layer: int, head: int, label: str, spec: ModelSpec) -> str:
    """How large a head's addition to the stream is, and where it points, in Markdown."""
    length, cosine = float(values.lengths[head]), float(values.cosines[head])
    way = "adds to" if cosine > 0.1 else "takes away from" if cosine < -0.1 else "stands nearly at right angles to"
    norm = " and the norm after it" if spec.post_norms else ""
    return (
        f"Through attention's output projection (W_O, `o_proj` in the code){norm}, layer {layer}, head {head} "
        f"adds a vector of length **{size(length)}** to the stream of {code(label)}, which has "
        f"{size(values.stream_length)}. Its cosine to the stream is {cosine:+.2f}: it {way} the direction the "
        f"stream has. All {len(values.lengths)} heads together add "
        f"{size(values.update_length)}."
    )


def sharing(spec: ModelSpec) -> str:
    """Which query heads share keys and values, in Markdown."""
    if spec.n_kv_heads == 1:
        return (
            f"All {spec.n_heads} query heads of a layer read the same keys and values: **multi-query attention**. Each "
            "asks a question of its own, and all are answered from one set of keys. Gemma 2B does the same with 8."
        )
    if spec.group_size == 1:
        return "Every query head has keys and values of its own: **multi-head attention**. Gemma 2B shares one set."
    return (
        f"Every {spec.group_size} of the {spec.n_heads} query heads share one of {spec.n_kv_heads} key/value heads: "
        "**grouped-query attention**. Gemma 2B goes further: its 8 query heads share one."
    )


def mask(rule: AttentionRule, n_positions: int, layer: int) -> str:
    """What the mask of a layer hides on this prompt, in Markdown."""
    window = rule.window
    if not rule.causal:
        return f"In this changed model no mask hides anything in layer {layer}: a query sees {sees(rule)}."
    hidden = n_positions * (n_positions - 1) // 2
    said = (
        f"Scores are there for all {n_positions**2:,} pairs of tokens. Before the softmax the **causal mask** sets "
        f"those with a later key to −∞, {hidden:,} of them, so that they get a weight of 0."
    )
    if window is None:
        return f"{said} Layer {layer} is a global one: a query sees {sees(rule)}."
    n_blind = max(0, n_positions - window)  # queries that cannot see the first token any more
    n_outside = n_blind * (n_blind + 1) // 2
    outside = (
        f"hides {n_outside:,} more pairs" if n_outside else f"hides nothing here: the prompt has {n_positions:,} tokens"
    )
    return f"{said} Layer {layer} is a local one: a query sees {sees(rule)}. This window {outside}."


def later_token(values: LaterToken, before: str, after: str) -> str:
    """Whether a later token changed earlier ones, in Markdown."""
    earlier = slice(0, values.position)
    said = f"{code(before)} (token {values.position}) was replaced by {code(after)}. "
    if not values.position:
        return said + "There is no token before it; select a later one."
    masked, unmasked_ = float(values.with_mask[earlier].max()), float(values.without_mask[earlier].max())
    kept = (
        "**With the mask not one bit changes** in the streams of the tokens before it"
        if masked == 0
        else f"With the mask the streams before it change by at most {size(masked)} of their length"
    )
    if unmasked_ == 0:
        return f"{said}{kept}, and none without it either."
    return f"{said}{kept}. Without the mask they change by up to {percent(unmasked_)} of their length."


def unmasked(values: Unmasked) -> str:
    """How many predictions are others without the mask, in Markdown."""
    n = len(values.with_texts)
    changed = sum(one != other for one, other in zip(values.with_texts, values.without_texts, strict=True))
    return (
        f"Without the mask every token reads the whole prompt, which the model never learned to do. The likeliest next "
        f"token becomes another one after **{changed} of {n}** tokens."
    )
