"""The parts of the Experiments page: a why-question, a change of one's own, and the board of all switches."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.figures import experiments as draw
from gemma_viz.figures import output as draw_output
from gemma_viz.figures import residual as draw_residual
from gemma_viz.stages import Floats, neighbours
from gemma_viz.stages.experiments import (
    Outcome,
    Switch,
    mean_difference,
    mean_loss,
    mean_of,
    outcome_of,
    outcomes_at,
    piece_losses,
    switches,
)
from gemma_viz.stages.neuron import shipped_pieces
from gemma_viz.stages.residual import stream_scales
from gemma_viz.tokens import visible
from gemma_viz.ui import change, live, panels, words, words_edits
from gemma_viz.ui import words_experiments as said
from gemma_viz.ui.edit_controls import changes_and_undo, edit_controls
from gemma_viz.ui.page import PAGES, Page
from gemma_viz.ui.words_presets import Preset, presets

UNTOUCHED = (
    "pages/9_Experiments.py",
    "pages/10_Patching.py",
    "pages/11_Compare.py",
)  # they change the model themselves
MEASURE = "Measure the loss on the shipped text too"

# Where a person without an idea may begin.
SUGGESTIONS = (
    Edits(rope=False),
    Edits(activation="relu"),
    Edits(attention_temperature=2.0),
    Edits(weight_bits=4),
    Edits(mlp=False).only_in(0),
)


def why_is_it_there(page: Page) -> None:
    """A why-question: a guess first, then what happens."""
    offered = presets(page.run.model.spec)
    name = page.view.choice(
        "why",
        "Question",
        list(offered),
        resets=("guess",),
        format_func=lambda name: f"{offered[name].stage}: {offered[name].question}",
    )
    preset = offered[name]
    st.header(preset.question)
    st.markdown(f"{preset.step} **{preset.ask}**")
    guess = page.view.chosen("guess", ["", *preset.guesses, "show"])
    if not guess:
        _ask(page, preset)
    else:
        _answer(page, preset, guess)
    names = list(offered)
    if name != names[-1]:
        following = names[names.index(name) + 1]
        st.button(
            f"Next question: {offered[following].question}",
            icon=":material/arrow_forward:",
            icon_position="right",
            type="primary" if guess else "secondary",
            on_click=page.view.set,
            kwargs={"why": following, "guess": None},
        )


def _ask(page: Page, preset: Preset) -> None:
    st.caption(
        f"The prediction after token {page.position}, {words.code(page.label)}, is looked at. What do you expect?"
    )
    with st.container(width=640):
        for key, guess in preset.guesses.items():
            st.button(guess, key=f"guess:{key}", width="stretch", on_click=page.view.set, kwargs={"guess": key})
        st.button("Just show me", type="tertiary", on_click=page.view.set, kwargs={"guess": "show"})


def _answer(page: Page, preset: Preset, guess: str) -> None:
    baseline = _outcome(page, UNCHANGED)
    names, edits = zip(*preset.changes.values(), strict=True)
    with st.spinner("Running the prompt again with this change …"):
        outcomes = [_outcome(page, change) for change in edits]
    result = preset.result(outcomes)
    with st.container(border=True, key="verdict"):
        st.markdown(said.verdict(preset, guess, result))
    for one, change_name in zip(outcomes, names, strict=True):
        about_the_loss = preset.loss_said.get(said.moved(one.loss, baseline.loss), "")
        st.markdown(f"{said.in_numbers(one, baseline, change_name)} {about_the_loss}")
    if len(edits) == 1:
        _both_runs(page, edits[0])
    else:
        named = [Switch(preset.stage, change) for change in edits]
        panels.chart(draw.damage(named, names, outcomes, "How far each moves the prediction"), key="damage")
    if page.view.toggle("measured", MEASURE):
        baseline_losses, *losses = _shipped_losses(page, [UNCHANGED, *edits])
        for change_losses, change_name in zip(losses, names, strict=True):
            st.markdown(_loss_on_text(change_losses, baseline_losses, change_name))
        if len(edits) == 1:
            _token_losses(baseline_losses, losses[0])
    with st.container(horizontal=True):
        st.button("Ask me again", icon=":material/replay:", on_click=page.view.set, kwargs={"guess": None})
        for one, change_name in zip(edits, names, strict=True):
            st.button(
                f"Change it further: {change_name}",
                icon=":material/tune:",
                on_click=_open_as_own,
                args=(page, one),
            )


def your_own_change(page: Page, edits: Edits) -> None:
    """Controls for everything, and what comes out. edits: what the address holds."""
    view, run = page.view, page.run
    edit_controls(view, run.model, edits)
    st.header("What is changed")
    if edits == UNCHANGED:
        st.markdown(
            "Nothing yet: this is the model as it was trained. Change something above, or begin with one of these."
        )
        with st.container(horizontal=True):
            for suggestion in SUGGESTIONS:
                st.button(words_edits.described(suggestion), on_click=change.store_edits, args=(view, suggestion))
        return
    changes_and_undo(view, run.model, edits)
    name = words_edits.described(edits)
    baseline, after = (_outcome(page, some) for some in (UNCHANGED, edits))
    st.header("What comes out")
    _cards(baseline, after)
    st.markdown(said.in_numbers(after, baseline, name))
    _both_runs(page, edits)
    if view.toggle("measured", MEASURE):
        baseline_losses, losses = _shipped_losses(page, [UNCHANGED, edits])
        st.markdown(_loss_on_text(losses, baseline_losses, name))
        _token_losses(baseline_losses, losses)
    st.header("Walk through the changed model")
    st.caption("These pages then show this change's numbers, say so, and can undo it.")
    with st.container(horizontal=True):
        for file, title in PAGES.items():
            if file not in UNTOUCHED:
                view.page_link(file, title, icon=":material/science:")


def _cards(before: Outcome, after: Outcome) -> None:
    answer = words.literal(visible(before.answer))
    numbers = "no numbers"
    rank = f"{after.rank:,}" if after.is_finite else numbers
    probability = words.percent(after.probability) if after.is_finite else numbers
    divergence = f"{words.size(after.kl_divergence)} nats" if after.is_finite else numbers
    cards = [
        (f"Probability of “{answer}”", probability, f"{words.percent(before.probability)} before"),
        ("Its rank", rank, f"{before.rank:,} before"),
        ("KL divergence", divergence, "0 before"),
    ]
    if not np.isnan(before.loss):
        loss = f"{after.loss:.2f} nats" if np.isfinite(after.loss) else numbers
        cards.append(("Loss on the prompt", loss, f"{before.loss:.2f} before"))
    for column, (label, value, delta) in zip(st.columns(len(cards)), cards, strict=True):
        with column:
            st.metric(label, value, delta, delta_color="off", delta_arrow="off", border=True)


def _outcome(page: Page, edits: Edits) -> Outcome:
    edited = live.edited(page.run, edits)
    return live.values(outcome_of, page.run, edited, page.position, live.values(mean_loss, edited))


def _both_runs(page: Page, edits: Edits) -> None:
    """Next tokens and the stream's scale in both runs."""
    values = live.comparison(page.run, edits, page.position)
    labels = [visible(token) for token in values.texts]
    before, after = (live.values(stream_scales, run, page.position) for run in (page.run, live.edited(page.run, edits)))
    left, right = st.columns(2, gap="large")
    with left:
        figure = draw_output.side_by_side(values, labels, "the changed model", "The next token, before and after")
        panels.chart(figure, key="changed")
    with right:
        panels.chart(draw_residual.both_runs(before, after, page.label, "the changed model"), key="scales")
        if not np.isfinite(after).all():
            depth = int(np.flatnonzero(~np.isfinite(after))[0])
            st.caption(f"From depth {depth} on the stream of the changed model is no number (infinite or NaN).")


