"""The why-questions of the walk as experiments: what is asked, what is changed, and what each result says.

The questions follow Douglas Orr, "A transformer walk-through, with Gemma" (2024).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gemma_viz.edits import Edits
from gemma_viz.spec import ModelSpec
from gemma_viz.stages.experiments import Outcome
from gemma_viz.ui.words import CLEARLY, size

Measure = Literal["answer", "most", "first"]

ANSWERS = {
    "stays": "The same token stays the likeliest",
    "other": "Another token becomes the likeliest",
    "none": "There is no prediction: the numbers run out of range",
}
NO_EFFECT = {
    "most": "None of them changes the prediction strongly",
    "first": "The likeliest token stays the same with all of them",
}


@dataclass(frozen=True)
class Preset:
    """A why-question of the walk, as an experiment.

    stage: str, where it belongs; question: str; step: str, what the model does there, in Markdown
    ask: str, what is to be foreseen
    changes: by a key, the name of a change (it completes "with …") and the Edits
    said: what a result says, in Markdown, by the key of a guess; only one is ever shown, and "none" often says it all
    measure: "answer": what becomes of the likeliest token, with the only change
        "most": which change does the most damage to the prediction; "none" if none does much
        "first": the first change, in their order, with which the likeliest token is another; "none" if with none
    loss_said: what it says that the loss on the prompt "falls" or "rises"; for a single change, where it says something
    """

    stage: str
    question: str
    step: str
    ask: str
    changes: Mapping[str, tuple[str, Edits]]
    said: Mapping[str, str]
    measure: Measure = "answer"
    loss_said: Mapping[str, str] = field(default_factory=dict)

    @property
    def guesses(self) -> dict[str, str]:
        """What can be foreseen, by key."""
        if self.measure == "answer":
            return ANSWERS
        named = {key: name[:1].upper() + name[1:] for key, (name, _) in self.changes.items()}
        return {**named, "none": NO_EFFECT[self.measure]}

    def result(self, outcomes: Sequence[Outcome]) -> str:
        """The key of the guess that is true. outcomes: of the changes, in their order."""
        keys = list(self.changes)
        if self.measure == "answer":
            return "none" if not outcomes[0].is_finite else "stays" if outcomes[0].keeps_the_answer else "other"
        if self.measure == "first":
            return next((key for key, one in zip(keys, outcomes, strict=True) if not one.keeps_the_answer), "none")
        worst = max(range(len(keys)), key=lambda i: outcomes[i].damage)
        return keys[worst] if outcomes[worst].damage >= CLEARLY else "none"


def presets(spec: ModelSpec) -> dict[str, Preset]:
    """The questions that a model can answer, in the order of the walk, by their names in the address."""
    parts = (_embedding_and_norms, _attention, _rope, _mlp, _layers_and_output)
    return {name: preset for part in parts for name, preset in part(spec).items()}


def _embedding_and_norms(spec: ModelSpec) -> dict[str, Preset]:
    where = "before and after" if spec.post_norms else "before"
    found = {
        "scale": Preset(
            "Embedding",
            "Why are embedding rows multiplied by √d_model?",
            f"A token's row is multiplied by √{spec.d_model:,} = {size(spec.embedding_scale)} before it enters the "
            "stream, so that it is not small beside what the layers will add to it.",
            "What if the rows enter the stream as they are stored?",
            {"off": ("no rescaling of the embedding", Edits(embedding_scale=False))},
            {
                "stays": "On this prompt the answer survives. RMSNorm gives the layers inputs of one size anyway; only "
                "the share of the embedding in the stream has become smaller.",
                "other": "RMSNorm would mend a wrong scale, if the stream were nothing but the embedding. But the "
                "layers add vectors of the size that they have learned, and beside these the token's own row is now "
                "small: the stream says less about which token it is.",
            },
        ),
        "residual": Preset(
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
        ),
        "norms": Preset(
            "Norms",
            "Why RMSNorm around every attention and MLP?",
            f"RMSNorm stands {where} every attention and every MLP. It divides a vector by its own root mean square, "
            "so that what is computed does not depend on its scale.",
            "What if these norms are left out?",
            {"off": ("no norms around attention and MLP", Edits(norms=False))},
            {
                "stays": "On this prompt the answer survives without them.",
                "other": "The numbers stay in range, but every sublayer is given inputs of a size it was not trained "
                "on.",
                "none": "A large input makes a large update, and that a larger input for the next sublayer. Gate × up "
                "even multiplies two of them. After some layers float32 has no numbers as large.",
            },
        ),
        "final_norm": Preset(
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
        ),
    }
    if spec.qk_norm:
        found["qk_norms"] = Preset(
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
    return found


def _attention(spec: ModelSpec) -> dict[str, Preset]:
    every_head = tuple((head, 0) for head in range(1, spec.n_heads))
    unscaled = size(1 / spec.attention_scale)
    found = {
        "attention": Preset(
            "Attention",
            "Why attention?",
            "Attention is the only step in which a token can take something over from another. All others work on each "
            "token by itself.",
            "What if it adds nothing, in all layers?",
            {"off": ("no attention", Edits(attention=False))},
            {
                "stays": "On this prompt the last token alone is enough for the same answer: nothing else of the text "
                "has reached it.",
                "other": "The prediction is now made from the selected token alone, as if nothing stood before it; and "
                "the MLPs are given streams without what attention always adds.",
                "none": "The MLPs are given streams that they have never seen, and their sums leave the range of "
                "numbers.",
            },
        ),
        "mask": Preset(
            "Attention",
            "Why a causal mask?",
            "In training every token is to be predicted from those before it, all of them in one pass. A token that "
            "could look ahead would simply see its answer, and nothing would be learned. The mask hides later tokens.",
            "What if this trained model may look ahead?",
            {"off": ("no causal mask", Edits(causal_mask=False))},
            {
                "stays": "The answer stays. The last token could see everything before it anyway; what differs is "
                "that the tokens it reads from have looked ahead. Select an earlier token to see more of a change.",
                "other": "The tokens have read from later ones, which they were never trained to do, so that the last "
                "one reads other things from them.",
            },
            loss_said={
                "falls": "The loss falls, because tokens now see the very token that they are to predict. In training "
                "that is what the mask prevents: the loss would be small, and nothing learned.",
                "rises": "The loss does not fall, although tokens could now see the very token that they are to "
                "predict: this model has never learned to look there.",
            },
        ),
        "sqrt": Preset(
            "Attention",
            f"Why are the scores divided by {unscaled}?",
            f"A score is the product of a query and a key of {spec.d_head:,} components each, divided by {unscaled}. "
            "The more components, the larger are products; the softmax of large numbers puts all weight on one token.",
            "What if the scores are not divided?",
            {
                "off": (
                    f"scores {unscaled} times as large",
                    Edits(attention_temperature=spec.attention_scale),
                )
            },
            {
                "stays": "The answer stays although heads now look much more narrowly. In training it would matter "
                "more: where a softmax is sure, hardly any gradient passes.",
                "other": "Heads now look much more narrowly, and the averages that they had learned to make are gone.",
            },
        ),
        "weights": Preset(
            "Attention",
            "Why weights from queries and keys?",
            "How much a token reads of each other one is decided by its query and their keys, anew for every text.",
            "Which of these does the most damage to the prediction?",
            {
                "uniform": ("the same weight on every token seen", Edits(pattern="uniform")),
                "own": ("all weight on the token itself", Edits(pattern="own")),
            },
            {
                "uniform": "A plain average of all tokens is worse than reading none of the others: too much of it is "
                "what no head wanted, the first token's value among it, on which heads often rest when they want "
                "nothing.",
                "own": "Reading nothing of the others is worse than a plain average of all of them.",
                "none": "On this prompt it hardly matters what is read from where.",
            },
            "most",
        ),
        "window": Preset(
            "Attention",
            "How far back has attention to look?",
            (
                f"Some layers see a window of {spec.sliding_window:,} tokens, which is cheaper in a long text."
                if spec.sliding_window
                else "Every token may look at all tokens before it."
            )
            + " Narrower windows can be tried.",
            "With which of these windows does the likeliest token change first?",
            {
                "16": ("a window of 16 tokens", Edits(window=16)),
                "4": ("a window of 4 tokens", Edits(window=4)),
                "1": ("a window of 1 token", Edits(window=1)),
            },
            {
                "16": "Already what stands more than 15 tokens back is needed: content, or just the first token, on "
                "which many heads rest.",
                "4": "What stands more than 3 tokens back is needed: content, or just the first token, on which many "
                "heads rest.",
                "1": "The last few tokens are enough for this answer, but not the token alone.",
                "none": "The answer needs nothing from other tokens, or gets it through the layers that keep looking "
                "at the whole text.",
            },
            "first",
        ),
    }
    if spec.n_heads > 1:
        found["heads"] = Preset(
            "Attention",
            "Why several heads?",
            f"A layer has {spec.n_heads} heads, which read with different queries. "
            + (
                f"They share {spec.n_kv_heads} "
                + ("set" if spec.n_kv_heads == 1 else "sets")
                + " of keys and values, which saves memory while a text is generated."
                if spec.group_size > 1
                else "Each has its own keys and values."
            ),
            "What if all heads of a layer ask with the queries of head 0?",
            {"off": ("the queries of head 0 in all heads", Edits(queries_from=every_head))},
            {
                "stays": "The answer stays: what the heads of this model ask differently was not needed for it. Look "
                "at the KL divergence for how much the rest of the distribution has changed.",
                "other": "Heads that share keys, and now queries, look at the same tokens, and what the others would "
                "have found is missing.",
            },
        )
    if spec.attention_softcap:
        found["scores_softcap"] = Preset(
            "Attention",
            "Why are scores capped?",
            f"Gemma 2 sends every score through c · tanh(x / c) with c = {spec.attention_softcap:g} before the "
            "softmax.",
            "What if the cap is left out?",
            {"off": ("no soft-cap of the scores", Edits(attention_softcap=False))},
            {
                "stays": "The answer stays: few scores are so large here that the cap bends them much, or what they "
                "decide was not needed.",
                "other": "Large scores are larger now, and heads look more narrowly than they have learned to.",
            },
        )
    return found


def _rope(spec: ModelSpec) -> dict[str, Preset]:
    found = {
        "rope": Preset(
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
        ),
        "distance": Preset(
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
        ),
        "theta": Preset(
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
        ),
    }
    return found


def _mlp(spec: ModelSpec) -> dict[str, Preset]:
    found = {
        "mlp": Preset(
            "MLP",
            "Why an MLP?",
            "Between two attentions every token passes an MLP by itself. Most of a layer's weights are in it.",
            "What if it adds nothing, in all layers?",
            {"off": ("no MLP", Edits(mlp=False))},
            {
                "stays": "On this prompt attention alone, from the embeddings on, finds the same answer.",
                "other": "Attention only mixes what there is. What is made of the mix is missing.",
            },
        ),
        "nonlinearity": Preset(
            "MLP",
            "Why a nonlinearity?",
            "The gate goes through GELU, which makes nearly nothing of numbers below zero: a neuron is on or off.",
            "What if the gate is used as it is?",
            {"off": ("the gate as it is, without GELU", Edits(activation="identity"))},
            {
                "stays": "The likeliest token is the same, though gates below zero now count too. Look at the loss and "
                "the KL divergence for how well the rest survives.",
                "other": "Neurons that should be off now add their vectors with the opposite sign. (Gate × up is "
                "still a product, so that even this is not a linear map.)",
            },
        ),
        "relu": Preset(
            "MLP",
            "Why GELU, and not ReLU?",
            "ReLU, max(0, x), is simpler: it cuts at zero. GELU is the same far from zero, and smooth around it.",
            "What if ReLU stands in the place of GELU, in a model that was trained with GELU?",
            {"off": ("ReLU in the place of GELU", Edits(activation="relu"))},
            {
                "stays": "The likeliest token is the same. GELU's small negative values are cut off, which the KL "
                "divergence measures; that a model trained with ReLU would be worse cannot be seen here.",
                "other": "Small as they are, the values of GELU below zero count: what they add is missing, in every "
                "layer. A model trained with ReLU would not have this problem.",
            },
        ),
        "gate": Preset(
            "MLP",
            "Why a gate?",
            "An MLP of Gemma has two projections into its neurons: gate, through GELU, says how far a neuron is open, "
            "and up says what goes through.",
            "What if all neurons are open, and up goes through as it is?",
            {"off": ("no gate in the MLP", Edits(gate=False))},
            {
                "stays": "On this prompt the answer survives with all neurons open.",
                "other": "Every neuron now adds its vector, the many that should be shut too, and the MLP has become a "
                "linear map: it can no longer treat one token otherwise than another.",
                "none": "All neurons add their vectors, and the sums leave the range of numbers.",
            },
        ),
    }
    return found


def _layers_and_output(spec: ModelSpec) -> dict[str, Preset]:
    middle, last = spec.n_layers // 2, spec.n_layers - 1
    found = {
        "which": Preset(
            "Layers",
            "Is one sublayer more important than the other?",
            "Every layer has an attention and an MLP.",
            "Which of these does the most damage to the prediction?",
            {
                "attention": ("no attention", Edits(attention=False)),
                "mlp": ("no MLP", Edits(mlp=False)),
            },
            {
                "attention": "Here the model needs the other tokens more than what the MLPs make of each.",
                "mlp": "Here the model needs what the MLPs make of each token more than the other tokens.",
                "none": "This prompt hardly needs either: look for one that does.",
            },
            "most",
        ),
        "layers": Preset(
            "Layers",
            "Does every layer count the same?",
            f"{spec.n_layers} layers of the same build stand one after the other, and each only adds to the stream. So "
            "one can be taken out.",
            "Which of these does the most damage to the prediction?",
            {
                "first": ("no layer 0", Edits(attention=False, mlp=False).only_in(0)),
                "middle": (f"no layer {middle}", Edits(attention=False, mlp=False).only_in(middle)),
                "last": (f"no layer {last}", Edits(attention=False, mlp=False).only_in(last)),
            },
            {
                "first": "The first layer works on bare embeddings, and all the others build on what it makes of them.",
                "middle": "This layer adds something here that the others do not make up for.",
                "last": "What the last layer adds goes straight to the output; nothing after it could make up for it.",
                "none": "Each only adds to the stream, and the others make up for one that is missing.",
            },
            "most",
        ),
        "bits": Preset(
            "Weights",
            "Can weights be rounded?",
            "A matrix of random-looking numbers may not need all their digits. Each output's weights are rounded to "
            "steps between plus and minus the largest.",
            "From how many bits on does the likeliest token change?",
            {
                "8": ("weights of 8 bits", Edits(weight_bits=8)),
                "4": ("weights of 4 bits", Edits(weight_bits=4)),
                "2": ("weights of 2 bits", Edits(weight_bits=2)),
            },
            {
                "8": "Another token leads with 8 bits already. Look at the KL divergence: where two tokens are nearly "
                "as likely, a very small change is enough for that.",
                "4": "8 bits leave the likeliest token as it is, 4 do not. Formats that are used in practice share a "
                "step among few weights, and so come through with 4.",
                "2": "Even 4 bits leave the likeliest token as it is. With 2 a weight is only minus, zero or plus.",
                "none": "On this prompt even minus, zero and plus are enough for the same likeliest token.",
            },
            "first",
        ),
        "unembed": Preset(
            "Output",
            "What does the output projection do, and why is it the embedding table?",
            "Every token has a vector; its logit is the product of that with the stream. "
            + (
                "In Gemma these are the rows of the embedding table, so that they are learned once."
                if spec.tied
                else "In this model they are not the rows of the embedding table."
            ),
            "What if they are random vectors of the same size?",
            {"off": ("a random output projection", Edits(unembedding_seed=0))},
            {
                "stays": f"Among {spec.vocab_size:,} tokens that is chance, and a rare one.",
                "other": "The stream still holds the answer, but as a direction: it means something only beside the "
                "vectors that were learned together with it.",
            },
        ),
    }
    if spec.final_softcap:
        found["softcap"] = Preset(
            "Output",
            "Why are logits capped?",
            f"Gemma 2 sends every logit through c · tanh(x / c) with c = {spec.final_softcap:g}, so that none can run "
            "away in training.",
            "What if the cap is left out?",
            {"off": ("no soft-cap of the logits", Edits(final_softcap=False))},
            {
                "stays": "It has to: the curve only rises, so that the order of the logits is the same with it and "
                "without. Only how far apart they are changes, and with it the probabilities.",
                "other": "The curve only rises, so that the order can change only where logits are so near the cap "
                "that rounding makes them equal.",
            },
        )
    return found
