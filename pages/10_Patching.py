"""Patching: what of an answer comes with one value of another run."""

import pandas as pd
import streamlit as st

from gemma_viz.engine.keys import PatchKey
from gemma_viz.figures import patching as draw
from gemma_viz.stages.patching import (
    Pair,
    PatchMap,
    aligned,
    answers,
    can_be_placed,
    differing,
    logit_difference,
    patch_map,
    patched_differences,
    patched_heads_differences,
    three_runs,
)
from gemma_viz.tokens import visible
from gemma_viz.ui import live, panels, words_edits, words_patching
from gemma_viz.ui.change import OTHER_PROMPT, patch_text
from gemma_viz.ui.page import DEFAULT_PROMPT, PAGES, Page, end_page, start_page
from gemma_viz.ui.patch_map import Column
from gemma_viz.ui.patch_map import patch_map as draw_map
from gemma_viz.ui.words_glossary import term

# Of each the embedded model answers both prompts, which have the same number of tokens.
PAIRS = {
    "A capital": (
        "The capital of Japan is Tokyo. The capital of France is",
        "The capital of Japan is Tokyo. The capital of Italy is",
    ),
    "An opposite": ("The opposite of hot is", "The opposite of big is"),
    "A building": ("The Eiffel Tower is in the city of", "The Colosseum is in the city of"),
    "A repetition": ("The cat sat on the mat. The cat sat on the", "The cat sat on the rug. The cat sat on the"),
    "Who is left": (
        "When Mary and John went to the store, John gave a drink to",
        "When Mary and John went to the store, Mary gave a drink to",
    ),
}

COLUMNS_IN_HALF = 9  # of the map, beside which there is room for its lines
LONGEST = 128  # tokens: the prompt is run once for every one of them and every layer

OPENED = (
    "overview.py",
    "pages/3_Transformer_layer.py",
    "pages/4_Attention.py",
    "pages/6_MLP.py",
    "pages/7_Output.py",
)


def other_run(page: Page) -> live.Run | None:
    """The box for the corrupted prompt, and its run; None, with a sentence, where the two cannot be patched."""
    text = page.view.text("other", "The other prompt, the corrupted one", OTHER_PROMPT)
    st.caption("Or take a pair; it sets both prompts:")
    with st.container(horizontal=True):
        for name, (clean, corrupted) in PAIRS.items():
            st.button(name, help=f"{clean} / {corrupted}", on_click=take_pair, args=(page, clean, corrupted))
    if not text.strip():
        st.markdown("**The other prompt is empty.** Type one that differs from yours in a word, or take a pair above.")
        return None
    corrupted = live.capture(page.run.model, text)
    if len(corrupted) != len(page.run):
        st.markdown(words_patching.other_lengths(len(page.run), len(corrupted)))
        side_by_side(page.run, corrupted)
        return None
    differ = live.values(differing, page.run, corrupted)
    if not differ:
        st.markdown("**Both prompts are the same tokens.** Change a word of one of them, or take a pair above.")
        return None
    if len(corrupted) > LONGEST:
        st.markdown(
            f"**The prompts have {len(corrupted):,} tokens.** The map runs them once for every token and layer, which "
            f"takes too long beyond {LONGEST}. Shorten both."
        )
        return None
    st.markdown(words_patching.where_they_differ(differ, page.labels, corrupted.labels))
    return corrupted


def take_pair(page: Page, clean: str, corrupted: str) -> None:
    """Make two texts the prompts, from a callback."""
    page.show_text(clean)
    cleared = dict.fromkeys(("answer", "other_answer", "layer", "head"))
    page.view.set(**cleared, **page.view.text_parameters("other", corrupted, OTHER_PROMPT))


def side_by_side(clean: live.Run, corrupted: live.Run) -> None:
    """The tokens of two prompts, as far as they are the same above each other."""
    pairs = live.values(aligned, clean, corrupted)
    table = {f"{i}" if a == b else f"{i} ≠": (a, b) for i, (a, b) in enumerate(pairs)}
    st.dataframe(pd.DataFrame(table, index=pd.Index(["clean", "other"], name="prompt")), key="aligned")


