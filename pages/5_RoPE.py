"""RoPE: how attention knows where a token stands."""

import pandas as pd
import streamlit as st

from gemma_viz.edits import Edits
from gemma_viz.figures import positions as draw_positions
from gemma_viz.figures import rope as draw
from gemma_viz.figures import wavelengths as draw_wavelengths
from gemma_viz.stages.positions import changed_patterns, position_sensitivity
from gemma_viz.stages.rope import check_rope, contributions, rotation, score_by_distance, vectors
from gemma_viz.stages.wavelengths import layer_wavelengths, pair_lengths, visible_pair, wavelengths
from gemma_viz.ui import live, panels, words, words_rope
from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.words_glossary import term

LARGEST_SHIFT = 200
MOVES = ("1", "10", "100", "1,000", "10,000", "100,000")
STRETCHES = ("0.25", "0.5", "0.9", "1.1", "2", "4")

page = start_page(
    "RoPE",
    f"{term('attention', 'Attention')} compares {term('query', 'queries')} with {term('key', 'keys')}, and neither "
    f"says where its token stands. {term('RoPE', 'Rotary position embedding')} turns them: pairs of components are "
    "clock hands, and every position turns each hand a little further.",
)
spec = page.run.model.spec
left, middle, right = st.columns(3, gap="large")
with left:
    layer = page.choose_layer()
with middle:
    head = page.choose_head()
