"""The shortcuts to the largest values of long rows."""

import pytest
import torch

import gemma_viz as gv
from gemma_viz.ranking import GROUP, Ranking, rank, top_k
from tests.conftest import PROMPT


@pytest.mark.parametrize("n", [3, GROUP, 20 * GROUP, 20 * GROUP + 5])
@pytest.mark.parametrize("k", [1, 10])
def test_top_k_is_what_torch_gives(n: int, k: int) -> None:
    rows = torch.randn(6, n, generator=torch.Generator().manual_seed(n + k))
    values, places = top_k(rows, k)
    expected = rows.topk(min(k, n))
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)


def test_top_k_finds_the_largest_wherever_they_stand() -> None:
    n = 15 * GROUP + 7
    places = torch.tensor([[0, 1, 2, 3], [GROUP - 1, GROUP, 2 * GROUP, n - 1], [n - 4, n - 3, n - 2, n - 1]])
    rows = torch.zeros(3, n).scatter(1, places, torch.tensor([4.0, 3.0, 2.0, 1.0]).expand(3, -1))
    assert torch.equal(top_k(rows, 4)[1], places)


def test_rows_with_equal_values_give_different_places() -> None:
    values, places = top_k(torch.ones(2, 30 * GROUP), 5)
    assert (values == 1).all()
    assert all(len(set(row)) == 5 for row in places.tolist())


def ranked(logits: torch.Tensor, target: int) -> Ranking:
    return rank(lambda normed: normed, logits[None], torch.tensor([target]), k=2)


def test_log_probabilities_are_finite_where_probabilities_are_not() -> None:
    logits = torch.tensor([0.0, 300.0, 299.0])
    found = ranked(logits, 0)
    assert found.target_probabilities.item() == 0
    torch.testing.assert_close(found.target_log_probabilities, logits.log_softmax(0)[:1])


def test_a_rank_counts_what_is_ahead() -> None:
    n = 300 * GROUP + 3
    logits = torch.arange(n, dtype=torch.float32) / n
    for target in (0, 5, 40_000 % n, n - 2, n - 1):
        assert ranked(logits, target).target_ranks.tolist() == [n - target]


def test_targets_that_are_not_one_id_for_each_position_are_refused(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    ids, n = cap.token_ids, len(cap)
    assert torch.equal(cap.ranking(ids.tolist()).ids, cap.ranking(ids).ids)  # type: ignore[arg-type]
    for wrong in (ids[:2], ids[0], ids[None], ids.float(), ids > 3):
        with pytest.raises(ValueError, match=f"must be {n} token ids"):
            cap.ranking(wrong)
    for outside in (-1, tiny.spec.vocab_size):
        with pytest.raises(IndexError, match=f"no token {outside}: the ids are 0 to"):
            cap.ranking(torch.full((n,), outside))
        with pytest.raises(IndexError, match=f"no token {outside}: the ids are 0 to"):
            cap.lens(-1, outside)
