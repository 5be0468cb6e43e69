"""Changes in words."""

import pytest

import gemma_viz as gv
from gemma_viz.ui.words_edits import described


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (gv.Edits(), ""),
        (gv.Edits(rope=False, layers=frozenset({4, 3})), "no RoPE, in layers 3 and 4"),
        (gv.Edits(queries_from=((1, 0),)), "head 1 with the queries of head 0"),
        (
            gv.Edits(queries_from=((1, 0), (2, 0), (0, 5))),
            "heads 1 and 2 with the queries of head 0; head 0 with the queries of head 5",
        ),
        (
            gv.Edits(without_heads=frozenset({(3, 1)}), removal="mean"),
            "without head L3 H1, what is left out replaced by",
        ),
    ],
)
def test_changes_are_a_list_of_phrases(edits: gv.Edits, said: str) -> None:
    assert described(edits).startswith(said)
    assert bool(described(edits)) == bool(said)
