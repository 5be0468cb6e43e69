"""Why-questions about the stream: what enters it, what is added to it, and its norms."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words import size
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _scale(spec: ModelSpec) -> Preset:
    return Preset(
        "Embedding",
        "Why are embedding rows multiplied by √d_model?",
        f"A token's row is multiplied by √{spec.d_model:,} = {size(spec.embedding_scale)} before it enters the "
        "stream, so that it is larger beside what the layers will add to it.",
        "What if the rows enter the stream as they are stored?",
        {"off": ("no rescaling of the embedding", Edits(embedding_scale=False))},
        {
            "stays": "On this prompt the answer survives. RMSNorm gives the layers inputs of one size anyway; only "
            "the share of the embedding in the stream has become smaller.",
            "other": "RMSNorm would mend a wrong scale, if the stream were nothing but the embedding. But the "
            "layers add vectors of the size that they have learned, and beside these the token's own row is now "
            "small: the stream says less about which token it is.",
        },
    )


def _residual(spec: ModelSpec) -> Preset:
    return Preset(
        "Residual stream",
        "Why is a sublayer's output added to the stream?",
        "Attention and MLP add to the stream what they compute. So every earlier vector is still in the sum, and a "
        "sublayer only has to contribute a part.",
        "What if their output takes the stream's place, instead of being added to it?",
        {
            "off": (
                "no residual connections",
                Edits(attention_residual=False, mlp_residual=False),
            )
        },
        {
            "stays": "On this prompt the answer survives even so, which is a surprise: each sublayer now has to "
            "hand on all that the later ones need.",
            "other": "Every sublayer would have to hand on all that later ones need, and none has learned to: "
            "what it does not repeat is lost. Training needs the sum too, because gradients pass through it "
            "undisturbed; that cannot be seen in one pass.",
        },
    )


def _norms(spec: ModelSpec) -> Preset:
    where = "before and after" if spec.post_norms else "before"
    return Preset(
        "Norms",
        "Why RMSNorm around every attention and MLP?",
        f"RMSNorm stands {where} every attention and every MLP. It divides a vector by its own root mean square, "
        "so that what is computed does not depend on its scale.",
        "What if these norms are left out?",
        {"off": ("no norms around attention and MLP", Edits(norms=False))},
        {
            "stays": "On this prompt the answer survives without them.",
            "other": "The numbers stay in range, but every sublayer is given inputs of a size it was not trained on.",
            "none": "A large input makes a large update, and that a larger input for the next sublayer. Gate × up "
            "even multiplies two of them. After some layers float32 has no numbers as large.",
        },
    )


def _final_norm(spec: ModelSpec) -> Preset:
    return Preset(
        "Norms",
        "Why a norm before the output?",
        "The stream has grown through all the layers. The final norm brings it to one size before it is compared "
        "with every token's vector.",
        "What if the stream goes to the output unnormed?",
        {"off": ("no final norm", Edits(final_norm=False))},
        {
            "stays": "A norm divides all components by one number, which alone could not change the order of the "
            "logits, only how far apart they are. It also multiplies each with a learned factor; on this prompt "
            "the likeliest token does not depend on that.",
            "other": "Dividing by one number could not change the order of the logits. But the norm also "
            "multiplies every component with a factor that it has learned, and without these other components "
            "decide.",
        },
    )


def _qk_norms(spec: ModelSpec) -> Preset | None:
    if not spec.qk_norm:
        return None
    return Preset(
        "Norms",
        "Why are queries and keys normalised?",
        "Gemma 3 normalises every query and key before they are turned, so that scores cannot grow without limit. "
        "Gemma 2 had a soft-cap for that.",
        "What if they are used as they come?",
        {"off": ("no norms of queries and keys", Edits(qk_norms=False))},
        {
            "stays": "The answer stays, although scores have another size now.",
            "other": "Scores have another size now, and the learned factors of the norms are missing in them: "
            "heads look more narrowly or more widely than they have learned to.",
        },
    )


QUESTIONS: Questions = {
    "scale": _scale,
    "residual": _residual,
    "norms": _norms,
    "final_norm": _final_norm,
    "qk_norms": _qk_norms,
}
