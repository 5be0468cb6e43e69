"""Sizes of key/value caches."""

import gemma_viz as gv
from gemma_viz.stages.key_value_cache import BYTES_PER_NUMBER, FAMILY, sizes
from tests.conftest import PROMPT


def test_the_cache_is_as_large_as_the_keys_and_values_that_a_run_makes(tiny: gv.Model) -> None:
    cap, here = tiny.capture(PROMPT), sizes(tiny.spec, "tiny")
    numbers = 0
    for layer in range(tiny.spec.n_layers):
        n_kept = min(len(cap), tiny.spec.window(layer) or len(cap))  # a local layer never reads older ones again
        inside = cap.attention(layer)
        numbers += inside.rot_k[:, :n_kept].numel() + inside.v[:, :n_kept].numel()
    assert here.cache(len(cap)) == numbers * BYTES_PER_NUMBER
    assert here.cache(len(cap), tiny.spec.n_heads) == numbers * BYTES_PER_NUMBER * tiny.spec.group_size


def test_gemma_2b_shares_one_head_of_keys_between_eight() -> None:
    gemma = FAMILY[0]
    assert gemma.cache(1) == 18 * 2 * 1 * 256 * 2
    assert gemma.cache(1000, gemma.n_heads) == 8 * gemma.cache(1000)


def test_the_embedded_model_is_in_the_table(embedded: gv.Model) -> None:
    assert sizes(embedded.spec, "Gemma 3 270M") in FAMILY
