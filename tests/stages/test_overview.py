"""The whole pass in a few numbers."""

import pytest

import gemma_viz as gv
from gemma_viz.stages import overview


def test_the_overview_follows_the_selected_token(cap: gv.Capture) -> None:
    values = overview.overview(cap, 3)
    assert values.token_id == cap.tokens[3].id
    assert values.top == cap.top_k(10, 3)
    assert values.last_rms == pytest.approx(float(cap.resid_post(-1)[3].pow(2).mean().sqrt()))
    assert values.embedded_rms == pytest.approx(values.raw_rms * cap.model.spec.embedding_scale, rel=1e-4)
