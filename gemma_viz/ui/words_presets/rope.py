"""Why-questions about RoPE: how a score comes to depend on where two tokens stand."""

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.ui.words_presets.preset import Preset, Questions


def _rope(spec: ModelSpec) -> Preset:
    return Preset(
        "RoPE",
        "Why are queries and keys rotated?",
        "Without the rotation a score depends on what two tokens are, and not on where they stand.",
        "What if nothing is rotated?",
        {"off": ("no RoPE", Edits(rope=False))},
        {
            "stays": "The answer stays: here it follows from which words there are, more than from their order. "
            "The causal mask is left, too, and gives a hint of the order. Try a prompt in which the order "
            "matters: one that repeats itself, or counts.",
            "other": "Heads that look at the token just before, or some way back, cannot find it any more.",
        },
    )


def _distance(spec: ModelSpec) -> Preset:
    return Preset(
        "RoPE",
        "Does it matter where the text stands?",
        "A query and a key that are both turned further by the same angle give the same score. So only distances "
        "should count.",
        "Which of these does the most damage to the prediction?",
        {
            "shift": ("every position moved on by 100", Edits(rope_shift=100)),
            "stretch": ("every position multiplied by 2", Edits(rope_stretch=2.0)),
            "shuffle": ("the positions in a random order", Edits(rope_shuffle=0)),
        },
        {
            "shift": "That is not as it should be: all distances are the same after a move.",
            "stretch": "Twice the distance is another distance for every pair of tokens. The move leaves all "
            "distances as they are.",
            "shuffle": "In a random order distances say nothing any more, and “before” can be “after”. The move "
            "leaves all distances as they are.",
            "none": "The move leaves all distances as they are, so it should change nothing. The other two do "
            "change them; here that moves the prediction only a little.",
        },
        "most",
    )


def _theta(spec: ModelSpec) -> Preset:
    return Preset(
        "RoPE",
        "Why fast and slow rotations?",
        f"Each head turns {spec.d_head // 2} pairs of components, the first by one radian a token, the others "
        "slower and slower. How slow the slowest are is set by the base, theta: "
        + " and ".join(f"{theta:,.0f}" for theta in sorted(set(spec.rope_thetas)))
        + " here.",
        "Which of these does the most damage to the prediction?",
        {
            "fast": ("only fast rotations (theta 10)", Edits(rope_theta=10.0)),
            "slow": ("much slower ones (theta 10⁹)", Edits(rope_theta=1e9)),
        },
        {
            "fast": "Without slow pairs content cannot be compared from afar: at each distance every pair has "
            "turned, and the same two words give another score.",
            "slow": "With most pairs nearly at rest, near and far are told apart by few of them.",
            "none": "Few tokens, small distances: neither matters much on this prompt. Try a longer one.",
        },
        "most",
    )


QUESTIONS: Questions = {
    "rope": _rope,
    "distance": _distance,
    "theta": _theta,
}