with right:
    seen_best = visible_pair(live.values(layer_wavelengths, page.run, layer), len(page.run))
    pair = page.view.integer("pair", "Pair of components", 0, spec.d_head // 2 - 1, default=seen_best)
st.caption(
    f"A pair is two of a query's (or key's) {spec.d_head:,} numbers, component i and component i + "
    f"{spec.d_head // 2:,}, taken as a point on a plane. All pairs turn, each at a speed of its own, pair 0 fastest. "
    "Without a choice the pair is one whose turning shows at this length."
)


def clock_hands() -> None:
    """One pair of components of every token, turned."""
    values = live.values(rotation, page.run, layer, head, pair)
    shared = f"key head {values.kv_head}, which query head {head} reads"
    st.markdown(
        f"In layer {layer} pair {pair} (components {pair} and {pair + spec.d_head // 2}) makes one whole turn in "
        f"{words.size(values.wavelength)} tokens. Query and key of {words.code(page.label)} at position "
        f"{page.position} are both turned by {values.degrees[page.position]:,.1f}°; their lengths stay the same. "
        "Dotted hands are before, solid ones after."
    )
    panels.chart(draw.rotation(values, page.labels, page.position), key="rotation")
    st.caption(
        f"Keys are those of {shared}. Play moves the hands from token to token, and so does the slider under the "
        "picture; a token of the strip above, by mouse or arrow keys, makes its hands the first."
    )
    whole = live.values(vectors, page.run, layer, head, page.position)
    panels.chart(draw.query(whole, page.label), key="query_before_after")


def choose_key() -> int:
    """The token that is looked at."""
    return page.view.integer(
        "key", "Key: position of the token looked at", 0, page.position, default=max(page.position - 1, 0)
    )


def distance_counts() -> None:
    """One query and one key, moved on together and apart."""
    left, right = st.columns(2, gap="large")
    with left:
        key = choose_key()
    with right:
        shift = page.view.integer("shift", "Move both on by (tokens)", 0, LARGEST_SHIFT, default=100)
    values = live.values(score_by_distance, page.run, layer, head, page.position, key, shift)
    st.markdown(words_rope.moved_together(values, page.label, page.labels[key]))
    panels.chart(draw.score_by_distance(values, page.label, page.labels[key]), key="by_distance")
    st.caption(
        "The same query and key, turned as if the key stood so many tokens before the query. Moved apart, the score "
        "changes; moved on together, the curve stays."
    )


def wavelengths_used() -> None:
    """Fast and slow hands, and who uses them."""
    panels.chart(
        draw_wavelengths.wavelengths(live.values(wavelengths, page.run), len(page.run), pair), key="wavelengths"
    )
    st.caption(
        "A hand that turns once within a few tokens tells neighbours apart. One that hardly moves over the whole "
        "prompt compares content, wherever it stands."
    )
    used = live.values(pair_lengths, page.run, layer)
    panels.chart(draw_wavelengths.pair_lengths(used, layer, head), key="pair_lengths")
    st.caption(
        "Mean length of each pair over the prompt's tokens, in queries (q) and keys (k). A pair counts in a score by "
        "the product of the two."
    )
    if page.view.toggle("all_lengths", "Show the heads of all layers"):
        everywhere = live.values_by_layer(pair_lengths, page.run, "Lengths of all pairs")
        left, right = st.columns(2, gap="large")
        with left:
            panels.chart(draw_wavelengths.pair_lengths_of_all(everywhere, "q"), key="q_lengths_of_all")
        with right:
            panels.chart(draw_wavelengths.pair_lengths_of_all(everywhere, "k"), key="k_lengths_of_all")
    st.markdown("**One score, split by wavelength**")
    key = choose_key()
    parts = live.values(contributions, page.run, layer, head, page.position, key)
    st.markdown(words_rope.score_by_pair(parts, page.position - key))
    panels.chart(draw.contributions(parts, page.label, page.labels[key]), key="contributions")


def with_and_without() -> None:
    """Heads ranked by how much of their attention comes from position."""
    measured = pd.DataFrame(live.values_by_layer(position_sensitivity, page.run, "Patterns without rotation"))
    st.markdown(
        "Every head's pattern is compared with the one that its same queries and keys give when they are not turned. "
        "The distance of the two is half the sum of absolute differences of their weights "
        f"({term('total variation')}), averaged over all tokens but the first: 0 where position does not matter, 1 "
        "where it decides everything. " + words_rope.most_and_least_positional(measured.to_numpy())
    )
    if len(page.run) == 1:
        return
    left, right = st.columns([3, 2], gap="large")
    with left:
        panels.chart(draw_positions.sensitivity(measured.to_numpy(), layer, head), key="sensitivity")
    with right:
        ranked = measured.rename_axis("layer").reset_index().melt("layer", var_name="head", value_name="distance")
        st.dataframe(
            ranked.sort_values("distance", ascending=False),
            hide_index=True,
            height=480,
            column_config={"distance": st.column_config.NumberColumn(format="%.3f")},
            key="ranked",
        )


def choose_change() -> tuple[Edits, str, float]:
    """What is done to the positions: the edits, in words that complete "with …", and the last token's new position."""
    last = len(page.run) - 1
    ways = {"move": "Move every token on", "stretch": "Stretch all distances", "off": "No rotation at all"}
    left, right = st.columns(2, gap="large")
    with left:
        way = page.view.choice("positions", "Change of positions", list(ways), format_func=ways.__getitem__)
    with right:
        if way == "move":
            moved = page.view.step("move", "By so many tokens", MOVES, default="100")
            n = int(moved.replace(",", ""))
            return Edits(rope_shift=n), f"every position moved on by {moved}", last + n
        if way == "stretch":
            factor = page.view.step("stretch", "Positions times", STRETCHES, default="2")
            return Edits(rope_stretch=float(factor)), f"every position multiplied by {factor}", last * float(factor)
    return Edits(rope=False), "no rotation in any layer", 0


def shift_and_stretch() -> None:
    """The whole prompt again, with other positions."""
    edits, change, furthest = choose_change()
    values = live.values(changed_patterns, page.run, live.edited(page.run, edits), layer, page.position)
    st.markdown(words_rope.patterns_moved(values, layer, head, change))
    if edits.rope:
        fastest = float(live.values(layer_wavelengths, page.run, layer)[0])
        st.caption(words_rope.furthest_position(furthest, fastest, spec.context_length))
    left, right = st.columns(2, gap="large")
    for column, changed, title in ((left, False, "as it is"), (right, True, f"with {change}")):
        with column:
            figure = draw_positions.pattern(values, changed, head, page.labels, page.position, f"Pattern {title}")
            panels.chart(figure, key=f"pattern_{changed}")
    panels.changed_prediction(page.run, page.position, edits, change)


parts = {
    "hands": ("Clock hands", clock_hands),
    "distance": ("Only the distance counts", distance_counts),
    "wavelengths": ("Wavelengths", wavelengths_used),
    "sensitivity": ("With and without position", with_and_without),
    "shift": ("Shift and stretch", shift_and_stretch),
}
part = page.view.section("rope", {name: title for name, (title, _) in parts.items()})
parts[part][1]()

panels.code(live.values(check_rope, page.run, layer), page.run)
panels.why(
    page.view,
    page.run,
    page.position,
    text="Without it a head could not prefer the token just before, nor tell “dog bites man” from “man bites dog” by "
    f"their order. The {term('causal mask')} alone gives a hint: each token sees one more token than the one before "
    "it. How much depends on the prompt: leave the rotation out and see, also for the example “one two three four five "
    "six”, where order is all that counts.",
    edits=Edits(rope=False),
    without="RoPE in all layers",
)
end_page(page)