def _shipped_losses(page: Page, each: Sequence[Edits]) -> list[list[Floats]]:
    """For some changes the losses of every piece of the shipped text; what is done stays, whenever one leaves."""
    model = page.run.model
    n = len(live.values(shipped_pieces, model))
    calls = [(model, piece, edits) for edits in each for piece in range(n)]
    found = live.values_of_each(piece_losses, calls, "Measuring the loss on the shipped text: piece")
    return [found[start : start + n] for start in range(0, len(found), n)]


def _loss_on_text(losses: list[Floats], baseline: list[Floats], name: str) -> str:
    return said.loss_on_text(mean_of(losses), mean_difference(losses, baseline), mean_of(baseline), name)


def _token_losses(baseline: list[Floats], losses: list[Floats]) -> None:
    before, after = np.concatenate(baseline), np.concatenate(losses)
    if np.isfinite(after).any() and np.isfinite(before).all():
        panels.chart(draw.token_losses(before, after), key="token_losses")


def _open_as_own(page: Page, edits: Edits) -> None:
    page.view.set(edits=edits.to_text(), experiments="own")


def all_switches(page: Page) -> None:
    """Every single change, one after another, sorted by damage."""
    run, position = page.run, page.position
    baseline = _outcome(page, UNCHANGED)
    tried = switches(run.model.spec)
    together = neighbours(position, len(run))
    each = live.values_of_each(
        outcomes_at, [(run, switch.edits, together) for switch in tried], "Trying every switch on the prompt:"
    )
    found = [after[together.index(position)] for after in each]
    order = sorted(range(len(tried)), key=lambda i: -found[i].damage)
    tried, outcomes = tuple(tried[i] for i in order), [found[i] for i in order]
    names = [words_edits.described(switch.edits) for switch in tried]
    st.markdown(said.board(baseline, outcomes, names))
    measured = page.view.toggle("measured", f"{MEASURE}: some minutes, the first time")
    table = _table(baseline, outcomes, names, [switch.stage for switch in tried])
    if measured:
        baseline_losses, *losses = _shipped_losses(page, [UNCHANGED, *(switch.edits for switch in tried)])
        means = [mean_of(some) for some in losses]
        differences = [mean_difference(some, baseline_losses) for some in losses]
        unchanged = mean_of(baseline_losses)
        st.caption(
            f"Shipped text: {unchanged.n:,} tokens, predicted one by one. The model as it is has a loss of "
            f"{unchanged.mean:.3f} ± {unchanged.standard_error:.3f} nats (mean and its standard error). The error of a "
            "difference is that of the paired differences, token by token."
        )
        table["loss, shipped text"] = [mean.mean for mean in means]
        table["± s.e."] = [mean.standard_error for mean in means]
        table["difference"] = [mean.mean for mean in differences]
        table["± s.e. of it"] = [mean.standard_error for mean in differences]
    _board(page, table, tried)
    if measured and np.isfinite(unchanged.mean):
        panels.chart(draw.losses(names, means, unchanged), key="shipped_losses")
    panels.chart(
        draw.damage(tried, names, outcomes, "Every switch by its damage to this prediction"), key="board_damage"
    )