def compared(page: Page, corrupted: live.Run) -> tuple[int, int] | None:
    """The two answers that are measured, by their ids; None, with a sentence, where it measures nothing."""
    view, clean = page.view, page.run
    found = live.values(answers, clean, corrupted)
    left, right = st.columns(2, gap="large")
    with left:
        answer = panels.typed_token(view, clean.model, "answer", "Answer of the clean prompt (empty: its own)")
    with right:
        against = panels.typed_token(view, clean.model, "other_answer", "Answer of the other prompt (empty: its own)")
    typed = answer is not None or against is not None
    if found:
        answer = found.clean if answer is None else answer
        against = found.corrupted if against is None else against
    if answer is None or against is None:
        st.markdown(words_patching.NO_ANSWERS)
        return None
    if answer == against:
        st.markdown("**Both answers are the same token.** Type two different words.")
        return None
    names = (visible(live.token_text(clean.model, answer)), visible(live.token_text(clean.model, against)))
    shared = (
        visible(live.token_text(clean.model, found.shared)) if found and found.shared is not None and not typed else ""
    )
    st.markdown(words_patching.what_is_compared(names, shared))
    return answer, against


def the_map(page: Page, corrupted: live.Run, answer: int, against: int) -> None:
    """What comes back, or is lost, with a value at every layer and token; and the run of the chosen one."""
    ends = tuple(live.values(logit_difference, run, answer, against) for run in (page.run, corrupted))
    if not can_be_placed(*ends):
        st.markdown(words_patching.no_scale(*ends))
        return
    st.markdown(words_patching.scale(*ends))
    left, right = st.columns(2, gap="large")
    with left:
        direction = choose(page, "direction", "Direction", words_patching.DIRECTIONS)
    with right:
        kind = choose(page, "taken", "What is taken over", words_patching.TAKEN)
        head = page.choose_head() if kind == "z" else None
    what = words_patching.TAKEN[kind] if head is None else f"what head {head} reads"
    pair = Pair(page.run, corrupted, answer, against, direction)
    arguments = (pair.source, kind, head, answer, against)
    rows = live.values_by_layer(patched_differences, pair.base, f"Taking over {what}", *arguments)
    values = patch_map(direction, rows, *ends)
    with left:
        layer = page.choose_layer(default=values.furthest_at(page.position))
    base_labels, differ = pair.base.labels, live.values(differing, pair.clean, pair.corrupted)
    st.markdown(words_patching.outcome(values, base_labels, differ, kind))
    st.button(
        "Show the run in which it moves furthest", on_click=show_cell, args=(page, *values.furthest), key="furthest"
    )
    if page.view.toggle("figure", "The map as a figure, to zoom and to save"):
        clean_labels, other_labels, chosen = pair.clean.labels, pair.corrupted.labels, (layer, page.position)
        panels.chart(draw.recovered(values, what, clean_labels, other_labels, chosen), key="recovered")
    first = differ[0]
    is_narrow = len(base_labels) - first <= COLUMNS_IN_HALF
    left, right = st.columns(2, gap="large") if is_narrow else (st.container(), st.container())
    with left:
        map_of_tokens(page, pair, values, first, (layer, page.position))
    with right:
        panels.chart(draw.by_layer(values, base_labels, [*differ, len(base_labels) - 1], page.position), key="by_layer")
    if kind == "z":
        heads_map(page, pair, ends, (layer, head or 0))
    the_cell(page, pair, values, live.patch(pair.source, kind, layer, page.position, head))


def choose(page: Page, name: str, label: str, options: dict) -> str:
    """One of some texts by its name in words."""
    return page.view.choice(name, label, list(options), format_func=options.__getitem__)


