"""What a head moves: its output as a vector in the stream, and what that alone does to the prediction."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.nn.functional import cosine_similarity

from gemma_viz.capture import Capture
from gemma_viz.stages import Floats, to_numpy

TOKENS_NAMED = 10


@dataclass(frozen=True)
class HeadOutputs:
    """What the heads of a layer add to the stream of one token.

    lengths, cosines: float32 [head], of each head's addition, and to the stream it is added to
    stream_length, update_length: float, of that stream and of all heads' additions together
    """

    lengths: Floats
    cosines: Floats
    stream_length: float
    update_length: float


@dataclass(frozen=True)
class DirectEffect:
    """What a vector in the stream adds to the logits by itself, later layers aside.

    raised, lowered: int [k], the ids of the tokens whose logits it moves most, up and down
    raised_texts, lowered_texts: tuples of str; raised_by, lowered_by: float32 [k]
    """

    raised: npt.NDArray[np.int64]
    raised_texts: tuple[str, ...]
    raised_by: Floats
    lowered: npt.NDArray[np.int64]
    lowered_texts: tuple[str, ...]
    lowered_by: Floats


def head_outputs(cap: Capture, layer: int, position: int) -> HeadOutputs:
    """What the heads of a layer add to the stream of one token."""
    outputs, stream = cap.head_outputs(layer, position), cap.resid_pre(layer)[position]
    return HeadOutputs(
        lengths=to_numpy(outputs.norm(dim=-1)),
        cosines=to_numpy(cosine_similarity(outputs, stream[None], dim=-1)),
        stream_length=float(stream.norm()),
        update_length=float(outputs.sum(0).norm()),
    )


def direct_effect(cap: Capture, layer: int, head: int, position: int, k: int = TOKENS_NAMED) -> DirectEffect:
    """Which vocabulary tokens a head's output raises and lowers after a position."""
    logits = cap.direct_logits(cap.head_outputs(layer, position)[[head]], position)[0]
    raised, lowered = logits.topk(min(k, len(logits))), (-logits).topk(min(k, len(logits)))
    texts = cap.model.token_text
    return DirectEffect(
        raised=raised.indices.numpy(),
        raised_texts=tuple(map(texts, raised.indices.tolist())),
        raised_by=to_numpy(raised.values),
        lowered=lowered.indices.numpy(),
        lowered_texts=tuple(map(texts, lowered.indices.tolist())),
        lowered_by=to_numpy(-lowered.values),
    )
