"""Generation, in the walk."""

from collections.abc import Iterator

from gemma_viz.capture import Capture
from gemma_viz.edits import Edits
from gemma_viz.errors import EditsError, SamplingError
from gemma_viz.generation import NewToken, generate
from gemma_viz.report.blocks import Block, Heading, Section, Table, Text, the_code
from gemma_viz.report.subject import Subject
from gemma_viz.sampling import Sampling
from gemma_viz.stages.generation import check_generation
from gemma_viz.tokens import visible
from gemma_viz.ui import words

GREEDY, DRAWN = Sampling(temperature=0), Sampling(temperature=0.8, top_k=40)
LEFT_OUT = {
    "the norms of the layers": Edits(norms=False),
    "attention": Edits(attention=False),
    "RoPE": Edits(rope=False),
    "the MLPs": Edits(mlp=False),
}


def section(subject: Subject, n_tokens: int) -> Section:
    """A few tokens more."""
    cap = subject.cap
    intro = Text(
        "One pass gives one distribution for the next token. A token is chosen from it and put at the end of the text, "
        "and the model runs again. The keys and values of the tokens before are kept, so only the new one has to run."
    )
    try:
        greedy = list(generate(cap, GREEDY, n_tokens))
    except SamplingError as error:
        return Section("generation", "Generation", [intro, Text(words.literal(str(error)))])
    blocks: list[Block] = [
        intro,
        Text("Always the likeliest token (temperature 0) gives:"),
        _tokens(greedy),
        Text(
            f"Drawn by chance from the {DRAWN.top_k} likeliest at temperature {DRAWN.temperature:g}, with seed "
            f"{DRAWN.seed}: {_continuation(cap, DRAWN, n_tokens)}"
        ),
        *the_code(subject, check_generation(cap)),
        Heading("Why: the steps of the walk once more"),
        Text("What the model writes when a step is left out in all layers, always the likeliest token:"),
        Table(("left out", "goes on with"), [("nothing", _text(greedy)), *_without(subject, n_tokens)]),
    ]
    return Section("generation", "Generation", blocks)


def _tokens(new: list[NewToken]) -> Table:
    rows = [(words.code(visible(token.piece)), words.percent(token.probability)) for token in new]
    return Table(("token", "probability"), rows)


def _without(subject: Subject, n_tokens: int) -> Iterator[tuple[str, str]]:
    for step, edits in LEFT_OUT.items():
        try:
            yield step, _continuation(subject.rerun(edits), GREEDY, n_tokens)
        except EditsError as error:
            yield step, words.literal(str(error))


def _continuation(cap: Capture, sampling: Sampling, n_tokens: int) -> str:
    """The text that comes next, or why there is none."""
    try:
        return _text(list(generate(cap, sampling, n_tokens)))
    except SamplingError:
        return "nothing: the logits are not all numbers (NaN or infinite)"


def _text(new: list[NewToken]) -> str:
    return words.code(visible(new[-1].text)) if new else "nothing: the text has reached the limit of tokens"
