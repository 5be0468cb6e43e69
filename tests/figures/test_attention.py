"""Pictures of attention."""

import numpy as np

import gemma_viz as gv
from gemma_viz.figures import attention as draw
from gemma_viz.stages import attention
from tests.figures.drawn import labels


def test_the_pattern_is_drawn_with_its_own_numbers(embedded: gv.Model) -> None:
    cap = embedded.capture("I want to move")
    figure = draw.pattern(attention.head(cap, 5, 1, 3), labels(cap), 3)
    drawn = np.nan_to_num(np.asarray(figure.data[0].z))
    np.testing.assert_array_equal(drawn, cap.attention(5).pattern[1].numpy())


def test_a_window_of_a_long_pattern_holds_the_query(embedded: gv.Model) -> None:
    cap = embedded.capture("word " * 598)
    figure = draw.pattern(attention.head(cap, 5, 1, 20), labels(cap), 20)
    assert 20 in figure.data[0].y
    assert figure.data[0].z.shape == (attention.LARGEST_PATTERN, attention.LARGEST_PATTERN)
