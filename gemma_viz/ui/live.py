"""What pages ask the engine for, and what is shown while they wait."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar, cast

import streamlit as st

from gemma_viz.attention import AttentionRule
from gemma_viz.checkpoints import EMBEDDED, label
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.engine import Engine, Ticket, wire
from gemma_viz.engine.cache import Cache
from gemma_viz.engine.keys import CaptureKey, ModelKey, PatchKey, Request
from gemma_viz.engine.local import Limits, LocalEngine
from gemma_viz.engine.remote import RemoteEngine
from gemma_viz.errors import EditsError, EngineError, GemmaVizError, TextError, TooManyCharacters, TooManyRequests
from gemma_viz.generation import NewToken
from gemma_viz.patching import PatchKind, check_place
from gemma_viz.sampling import Sampling
from gemma_viz.service.metrics import REQUESTS
from gemma_viz.service.settings import settings
from gemma_viz.stages.described import Described, ModelCard, card, described, token_texts
from gemma_viz.stages.generation import next_token
from gemma_viz.stages.output import Comparison, compare
from gemma_viz.tokens import Token
from gemma_viz.ui import visitor
from gemma_viz.ui.boundary import put_off, refuse

T = TypeVar("T")

PROGRESS_AFTER_SECONDS = 0.5
PROGRESS_EVERY_SECONDS = 0.2
RUNS_KNOWN = 10_000
_VISITOR = "_visitor"
_STOPPED = "_stopped"


@dataclass(frozen=True)
class Run:
    """A run of a model over a text, as pages know it: its tokens, not its values.

    key: CaptureKey, how the engine makes it; model: ModelCard
    """

    key: CaptureKey
    model: ModelCard
    about: Described = field(repr=False)

    def __len__(self) -> int:
        return len(self.about.tokens)

    @property
    def text(self) -> str:
        """What the tokens make together."""
        return self.about.text

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens, with their places in the text."""
        return self.about.tokens

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Their ids."""
        return tuple(token.id for token in self.tokens)

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens as a person can read them."""
        return tuple(token.label for token in self.tokens)

    @property
    def edits(self) -> Edits:
        """What is changed in the model."""
        return self.key.edits

    @property
    def patch(self) -> PatchKey | None:
        """The value of another run that this one takes over."""
        return self.key.patch

    @property
    def rules(self) -> tuple[AttentionRule, ...]:
        """How each layer attends."""
        return self.about.rules


@cache
def engine() -> Engine:
    """The engine, shared between visitors: of this process, or where the operator's settings say.

    Not in Streamlit's cache, which any visitor's browser may ask to clear.
    """
    address = settings().engine
    return RemoteEngine(address) if address else LocalEngine(Limits.of(settings()))


def model(name: str) -> ModelCard:
    """The model of this name, loaded once for all visitors.

    Shows progress; stops the page with a sentence on failure.
    """
    opening = engine().open(name)
    place = st.empty()  # also where nothing is waited for, so that the rest of the page keeps its place
    first = " The first start unpacks it, which takes some ten seconds." if name == EMBEDDED else ""
    while not opening.is_over:
        place.progress(opening.share, f"Loading {label(name)}.{first} {opening.what} …")
        time.sleep(PROGRESS_EVERY_SECONDS)
    place.empty()
    if isinstance(opening.error, GemmaVizError):
        refuse(opening.error)
    if opening.error:
        raise opening.error
    return values(card, ModelKey(name))


def capture(model: ModelCard, text: str, edits: Edits = UNCHANGED, patch: PatchKey | None = None) -> Run:
    """The run of a model over a text. Stops the page with a sentence if the text cannot be run."""
    try:
        _refuse_too_long(text)
        return _run(CaptureKey(model.name, text, edits=edits, patch=patch), model)
    except (TextError, EditsError) as error:
        refuse(error)


def _refuse_too_long(text: str) -> None:
    """Before the tokenizer sees it, whose time grows with the text."""
    limit = settings().max_characters
    if len(text) > limit:
        raise TooManyCharacters(
            f"The text has {len(text):,} characters and the limit is {limit:,}. Shorten it by at least "
            f"{len(text) - limit:,} characters."
        )


def edited(run: Run, edits: Edits) -> Run:
    """The run of the same text with steps left out or changed.

    What is changed in the run already stays so. Stops the page with a sentence where the two do not go together.
    """
    try:
        return _run(replace(run.key, edits=run.edits.also(edits)), run.model)
    except EditsError as error:
        st.info(str(error), icon=":material/info:")
        st.stop()


def patch(source: Run, kind: str, layer: int, position: int, head: int | None = None) -> PatchKey:
    """A value of a run, to be taken over by another. Raises EditsError where the run has no such value."""
    check_place(source.model.spec, len(source), kind, layer, position, head)
    return PatchKey(source.key, cast(PatchKind, kind), layer, position, head)


