"""Rankings of the whole vocabulary for many positions: a block of positions at a time, so that memory stays flat.

A row of logits is a megabyte, and 8,000 positions times 18 layers of them would be 150 GB. A block is made, reduced
to what was asked for, and dropped; the reductions together take less time than the matrix product before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from gemma_viz import display
from gemma_viz.tokens import visible

POSITIONS_AT_ONCE = 64  # of logits: fewer would leave the matrix product waiting for memory
ROWS_AT_ONCE = 8  # of logits that are reduced: these stay in the processor's cache
GROUP = 128  # neighbouring ids whose largest value is looked at first
ROWS_SHOWN = 200  # of a long text, where a ranking is displayed
IDS_SHOWN = 5
RANKING_HEADERS = ("row", "rank of target", "its probability", "likeliest ids")
TOP_K_HEADERS = ("rank", "id", "logit", "probability", "token")


class Ranking(NamedTuple):
    """The likeliest tokens after each of some positions (of a "logit lens": at each depth), and how one token of
    interest does there. On the CPU.

    ids: int64 [position, k], the likeliest first; logits, probabilities: float32 [position, k]
    target_probabilities: float32 [position]; target_ranks: int64 [position], 1 where it is the likeliest
    target_log_probabilities: float32 [position], natural; finite also where the probability is too small for a float32
    """

    ids: Tensor
    logits: Tensor
    probabilities: Tensor
    target_probabilities: Tensor
    target_ranks: Tensor
    target_log_probabilities: Tensor

    def __repr__(self) -> str:
        return display.text_table(RANKING_HEADERS, self._rows) + self._more("\n")

    def _repr_html_(self) -> str:
        return display.html_table(RANKING_HEADERS, self._rows) + self._more()

    @property
    def _rows(self) -> list[display.Row]:
        targets = zip(self.target_ranks.tolist(), self.target_probabilities.tolist(), strict=True)
        rows = zip(self.ids.tolist(), self.probabilities.tolist(), targets, strict=True)
        return [
            (str(row), f"{rank:,}", f"{p:.2%}", ", ".join(map(_id_with_share, ids[:IDS_SHOWN], shares)))
            for row, (ids, shares, (rank, p)) in islice(enumerate(rows), ROWS_SHOWN)
        ]

    def _more(self, before: str = "") -> str:
        n = len(self.ids) - ROWS_SHOWN
        return f"{before}… {n:,} more" if n > 0 else ""


@dataclass(frozen=True, repr=False)
class TopK:
    """The likeliest next tokens after one position, the likeliest first.

    ids: tuple of int; texts: tuple of str; logits, probabilities: tuples of float. Probabilities are shares of the
    whole vocabulary, so they sum to less than 1.
    """

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __repr__(self) -> str:
        return display.text_table(TOP_K_HEADERS, self._rows)

    def _repr_html_(self) -> str:
        return display.html_table(TOP_K_HEADERS, self._rows)

    @property
    def _rows(self) -> list[display.Row]:
        ranked = enumerate(zip(self.ids, self.logits, self.probabilities, self.texts, strict=True), 1)
        return [
            (str(rank), str(id), f"{logit:.3f}", f"{p:.2%}", visible(text)) for rank, (id, logit, p, text) in ranked
        ]


def _id_with_share(id: int, share: float) -> str:
    return f"{id} ({share:.0%})"


def ids_of_interest(ids: Tensor | Sequence[int], n: int, vocab_size: int) -> Tensor:
    """One token id for each of n rows, int64 [n].

    Raises ValueError where they are not n whole numbers, IndexError for one that the vocabulary does not have.
    """
    targets = torch.as_tensor(ids)
    if targets.shape != (n,) or targets.is_floating_point() or targets.dtype == torch.bool:
        raise ValueError(
            f"The targets have the shape {list(targets.shape)} and the type {str(targets.dtype).removeprefix('torch.')}"
            f", and must be {n} token ids, one for each position."
        )
    for outside in targets[(targets < 0) | (targets >= vocab_size)].tolist():
        raise IndexError(f"There is no token {outside}: the ids are 0 to {vocab_size - 1}.")
    return targets.long()


def rank(unembed: Callable[[Tensor], Tensor], normed: Tensor, targets: Tensor, k: int) -> Ranking:
    """Rank the vocabulary at every position.

    unembed: from [position, d_model] to logits [position, vocab_size]
    normed: [position, d_model], the stream after the final norm
    targets: int64 [position], the token of interest at each position
    """
    positions = zip(torch.split(normed, POSITIONS_AT_ONCE), torch.split(targets, POSITIONS_AT_ONCE), strict=True)
    ranked = [
        _rank_rows(rows.float(), of_interest.to(rows.device), k)
        for block, block_targets in positions
        for rows, of_interest in zip(
            torch.split(unembed(block), ROWS_AT_ONCE), torch.split(block_targets, ROWS_AT_ONCE), strict=True
        )
    ]
    return Ranking(*(torch.cat(parts).cpu() for parts in zip(*ranked, strict=True)))


def _rank_rows(logits: Tensor, targets: Tensor, k: int) -> Ranking:
    values, ids = top_k(logits, k)
    target_logits = logits.gather(1, targets[:, None])
    ahead = _count(logits > target_logits)
    probabilities = logits.softmax(-1)
    likeliest = probabilities.gather(1, ids)
    return Ranking(
        ids=ids,
        logits=values,
        probabilities=likeliest,
        target_probabilities=probabilities.gather(1, targets[:, None])[:, 0],
        target_ranks=ahead + 1,
        target_log_probabilities=(target_logits - values[:, :1] + likeliest[:, :1].log())[:, 0],
    )


def top_k(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest values of each row and their places, [row, k] both; what torch.topk gives, but ten times as fast.

    The k largest stand in the k groups with the largest maxima, so only these are sorted through.
    """
    n = rows.shape[1]
    n_groups = n // GROUP
    if n_groups <= k:
        values, places = rows.topk(min(k, n))
        return values, places
    maxima = torch.unflatten(rows[:, : n_groups * GROUP], 1, (n_groups, GROUP)).amax(-1)
    groups = maxima.topk(k).indices  # [row, k]
    within = torch.arange(GROUP, device=rows.device)
    left_over = torch.arange(n_groups * GROUP, n, device=rows.device).expand(len(rows), -1)
    candidates = torch.cat([(groups[..., None] * GROUP + within).flatten(1), left_over], dim=1)
    values, best = rows.gather(1, candidates).topk(k)
    return values, candidates.gather(1, best)


def _count(flags: Tensor) -> Tensor:
    """int64 [row], how many of each row are True; summed as bytes first, which is several times as fast."""
    n_groups = flags.shape[1] // GROUP
    grouped = torch.unflatten(flags[:, : n_groups * GROUP], 1, (n_groups, GROUP)).view(torch.uint8)
    rest = flags[:, n_groups * GROUP :]
    return grouped.sum(-1, dtype=torch.uint8).sum(-1, dtype=torch.int64) + rest.sum(-1)
