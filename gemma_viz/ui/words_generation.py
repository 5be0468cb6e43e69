"""Sentences of the generation page, made from its numbers."""

from gemma_viz.continuations import Tree
from gemma_viz.stages.generation import MEASUREMENTS, Reuse
from gemma_viz.ui.words import counted, size

CLEARLY_LONGER = 1.2  # times; less than that is noise


def how_to_go_on(tree: Tree) -> str:
    """What the tree is and what can be done with it, in Markdown."""
    if len(tree.nodes) == 1:
        return "Every token that is added appears here; a click on one opens the text that ends with it."
    n_ends = sum(1 for _ in tree.rows())
    n_new = sum(node.parent is not None for node in tree.nodes)
    return (
        f"**{counted(n_new, 'token')}, {counted(n_ends, 'ending')}.** The darker a token, the likelier the model found "
        "it. Choose one to go back to the text that ends with it: all pages are about that text then, and adding "
        "tokens with other settings or another seed makes a branch."
    )


def nothing_added(n_tokens: int, limit: int) -> str:
    """Why a run has added nothing, in Markdown."""
    if n_tokens >= limit:
        return f"The text has reached the limit of {limit:,} tokens. Go on from a shorter one."
    return "The token that was drawn is a part of a character only. Add several tokens, or draw with another seed."


def reuse(values: Reuse) -> str:
    """What it saves to keep keys and values, in Markdown."""
    if values.n_positions == 1:
        return "This text is a single token, so there is nothing before it to keep."
    faster = values.seconds_whole / values.seconds_alone
    compared = f"{faster:.1f} times as long" if faster >= CLEARLY_LONGER else "no clear gain at this length"
    return (
        "A new token changes nothing about the tokens before it: the mask hides it from them. So their keys and values "
        f"are kept, {size(values.bytes_kept / 2**10)} KiB for these {values.n_positions:,} tokens, and only the new "
        f"token runs. The shortest of {MEASUREMENTS} measurements each: the last token alone took "
        f"{values.seconds_alone * 1000:,.0f} ms, the whole text {values.seconds_whole * 1000:,.0f} ms, {compared}."
    )