def with_token(run: Run, position: int, id: int) -> Run:
    """The run of a prompt in which one token is replaced by another."""
    ids = list(run.token_ids)
    ids[position] = id
    return _run(replace(run.key, text="", ids=tuple(ids)), run.model)


def generated(run: Run, sampling: Sampling, n_tokens: int) -> Iterator[NewToken]:
    """Tokens that are added to a run's text one by one, as `gemma_viz.generation.generate` does."""
    longer = run.key
    for _ in range(min(n_tokens, run.model.token_limit - len(run))):
        token = values(next_token, longer, len(run), sampling)
        yield token
        if token.is_end:
            return
        longer = replace(run.key, text="", ids=(*run.token_ids, *token.ids))


def token_text(model: ModelCard, id: int) -> str:
    """What a token adds to a text."""
    return values(token_texts, model, (id,))[0]


def comparison(run: Run, edits: Edits, position: int) -> Comparison:
    """The prompt run again with steps left out or changed."""
    return values(compare, run, edited(run, edits), position)


def values(function: Callable[..., T], *arguments: Any) -> T:
    """What a function of `gemma_viz.stages` gives; runs and models stand for captures and models."""
    return values_of_each(function, [arguments], "Running the model")[0]


def values_by_layer(function: Callable[..., T], run: Run, what: str, *arguments: Any) -> list[T]:
    """What a stage function gives for each layer; of long work the progress is shown.

    function: called with the run, the layer and the arguments
    """
    layers = range(run.model.spec.n_layers)
    return values_of_each(function, [(run, layer, *arguments) for layer in layers], f"{what}: layer")


def values_of_each(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], what: str) -> list[T]:
    """What a stage function gives for each of some arguments; of long work the progress is shown.

    Raises what the function raises. Stops the page with a sentence where there is no answer.
    """
    request = Request(_name(function), tuple(tuple(map(_key, arguments)) for arguments in calls))
    name = wire.digest(request)
    if _is_stopped(name):
        st.info("Stopped. Change something, or run it again.", icon=":material/stop_circle:")
        st.button("Run it again")
        st.stop()
    try:
        ticket = engine().submit(request, _visitor())
        _wait(ticket, what, name, len(calls))
        return ticket.result()
    except EngineError as error:
        put_off(error)


def _run(key: CaptureKey, model: ModelCard) -> Run:
    """The run of a key; one that nobody has asked for lately counts among those that a visitor may ask for."""
    known, name = _known_runs(), wire.digest(key)
    if known.get(name) is None:
        try:
            visitor.admit()
        except TooManyRequests as error:
            REQUESTS.labels("limited").inc()
            put_off(error)
    run = Run(key, model, values(described, key))
    known.put(name, True, 1)
    return run


@st.cache_resource(show_spinner=False)
def _known_runs() -> Cache[bool]:
    return Cache(RUNS_KNOWN)


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _key(argument: Any) -> Any:
    """What stands for a run or a model in a request."""
    if isinstance(argument, Run):
        return argument.key
    return ModelKey(argument.name) if isinstance(argument, ModelCard) else argument


def _visitor() -> str:
    """A name for this session, of no meaning outside."""
    name: str = st.session_state.setdefault(_VISITOR, uuid.uuid4().hex)
    return name


def _wait(ticket: Ticket, what: str, name: bytes, n: int) -> None:
    """Wait, and say for what: how many come first, or how far it is. Whatever ends the page ends the waiting."""
    place = st.empty()
    try:
        if not ticket.wait(PROGRESS_AFTER_SECONDS):
            with place.container(horizontal=True, vertical_alignment="center"):
                bar = st.empty()
                st.button("Stop", key=f"stop_{name.hex()}", on_click=_stop, args=(name,))
            bar.progress(ticket.share, _said(ticket, what, n))
            while not ticket.wait(PROGRESS_EVERY_SECONDS):
                bar.progress(ticket.share, _said(ticket, what, n))
            place.empty()
    finally:
        ticket.cancel()


def _said(ticket: Ticket, what: str, n: int) -> str:
    if ahead := ticket.ahead:
        return f"Waiting for the model: {'one person is' if ahead == 1 else f'{ahead} people are'} before you …"
    if ticket.what:
        return f"{ticket.what} …"
    return f"{what} {int(ticket.share * n)} of {n} …" if n > 1 else f"{what} …"


def _stop(name: bytes) -> None:
    """Do not ask for this in the next run of the page, from a callback."""
    st.session_state[_STOPPED] = name


def _is_stopped(name: bytes) -> bool:
    return bool(st.session_state.pop(_STOPPED, None) == name)
