"""The glossary: the terms of the walk in plain words, and links to them from the sentences that use them.

What a term means is said here and nowhere else. What it comes to in a prompt is shown by its page.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """name: str; means: str, Markdown, the first sentence stands by itself; source: str, a Markdown link, or "" """

    name: str
    means: str
    source: str = ""

    @property
    def anchor(self) -> str:
        """Its place in the page's address."""
        return _anchor(self.name)

    @property
    def in_short(self) -> str:
        """The first sentence, as plain text."""
        return self.means.partition(". ")[0].rstrip(".").replace("`", "").replace("*", "") + "."


@dataclass(frozen=True)
class Chapter:
    """The terms that a page of the walk explains. title, file: str, of the page; terms: tuple of Term"""

    title: str
    file: str
    terms: tuple[Term, ...]

    @property
    def anchor(self) -> str:
        """Its place in the page's address."""
        return _anchor(f"page {self.title}")


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


GEMMA = "[Gemma (2024)](https://arxiv.org/abs/2403.08295)"
GEMMA_2 = "[Gemma 2 (2024)](https://arxiv.org/abs/2408.00118)"
CIRCUITS = "[Elhage et al. (2021)](https://transformer-circuits.pub/2021/framework/index.html)"

CHAPTERS = (
    Chapter(
        "Overview",
        "overview.py",
        (
            Term(
                "language model",
                "A function that takes a text and gives, for every token of its vocabulary, the probability that it "
                "comes next. It was fitted to a very large amount of text; nobody wrote its rules.",
            ),
            Term(
                "transformer",
                "A language model built of equal layers, each with an attention and an MLP. Gemma is one that only "
                "looks back, which makes it able to write (a decoder).",
                "[Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762)",
            ),
            Term("prompt", "The text that you give to the model."),
            Term(
                "parameter",
                "One of the numbers that training has set, also called a weight. They are the same for every prompt; "
                "what differs is what flows through them.",
            ),
            Term(
                "vector",
                "A list of numbers, seen as an arrow in a space with as many directions. Two vectors are alike "
                "where they point the same way.",
            ),
            Term(
                "layer",
                "One attention and one MLP, one after the other. Layers are numbered from 0 here, as in the code.",
            ),
            Term("position", "Where a token stands in the prompt, counted from 0. At 0 stands `<bos>`."),
            Term(
                "run",
                "Your prompt, once through the model. Everything on a page is taken from that one run, or from a "
                "second one in which something is changed.",
            ),
        ),
    ),
    Chapter(
        "Tokenization",
        "pages/1_Tokenization.py",
        (
            Term(
                "token",
                "A piece of text that the model knows by a number, its id. Often a word with the space before it, "
                "sometimes a part of a word, a sign, or a single byte.",
            ),
            Term("vocabulary", "The fixed list of all tokens. An id is a place in this list."),
            Term(
                "special token",
                "A token that stands for no text but for a place in it. `<bos>` is the beginning of every text; "
                "others end it, or mark whose turn it is.",
            ),
            Term(
                "BPE",
                "Byte-pair encoding: the cut begins with single characters and joins, again and again, the two "
                "neighbours whose joint entry was learned first. Characters that are in no entry are cut into bytes "
                "(byte fallback).",
                "[Sennrich et al. (2015)](https://arxiv.org/abs/1508.07909)",
            ),
        ),
    ),
    Chapter(
        "Embedding",
        "pages/2_Embedding.py",
        (
            Term(
                "embedding",
                "The vector that stands for a token: the row of a learned table whose number is the token's id.",
            ),
            Term(
                "rescaling",
                "Gemma multiplies an embedding with the square root of how many numbers it has, `sqrt(d_model)`, "
                "before it enters the residual stream.",
                GEMMA,
            ),
            Term(
                "cosine",
                "How far two vectors point the same way: 1 where they do, 0 where they have nothing to do with each "
                "other, −1 where they are opposite. It is their dot product, divided by both lengths.",
            ),
            Term(
                "dot product",
                "The products of two vectors' components, added up. It is large where both are long and point the "
                "same way.",
            ),
        ),
    ),
    Chapter(
        "Transformer layer",
        "pages/3_Transformer_layer.py",
        (
            Term(
                "residual stream",
                "The vector that every token carries through all layers. Attention and MLP read it and add to it; "
                "nothing else changes it.",
                CIRCUITS,
            ),
            Term("sublayer", "An attention or an MLP: one of the two steps of a layer."),
            Term("update", "What a sublayer adds to the residual stream."),
            Term(
                "RMS",
                "Root mean square: the square root of the mean of a vector's squared components. It says how large "
                "a typical component is.",
            ),
            Term(
                "RMSNorm",
                "A vector is divided by its RMS and multiplied, component by component, with learned factors. "
                "So a sublayer reads numbers of one size, whatever the scale of the stream.",
                "[Zhang and Sennrich (2019)](https://arxiv.org/abs/1910.07467)",
            ),
            Term(
                "logit lens",
                "What the model would predict if the stream went from here straight to the output.",
                "[nostalgebraist (2020)](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens)",
            ),
        ),
    ),
    Chapter(
        "Attention",
        "pages/4_Attention.py",
        (
            Term(
                "attention",
                "The step in which tokens read from each other: every token weighs the tokens up to itself and adds "
                "a mixture of what they offer to its own stream.",
                "[Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762)",
            ),
            Term("head", "One of several attentions that work side by side in a layer, each with weights of its own."),
            Term("query", "What a token looks for, a vector of `d_head` numbers in every head."),
            Term("key", "What a token is found by: a query is compared with it, by a dot product."),
            Term("value", "What a token hands over to those who look at it."),
            Term(
                "score",
                "How well a query fits a key: their dot product, times a fixed scale, 1 / sqrt(d_head) in Gemma 2B.",
            ),
            Term(
                "softmax",
                "Makes positive numbers that sum to 1 of any numbers: exp of each, divided by the sum of all. "
                "What is larger by 1 gets e ≈ 2.7 times as much.",
            ),
            Term(
                "pattern",
                "A head's attention weights, after the softmax: a row for each query, a column for each key, and "
                "every row sums to 1.",
            ),
            Term(
                "causal mask",
                "Hides from every token all that come after it: their scores are set to −∞, so they get no weight.",
            ),
            Term(
                "multi-query attention",
                "All query heads share one key head and one value head, so that there is less to keep. "
                "With several groups, each with its own, it is called grouped-query attention, and with one for "
                "each head multi-head attention.",
                "[Shazeer (2019)](https://arxiv.org/abs/1911.02150), "
                "[Ainslie et al. (2023)](https://arxiv.org/abs/2305.13245)",
            ),
            Term(
                "key/value cache",
                "Keys and values of the tokens so far, kept while a text grows. They do not change when a token is "
                "added at the end, because nothing looks forward.",
            ),
            Term(
                "local layer",
                "A layer whose attention sees only the last tokens, its window. Gemma 2 and 3 have them; the "
                "first Gemma has none.",
                GEMMA_2,
            ),
            Term(
                "induction",
                "What a head does that looks for an earlier occurrence of the token and reads the one that came "
                "after it, which lets a repetition go on.",
                "[Olsson et al. (2022)](https://arxiv.org/abs/2209.11895)",
            ),
        ),
    ),
    Chapter(
        "RoPE",
        "pages/5_RoPE.py",
        (
            Term(
                "RoPE",
                "Rotary position embedding: queries and keys are turned, pair by pair of components, by an angle "
                "that grows with the position. So a score depends on how far apart the two tokens stand.",
                "[Su et al. (2021)](https://arxiv.org/abs/2104.09864)",
            ),
            Term("pair", "Two components of a query or a key that RoPE turns together, like the hand of a clock."),
            Term(
                "wavelength",
                "How many tokens it takes a pair to turn once around. The slowest take many more than a prompt has.",
            ),
        ),
    ),
    Chapter(
        "MLP",
        "pages/6_MLP.py",
        (
            Term(
                "MLP",
                "Multi-layer perceptron: the step in which every token works by itself, with thousands of neurons.",
            ),
            Term(
                "neuron",
                "One gate, one up value and one column of the down-projection. It adds its column to the stream, "
                "times gelu(gate) × up.",
            ),
            Term("gate", "The dot product of the normalised stream with a neuron's gate vector. Above 0 it is open."),
            Term("up", "The dot product of the normalised stream with a neuron's second vector."),
            Term(
                "GELU",
                "A soft switch: it lets large numbers through, makes those far below 0 nearly 0, and bends in between.",
                "[Hendrycks and Gimpel (2016)](https://arxiv.org/abs/1606.08415)",
            ),
            Term(
                "GeGLU",
                "An MLP with gates: down(gelu(gate) × up). Without gates it would be down(gelu(up)).",
                "[Shazeer (2020)](https://arxiv.org/abs/2002.05202)",
            ),
            Term(
                "down-projection",
                "The matrix that makes a vector of the stream's length of what comes through the gates.",
            ),
        ),
    ),
    Chapter(
        "Output",
        "pages/7_Output.py",
        (
            Term("final norm", "The last RMSNorm, between the last layer and the output projection."),
            Term(
                "output projection",
                "Compares the stream with a vector for every token of the vocabulary, also called unembedding. In "
                "Gemma it is the embedding table itself: the two are tied.",
                "[Press and Wolf (2016)](https://arxiv.org/abs/1608.05859)",
            ),
            Term("logit", "A token's result at the output projection. Only differences of logits count."),
            Term("probability", "What the softmax makes of the logits. Over the whole vocabulary they sum to 1."),
            Term(
                "soft-cap",
                "Bends large numbers so that none exceeds a bound: c · tanh(x / c). Gemma 2 has it for scores and "
                "logits; the first Gemma and Gemma 3 have none.",
                GEMMA_2,
            ),
            Term(
                "direct effect",
                "What a part's update does to a logit without any later part's help: straight through the final norm, "
                "its divisor held fixed, to the output projection.",
                CIRCUITS,
            ),
        ),
    ),
    Chapter(
        "Generation",
        "pages/8_Generation.py",
        (
            Term("generation", "A token is chosen, put at the end, and the longer text runs again."),
            Term("greedy", "The likeliest token is chosen every time."),
            Term(
                "temperature",
                "Divides the logits before the softmax. Below 1 the likely tokens gain, above 1 the others.",
            ),
            Term("top-k", "Only the k likeliest tokens can be drawn."),
            Term(
                "top-p",
                "Only the likeliest tokens that together have the probability p can be drawn.",
                "[Holtzman et al. (2019)](https://arxiv.org/abs/1904.09751)",
            ),
            Term(
                "min-p",
                "Only tokens that are at least p times as likely as the likeliest can be drawn.",
                "[Nguyen et al. (2024)](https://arxiv.org/abs/2407.01082)",
            ),
            Term(
                "repetition penalty",
                "Makes tokens that the text has already less likely.",
                "[Keskar et al. (2019)](https://arxiv.org/abs/1909.05858)",
            ),
        ),
    ),
    Chapter(
        "Experiments",
        "pages/9_Experiments.py",
        (
            Term(
                "ablation",
                "A step is left out, or replaced by something plain, to see what depends on it. What breaks then "
                "also shows what the rest was trained to rely on.",
            ),
            Term(
                "loss",
                "How surprised the model is by a text: the mean of −log p over its tokens, p being the probability "
                "that it gave to the token that came. 0 is no surprise at all.",
            ),
            Term(
                "nat",
                "The unit of surprise where the logarithm is the natural one: a token of probability 1/e ≈ 37% is a "
                "surprise of 1 nat. One bit, a probability of ½, is 0.69 nats.",
            ),
            Term(
                "entropy",
                "How undecided a list of probabilities is: the surprise to be expected. With its exp one has the "
                "number of equally likely choices that are as undecided.",
            ),
            Term(
                "KL divergence",
                "How far one prediction is from another: how much more surprised the second is, on average, by "
                "tokens that are drawn from the first. 0 where they are the same.",
            ),
            Term(
                "total variation",
                "Half the sum of the absolute differences of two lists of weights: 0 where they are the same, 1 "
                "where nothing is shared.",
            ),
        ),
    ),
    Chapter(
        "Patching",
        "pages/10_Patching.py",
        (
            Term(
                "patching",
                "A value of one run is put into another at the same place, to see how much of the answer comes "
                "with it.",
                "[Zhang and Nanda (2023)](https://arxiv.org/abs/2309.16042)",
            ),
            Term("clean", "The prompt in the sidebar, in a patching experiment."),
            Term("corrupted", "The other prompt of a patching experiment, which has another answer."),
            Term(
                "logit difference",
                "The logit of one answer minus the logit of the other: how far the model prefers the one.",
            ),
        ),
    ),
)

TERMS = {entry.name: entry for chapter in CHAPTERS for entry in chapter.terms}

# What each size is called in code and shapes: a field of ModelSpec, and what it counts.
SIZES = {
    "n_layers": "layers",
    "d_model": "numbers in the residual stream of a token",
    "n_heads": "query heads in each layer",
    "n_kv_heads": "key/value heads in each layer",
    "d_head": "numbers in a query, a key or a value",
    "d_mlp": "neurons in each MLP",
    "vocab_size": "tokens in the vocabulary",
    "context_length": "tokens at most in a text",
}


def terms_of(title: str) -> list[str]:
    """The names of the terms that the page of that title explains; none for one without a chapter."""
    return [entry.name for chapter in CHAPTERS if chapter.title == title for entry in chapter.terms]


def term(name: str, shown: str = "") -> str:
    """A Markdown link from a sentence to a term of the glossary; its hover text says in short what it means.

    shown: what the sentence has instead of the name, its plural for example
    Raises KeyError where the glossary has no such term.

    >>> term("query", "queries")
    '[queries](Glossary#query "What a token looks for, a vector of d_head numbers in every head.")'
    """
    entry = TERMS[name]
    return f'[{shown or name}](Glossary#{entry.anchor} "{entry.in_short}")'
