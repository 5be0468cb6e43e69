"""Keys and values that are kept."""

import gemma_viz as gv
from gemma_viz.stages import generation


def test_going_on_gives_what_the_whole_text_gives(cap: gv.Capture) -> None:
    checked = generation.check_generation(cap)
    assert checked.largest_difference < 1e-4 * checked.largest_value
    assert checked.result == f"[{cap.model.spec.vocab_size}]"


def test_the_bytes_kept_are_those_of_keys_and_values(cap: gv.Capture) -> None:
    spec, values = cap.model.spec, generation.reuse(cap)
    assert values.bytes_kept == spec.n_layers * 2 * spec.n_kv_heads * len(cap) * spec.d_head * 4
    assert values.n_positions == len(cap)
    assert values.seconds_alone > 0


def test_a_single_token_can_be_measured(embedded: gv.Model) -> None:
    assert generation.reuse(embedded.capture("")).n_positions == 1
