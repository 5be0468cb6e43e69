"""What a head moves: its output as a vector in the stream, and what that alone does to the prediction."""

from dataclasses import dataclass

from torch.nn.functional import cosine_similarity

from gemma_viz.capture import Capture
from gemma_viz.stages import Floats, counted, to_numpy
from gemma_viz.stages.extremes import Extremes, extremes

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


@counted
def head_outputs(cap: Capture, layer: int, position: int) -> HeadOutputs:
    """What the heads of a layer add to the stream of one token."""
    outputs, stream = cap.head_outputs(layer, position), cap.resid_pre(layer)[position]
    return HeadOutputs(
        lengths=to_numpy(outputs.norm(dim=-1)),
        cosines=to_numpy(cosine_similarity(outputs, stream[None], dim=-1)),
        stream_length=float(stream.norm()),
        update_length=float(outputs.sum(0).norm()),
    )


@counted
def direct_effect(cap: Capture, layer: int, head: int, position: int, k: int = TOKENS_NAMED) -> Extremes:
    """Which tokens a head's output raises and lowers after a position, later layers aside.

    The values are changes of the logits, less their average over the vocabulary: a softmax sees differences only.
    """
    logits = cap.direct_logits(cap.head_outputs(layer, position)[[head]], position)[0]
    return extremes(cap.model, logits - logits.mean(), k)
