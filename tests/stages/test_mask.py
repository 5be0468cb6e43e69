"""What the mask hides, and what changes without it."""

import numpy as np

import gemma_viz as gv
from gemma_viz.stages import mask
from tests.conftest import PROMPT


def test_scores_of_all_pairs_are_the_models_where_it_may_look(cap: gv.Capture) -> None:
    for layer in (1, 2):
        values, scores = mask.all_scores(cap, layer, 3, 6), cap.attention(layer).scores[3].numpy()
        assert (values.hidden == np.isneginf(scores)).all()
        assert np.isfinite(values.scores).all()
        np.testing.assert_allclose(values.scores[~values.hidden], scores[~values.hidden], rtol=1e-4, atol=1e-4)


def test_a_mask_hides_later_tokens_and_those_outside_the_window() -> None:
    values = mask.mask_shape(3, 5)
    assert values.cell == 1
    later, seen, outside = mask.LATER, mask.SEEN, mask.OUTSIDE
    assert values.cells[0].tolist() == [seen, later, later, later, later]
    assert values.cells[4].tolist() == [outside, outside, seen, seen, seen]
    assert not (mask.mask_shape(None, 500).cells == outside).any()
    assert len(mask.mask_shape(None, 500).cells) <= mask.CELLS


def test_with_the_mask_a_later_token_changes_no_earlier_one(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    values = mask.later_token(cap, 9, tiny.token_id("▁green"))
    assert (values.with_mask[:9] == 0).all()
    assert values.with_mask[9] > 0
    assert (values.without_mask[:9] > 1e-3).all()


def test_predictions_without_the_mask_are_those_of_the_edited_run(cap: gv.Capture) -> None:
    without = cap.model.capture(PROMPT, gv.Edits(causal_mask=False))
    values = mask.unmasked(cap, without, range(len(cap)))
    for position in (0, 5):
        best = cap.top_k(1, position)
        assert values.with_texts[position] == best.texts[0]
        assert np.isclose(values.with_probability[position], best.probabilities[0], rtol=1e-4)
        assert values.without_texts[position] == without.top_k(1, position).texts[0]
        p = without.logits([position])[0].softmax(-1)[best.ids[0]]
        assert np.isclose(values.without_probability[position], float(p), rtol=1e-4)
