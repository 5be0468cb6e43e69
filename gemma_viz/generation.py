"""Generation: a text that grows token by token, from a capture of its beginning.

The keys and values of the capture are used again, and those of each new token are kept, so that a step runs the model
on one token only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Cache

from gemma_viz.capture import Capture
from gemma_viz.model import Model
from gemma_viz.run import Run, running
from gemma_viz.sampling import Sampling, choose
from gemma_viz.tokens import token_text

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # what a decoder writes for bytes that are no whole character


@dataclass(frozen=True)
class NewToken:
    """One token that was added.

    id: int; ids: tuple of int, all that have been added so far
    text: str, all text that has been added so far, without a character that is not whole yet
    piece: str, what this token adds; probability: float, the model's own, before any sampling step
    is_end: bool, whether the model says with it that the text is over
    """

    id: int
    ids: tuple[int, ...]
    text: str
    piece: str
    probability: float
    is_end: bool


def generate(cap: Capture, sampling: Sampling, n_tokens: int) -> Iterator[NewToken]:
    """Add tokens to a captured text, one by one; stops after a token that ends the text, or at the token limit.

    The token at position p is drawn with the p-th random number of the seed, so that going on from a longer text gives
    the same tokens as one long run. Raises SamplingError where the logits are not numbers.
    """
    model, ids = cap.model, cap.token_ids.tolist()
    new: list[int] = []
    logits, past = cap.logits([-1])[0], cap.past()
    for _ in range(min(n_tokens, model.token_limit - len(ids))):
        token = drawn(model, logits, ids, new, sampling)
        yield token
        if token.is_end:
            return
        id = token.id
        ids.append(id)
        new.append(id)
        if cap.edits.look_ahead:  # what came before is no longer what it was
            logits = model.capture_ids(ids, cap.edits).logits([-1])[0]
        else:
            logits = next_logits(cap, torch.tensor([id]), past)


def drawn(model: Model, logits: Tensor, ids: Sequence[int], new: Sequence[int], sampling: Sampling) -> NewToken:
    """The token that comes after some others. ids: all of them; new: the last ones, which were added before."""
    id = choose(logits, list(ids), sampling, step=len(ids) - 1)
    added = [*new, id]
    text = model.tokenizer.decode(added, clean_up_tokenization_spaces=False).rstrip(REPLACEMENT)
    probability = float(logits.softmax(-1)[id])
    return NewToken(id, tuple(added), text, token_text(model.tokenizer, id), probability, id in model.end_ids)


def next_logits(cap: Capture, ids: Tensor, past: Cache) -> Tensor:
    """Run a capture's model on tokens that follow those in `past`, which grows: the last logits, float32 [vocab_size].

    ids: int64 [position]
    """
    model = cap.model
    with running(Run((), cap.edits)):
        output = model.hf.model(ids[None].to(model.device), past_key_values=past, use_cache=True)
        return cap.unembed(output.last_hidden_state[0, -1:])[0]