def show_cell(page: Page, layer: int, position: int) -> None:
    """Choose a cell of the map, from a callback."""
    page.choose_token(position)
    page.view.set(layer=str(layer))


def show_head(page: Page, layer: int, head: int) -> None:
    """Choose a cell of the map of heads, from a callback."""
    page.view.set(layer=str(layer), head=str(head) if head else None)


def map_of_tokens(page: Page, pair: Pair, values: PatchMap, first: int, chosen: tuple[int, int]) -> None:
    """The map, to choose a cell from."""
    columns = [
        Column(f"{i} {label}", label, other if other != label else "")
        for i, (label, other) in enumerate(zip(pair.clean.labels, pair.corrupted.labels, strict=True))
    ]
    draw_map(values, "token", columns, chosen, lambda *cell: show_cell(page, *cell), key="map", first=first)
    st.caption(
        f"Layers go down, tokens across, from token {first} on: before it the two runs are the same. Where the prompts "
        "differ, the clean one's token stands above. Choose a cell, by mouse or with Tab, arrow keys and Enter, to see "
        "its run below."
    )


def heads_map(page: Page, pair: Pair, ends: tuple[float, float], chosen: tuple[int, int]) -> None:
    """The same of all heads, at the selected token."""
    what = f"Taking over all heads at token {page.position}"
    arguments = (pair.source, page.position, pair.answer, pair.against)
    values = patch_map(
        pair.direction, live.values_by_layer(patched_heads_differences, pair.base, what, *arguments), *ends
    )

    st.header("Every head at the selected token")
    st.markdown(words_patching.heads_outcome(values, pair.base.tokens[page.position].label))
    columns = [Column(str(head), f"head {head}") for head in range(values.recovered.shape[1])]
    draw_map(values, "head", columns, chosen, lambda *cell: show_head(page, *cell), key="heads")


def the_cell(page: Page, pair: Pair, values: PatchMap, patch: PatchKey) -> None:
    """The run of the chosen cell: what it predicts, and the way into it."""
    st.header("The run of this cell")
    patched = live.capture(page.run.model, pair.base.text, patch=patch)
    runs = live.values(three_runs, pair.clean, pair.corrupted, patched, pair.answer, pair.against)
    names = [visible(text) for text in runs.texts]
    recovered = float(values.recovered[patch.layer, patch.position])
    st.markdown(f"In this run {words_edits.patched(patch)}. {words_patching.cell(runs, names, recovered)}")
    panels.chart(draw.three_runs(runs, names), key="three_runs")
    st.markdown(words_patching.OPENS[pair.direction])
    changes = {
        "patch": patch_text(patch.kind, patch.layer, patch.position, patch.head),
        "edits": None,
        "layer": str(patch.layer) if patch.layer else None,
        **page.view.text_parameters("prompt", pair.base.text, DEFAULT_PROMPT),
        **page.view.text_parameters("other", pair.source.text, OTHER_PROMPT),
    }
    with st.container(horizontal=True):
        for file in OPENED:
            page.view.page_link(file, f"Open on {PAGES[file]}", changes, icon=":material/arrow_forward:")


page = start_page(
    "Patching",
    "Take one value from the run of another prompt, put it into this one at the same place, and see how much of the "
    "answer comes with it.",
    shows_change=False,
)
st.markdown(
    "Two prompts that differ in a word have different answers. Somewhere on the way from that word to the last token "
    f"the model carries the difference, and {term('patching')} finds where. A *patch* puts one vector of the other "
    "run, from one layer and token, in the place of this run's own; all that follows is then computed with it. If the "
    "answer comes along, that vector carries enough of the difference. The prompt in the sidebar is the "
    f"{term('clean', '**clean**')} one, the other is the {term('corrupted', '**corrupted**')} one."
)
if (corrupted := other_run(page)) and (measured := compared(page, corrupted)):
    the_map(page, corrupted, *measured)
with st.expander("Two directions, and what they can tell"):
    st.markdown(words_patching.EXPLAINED)
end_page(page)
