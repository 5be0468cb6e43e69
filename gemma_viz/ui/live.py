"""Models and captures that the pages of all visitors share, and what is shown while they are made."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import streamlit as st

from gemma_viz.capture import Capture
from gemma_viz.checkpoints import EMBEDDED, label, load, offered_models
from gemma_viz.edits import UNCHANGED, Edits
from gemma_viz.errors import EditsError, GemmaVizError, TextError
from gemma_viz.model import Model
from gemma_viz.patching import Patch
from gemma_viz.service import health
from gemma_viz.service.metrics import MODELS_LOADED
from gemma_viz.stages.output import Comparison, compare

T = TypeVar("T")

POLL_SECONDS = 0.1
PROGRESS_AFTER_SECONDS = 0.5
CAPTURES_KEPT = 8
VALUES_KEPT = 1000


@dataclass
class Loading:
    """A checkpoint on its way into memory, in a thread of its own so that every visitor sees how far it is."""

    share: float = 0.0
    what: str = "Starting"
    model: Model | None = None
    error: Exception | None = None

    def run(self, name: str) -> None:
        try:
            self.model = load(name, progress=self.report)
            MODELS_LOADED.inc()
        except Exception as error:  # whatever it is, it belongs to the visitors who wait, not to this thread
            self.error = error
        if name == offered_models()[0]:
            health.READINESS.set(self.error is None, self._outcome(label(name)))

    def _outcome(self, shown: str) -> str:
        if self.error is None:
            return f"{shown} is loaded."
        reason = str(self.error) if isinstance(self.error, GemmaVizError) else type(self.error).__name__
        return f"{shown} cannot be loaded: {reason}"

    def report(self, share: float, what: str) -> None:
        self.share, self.what = share, what
        print(f"[gemma-viz] {share:4.0%}  {what}", flush=True)


@st.cache_resource(show_spinner=False)
def _loadings() -> dict[str, Loading]:
    return {}


@st.cache_resource(show_spinner=False)
def _lock() -> threading.Lock:
    return threading.Lock()


def preload(name: str) -> Loading:
    """Begin to load a model, or say how far that is. Waits for nothing, and needs no visitor."""
    with _lock():
        loading = _loadings().get(name)
        if loading is None:
            loading = _loadings()[name] = Loading()
            threading.Thread(target=loading.run, args=(name,), daemon=True).start()
    return loading


def model(name: str) -> Model:
    """The model of this name, loaded once for all visitors.

    Shows progress; stops the page with a sentence on failure.
    """
    loading = preload(name)
    _wait_for(loading, name)
    if loading.error:
        with _lock():
            _loadings().pop(name, None)  # so that opening the page again tries again
        _refuse(loading.error)
    assert loading.model is not None
    return loading.model


def _wait_for(loading: Loading, name: str) -> None:
    place = st.empty()  # also where nothing is waited for, so that the rest of the page keeps its place
    first = " The first start unpacks it, which takes some ten seconds." if name == EMBEDDED else ""
    while loading.model is None and loading.error is None:
        place.progress(loading.share, f"Loading {label(name)}.{first} {loading.what} …")
        time.sleep(POLL_SECONDS)
    place.empty()


def _refuse(error: Exception) -> None:
    if not isinstance(error, GemmaVizError):
        raise error
    st.error(str(error), icon=":material/error:")
    st.stop()


def _same_model(model: Model) -> tuple[str, int]:
    return model.name, id(model)


def _same_capture(cap: Capture) -> tuple[Any, ...]:
    # One text can be several token sequences: see Model.capture_ids.
    patched = _same_patch(cap.patch) if cap.patch else None
    return _same_model(cap.model), cap.text, cap.token_ids.numpy().tobytes(), cap.edits.to_text(), patched


def _same_patch(patch: Patch) -> tuple[Any, ...]:
    return _same_capture(patch.source), patch.kind, patch.layer, patch.position, patch.head


# How to tell whether two arguments are the same; Streamlit would look into every tensor.
SAME: dict[Any, Callable[[Any], Any]] = {
    Model: _same_model,
    Capture: _same_capture,
    Patch: _same_patch,
    Edits: Edits.to_text,
}


@st.cache_resource(show_spinner=False, max_entries=CAPTURES_KEPT, hash_funcs=SAME)
def _capture(model: Model, text: str, edits: Edits, patch: Patch | None) -> Capture:
    recent = _recent_captures(model)
    cap = model.capture(text, edits, tuple(recent), patch)
    recent.append(cap)
    return cap


@st.cache_resource(show_spinner=False, hash_funcs=SAME)
def _recent_captures(model: Model) -> deque[Capture]:
    """The texts that were run last: a new one may begin like one of them."""
    return deque(maxlen=CAPTURES_KEPT)


def capture(model: Model, text: str, edits: Edits = UNCHANGED, patch: Patch | None = None) -> Capture:
    """The capture of a text, shared between visitors. Stops the page with a sentence if the text cannot be run."""
    try:
        with st.spinner(f"Running {label(model.name)} over the prompt …"):
            return _capture(model, text, edits, patch)
    except (TextError, EditsError) as error:
        st.error(str(error), icon=":material/error:")
        st.stop()


@st.cache_resource(show_spinner=False, max_entries=CAPTURES_KEPT, hash_funcs=SAME)
def _edited(cap: Capture, edits: Edits) -> Capture:
    return cap.again(edits)


def edited(cap: Capture, edits: Edits) -> Capture:
    """The capture of the same text with steps left out or changed, shared between visitors.

    What is changed in the capture already stays so. Stops the page with a sentence where the two do not go together.
    """
    try:
        with st.spinner("Running the prompt again with this change …"):
            return _edited(cap, cap.edits.also(edits))
    except EditsError as error:
        st.info(str(error), icon=":material/info:")
        st.stop()


@st.cache_resource(show_spinner=False, max_entries=CAPTURES_KEPT, hash_funcs=SAME)
def _with_token(cap: Capture, position: int, id: int) -> Capture:
    return cap.model.capture_ids(cap.ids_with(position, id), cap.edits, cap.patch)


def with_token(cap: Capture, position: int, id: int) -> Capture:
    """The capture of a prompt in which one token is replaced by another."""
    with st.spinner("Running the changed prompt …"):
        return _with_token(cap, position, id)


@st.cache_data(show_spinner=False, max_entries=VALUES_KEPT, hash_funcs=SAME)
def _values(name: str, _function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return _function(*arguments)


def values(function: Callable[..., T], *arguments: Any) -> T:
    """What a stage function gives, remembered by its arguments."""
    return _values(f"{function.__module__}.{function.__qualname__}", function, arguments)


def values_by_layer(function: Callable[..., T], cap: Capture, what: str, *arguments: Any) -> list[T]:
    """What a stage function gives for each layer; of long work the progress is shown.

    function: called with the capture, the layer and the arguments
    """
    layers = range(cap.model.spec.n_layers)
    return values_of_each(function, [(cap, layer, *arguments) for layer in layers], f"{what}: layer")


def values_of_each(function: Callable[..., T], calls: Sequence[tuple[Any, ...]], what: str) -> list[T]:
    """What a stage function gives for each of some arguments; of long work the progress is shown."""
    start, place = time.monotonic(), st.empty()
    found = []
    for done, arguments in enumerate(calls):
        if time.monotonic() - start > PROGRESS_AFTER_SECONDS:
            place.progress(done / len(calls), f"{what} {done} of {len(calls)} …")
        found.append(values(function, *arguments))
    place.empty()
    return found


def comparison(cap: Capture, edits: Edits, position: int) -> Comparison:
    """The prompt run again with steps left out or changed."""
    return values(compare, cap, edited(cap, edits), position)
