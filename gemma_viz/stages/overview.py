"""Overview: the sizes and scales of the whole pass."""

from dataclasses import dataclass

from gemma_viz.capture import Capture
from gemma_viz.ranking import TopK
from gemma_viz.spec import ModelSpec
from gemma_viz.stages import counted, rms


@dataclass(frozen=True)
class Overview:
    """spec: ModelSpec; n_characters, n_positions: int; position: int, the token that the scales below belong to

    embedding_factor: float, what its row is multiplied with
    raw_rms, embedded_rms: float, RMS of the token's row as stored and after the rescaling
    first_layer_rms, last_rms, normed_rms: float, RMS of its stream after the first and the last layer and after the
        final norm
    top: TopK, what is likeliest to come after it
    """

    spec: ModelSpec
    n_characters: int
    n_positions: int
    position: int
    token_id: int
    embedding_factor: float
    raw_rms: float
    embedded_rms: float
    first_layer_rms: float
    last_rms: float
    normed_rms: float
    top: TopK


@counted
def overview(cap: Capture, position: int) -> Overview:
    """Sizes and scales of the pass, for one token."""
    return Overview(
        spec=cap.model.spec,
        n_characters=len(cap.text),
        n_positions=len(cap),
        position=position,
        token_id=cap.tokens[position].id,
        embedding_factor=cap.embedding_factor,
        raw_rms=float(rms(cap.model.embedding[cap.tokens[position].id])),
        embedded_rms=float(rms(cap.resid_pre(0)[position])),
        first_layer_rms=float(rms(cap.resid_post(0)[position])),
        last_rms=float(rms(cap.resid_post(-1)[position])),
        normed_rms=float(rms(cap.final_norm()[position])),
        top=cap.top_k(10, position),
    )