def _table(baseline: Outcome, outcomes: Sequence[Outcome], names: Sequence[str], stages: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "change": names,
            "stage": stages,
            f"P({visible(baseline.answer)})": [100 * one.probability for one in outcomes],
            "rank": pd.array([one.rank if one.is_finite else None for one in outcomes], "Int64"),
            "likeliest now": [visible(one.likeliest) if one.is_finite else "no numbers" for one in outcomes],
            "KL": [one.kl_divergence for one in outcomes],
            "loss, prompt": [one.loss for one in outcomes],
        }
    )


def _board(page: Page, table: pd.DataFrame, tried: Sequence[Switch]) -> None:
    def opened() -> None:
        if rows := st.session_state["board"].selection.rows:
            _open_as_own(page, tried[rows[0]].edits)

    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        on_select=opened,
        selection_mode="single-row",
        column_config={
            "change": st.column_config.TextColumn(width=300),
            "stage": st.column_config.TextColumn(width=130),
            table.columns[2]: number(format="%.2f%%"),
            "KL": number(format="%.4f"),
            **{name: number(format="%.3f") for name in table.columns[6:]},
        },
        height=35 * (len(table) + 1) + 3,
        key="board",
    )
    st.caption("The box before a row opens that change as your own. Columns sort by a click on their names.")
