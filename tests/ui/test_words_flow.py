"""Sentences of the living picture."""

import numpy as np
import pytest

import gemma_viz as gv
from gemma_viz.stages.flow import Flow, embedded_rms, flow, layer_flow
from gemma_viz.stages.overview import overview
from gemma_viz.ui.words import percent, size
from gemma_viz.ui.words_flow import seen, told


def flow_of(cap: gv.Capture, shown: range) -> Flow:
    return flow(embedded_rms(cap), [layer_flow(cap, layer) for layer in range(cap.model.spec.n_layers)], shown)


def said_of(cap: gv.Capture, position: int) -> list[str]:
    labels = [token.label for token in cap.tokens]
    return told(flow_of(cap, range(1, len(cap))), overview(cap, position), labels, {2: ("green", 0.25)}, "zebra")


def test_there_is_a_sentence_for_each_row_with_the_captures_numbers(tiny: gv.Model) -> None:
    cap = tiny.capture("the red cat moving it")
    said = said_of(cap, 2)
    assert len(said) == 2 * 4 + 4
    assert said[0].startswith(f"The text is cut into {len(cap)} tokens. Token 2 is “{cap.tokens[2].label}”")
    update, before = cap.attention(1).out[2].pow(2).mean().sqrt(), cap.resid_pre(1)[2].pow(2).mean().sqrt()
    assert f"Layer 1, attention adds an update of {size(float(update / before))} times the stream’s size" in said[4]
    weights, keys = cap.attention(1).pattern.mean(0)[2].topk(2)
    names = ["itself" if key == 2 else f"token {key} “{cap.tokens[key].label}”" for key in keys.tolist()]
    assert f"it reads most from {names[0]} ({percent(float(weights[0]))} of the weight" in said[4]
    assert f"then from {names[1]} ({percent(float(weights[1]))})" in said[4]
    assert said[5].endswith("Read out here, it would say “green” (25.0%).")
    assert not any("Read out here" in sentence for sentence in (*said[:5], *said[6:]))
    assert "“zebra”" in said[-1]


def test_what_is_left_out_adds_nothing(tiny: gv.Model) -> None:
    said = said_of(tiny.capture("the red cat", edits=gv.Edits(attention=False)), 2)
    assert said[2].startswith("Layer 0, attention adds nothing to")
    assert "adds an update" in said[3]


@pytest.mark.filterwarnings("error")
def test_numbers_that_have_run_out_of_range_are_not_read_out(tiny: gv.Model) -> None:
    cap = tiny.capture("the red cat")
    values = flow_of(cap, range(len(cap)))
    values.weights[:] = np.nan
    values.attention[:] = np.nan
    values.mlp[1] = np.inf
    labels, about = [token.label for token in cap.tokens], overview(cap, 2)
    said = told(values, about, labels, {}, "zebra")
    assert said[2] == "Layer 0, attention: the numbers have run out of range here (NaN or infinite)."
    assert said[5] == "Layer 1, MLP: the numbers have run out of range here (NaN or infinite)."
    assert "largest update" not in seen(values, about, labels, "zebra")


def test_what_is_seen_is_said_with_the_largest_updates(tiny: gv.Model) -> None:
    cap = tiny.capture("the red cat moving it")
    values = flow_of(cap, range(1, 5))
    values.attention[2, 1] = 77  # of token 2, which is the second that is shown
    values.mlp[:, 1] = 0
    said = seen(values, overview(cap, 2), [token.label for token in cap.tokens], "zebra")
    first, last = (cap.resid_pre(0)[2], cap.resid_post(-1)[2])
    rms = [size(float(stream.pow(2).mean().sqrt())) for stream in (first, last)]
    assert said.startswith("Tokens across and 4 layers down.")
    assert f"goes from an RMS of {rms[0]} to one of {rms[1]}." in said
    assert "largest update by attention is in layer 2, 77 times the stream’s size." in said
    assert "by an MLP" not in said
    assert said.count("“zebra”") == 1
