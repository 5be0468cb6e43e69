"""The frame of every page: the sidebar, the title, the way on, the token strip and the foot."""

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import streamlit as st

from gemma_viz.checkpoints import label, offered_models
from gemma_viz.edits import UNCHANGED
from gemma_viz.notice import notice
from gemma_viz.service import log
from gemma_viz.service.settings import settings
from gemma_viz.ui import change, live, visitor, words
from gemma_viz.ui.copy_link import copy_link
from gemma_viz.ui.sidebar import close_when_chosen
from gemma_viz.ui.token_strip import token_strip
from gemma_viz.ui.view import View
from gemma_viz.ui.words_glossary import term, terms_of

# In walking order.
PAGES = {
    "overview.py": "Overview",
    "pages/1_Tokenization.py": "Tokenization",
    "pages/2_Embedding.py": "Embedding",
    "pages/3_Transformer_layer.py": "Transformer layer",
    "pages/4_Attention.py": "Attention",
    "pages/5_RoPE.py": "RoPE",
    "pages/6_MLP.py": "MLP",
    "pages/7_Output.py": "Output",
    "pages/8_Generation.py": "Generation",
    "pages/9_Experiments.py": "Experiments",
    "pages/10_Patching.py": "Patching",
    "pages/11_Compare.py": "Compare",
    "pages/12_Glossary.py": "Glossary",
}

DEFAULT_PROMPT = "I want to move"

PROMPT_HELP = (
    "Any text. The names of special tokens, such as <bos> or <end_of_turn>, are read as those tokens. Ctrl+Enter or "
    "Run hands the text over."
)

# Each shows something that the others do not.
EXAMPLES = {
    "Roses are red, violets are": "a line that it has often read",
    "The capital of Japan is Tokyo. The capital of France is": "a fact, asked for by example",
    "The cat sat on the mat. The cat sat on the": "a repetition that attention can copy",
    "def add(a, b):\n    return a +": "code, with a line break and indentation",
    "Naïve café, größer 🙂 ᚠᛇᚻ": "accents, an emoji, and runes that fall back to bytes",
    "one two three four five six": "a sequence to go on with",
}

ICON = Path(__file__).parent / "icon.png"  # a name of an icon would be fetched from the internet

TOKEN_DEPENDENT = ("merge", "key", "beside")  # what is shown of one token; another one begins at the default
PROMPT_DEPENDENT = ("token", "patch", *TOKEN_DEPENDENT)
# Their ranges differ from model to model.
MODEL_DEPENDENT = (
    *("layer", "head", "heads", "source", "neuron", "pair", "norm", "other_model", "why", "guess"),
    *PROMPT_DEPENDENT,
)


@dataclass(frozen=True)
class Page:
    """What a page is about.

    title: str, one of the names in `PAGES`; view: View; run: Run of the visitor's prompt
    position: int, the selected token; labels: tuple of str, the tokens as a person can read them
    """

    title: str
    view: View
    run: live.Run
    position: int

    @property
    def labels(self) -> tuple[str, ...]:
        """The tokens as a person can read them."""
        return self.run.labels

    @property
    def label(self) -> str:
        """The selected token."""
        return self.run.tokens[self.position].label

    def choose_token(self, position: int) -> None:
        """Select another token, from a callback."""
        self.view.set(**self._token(position))

    def open(self, file: str, layer: int | None = None, token: int | None = None) -> NoReturn:
        """Go to another page, to a layer and a token or to those of the view."""
        to_layer = {} if layer is None else {"layer": str(layer) if layer else None}
        self.view.open(file, to_layer | ({} if token in (None, self.position) else self._token(token)))

    def _token(self, position: int) -> dict[str, str | None]:
        """The parameters of a view that is about another token."""
        last = len(self.run) - 1
        return {**dict.fromkeys(TOKEN_DEPENDENT), "token": None if position == last else str(position)}

    def show_text(self, text: str) -> None:
        """Make another text the prompt."""
        _take_text(self.view, text)

    def choose_layer(self, default: int = 0) -> int:
        """The layer control, the same on every page that has one."""
        return self.view.integer("layer", "Layer", 0, self.run.model.spec.n_layers - 1, default=default)

    def choose_head(self) -> int:
        """The head control, the same on every page that has one."""
        return self.view.integer("head", "Head", 0, self.run.model.spec.n_heads - 1, default=0, resets=("heads",))


def start_page(title: str, summary: str, shows_change: bool = True) -> Page:
    """Draw what every page begins with. Stops the page with a sentence where the model or the prompt will not do.

    title: one of the names in `PAGES`; summary: one or two sentences of Markdown under it
    shows_change: whether the page is about the run with the changes that the view asks for, or about the untouched one
    """
    st.set_page_config(page_title=f"{title} · Gemma Viz", page_icon=ICON, layout="wide")
    visitor.arrive(title)
    view = View()
    view.drop_texts_beyond(settings().max_characters, but="prompt")
    name, prompt = _sidebar(view)
    st.title(title)
    _steps(view, title, name)
    st.markdown(summary)
    visitor.take_a_place()
    model = live.model(name)
    edits = change.asked_edits(view, model) if shows_change else UNCHANGED
    run = live.capture(model, prompt, edits, change.asked_patch(view, model) if shows_change else None)
    change.banner(view, run)
    page = Page(title, view, run, view.whole_number("token", 0, len(run) - 1, default=len(run) - 1))
    _strip(page)
    if not prompt:
        with st.container(border=True):
            st.markdown(
                f":material/info: **The prompt is empty**, so only {words.code(page.label)} is there, the token that "
                "begins every text. Shown is what the model makes of it alone, and how it expects a text to begin."
            )
    return page


def end_page(page: Page) -> None:
    """Draw what every page ends with."""
    model = page.run.model
    st.divider()
    with st.container(horizontal=True, horizontal_alignment="distribute", key="way_on"):
        _way_on(page.view, page.title)
    terms = terms_of(page.title)
    if terms:
        st.caption("Terms of this page, in the glossary: " + " · ".join(map(term, terms)))
    st.caption(
        f"{label(model.name)} · {model.spec.family} · {model.n_parameters / 1e6:,.0f} million parameters · "
        f"{model.dtype} on {model.device} · every number is from this model's run "
        "on this prompt"
    )
    with st.expander("Licence, and the Gemma terms that apply to the weights"):
        st.text(notice())
    st.caption("After “A transformer walk-through, with Gemma” by Douglas Orr (2024).")
    log.done("page", text=page.run.text, tokens=len(page.run))


def _sidebar(view: View) -> tuple[str, str]:
    """Prompt, navigation and model; the prompt first, so that it is seen on a projector too."""
    with st.sidebar:
        st.markdown("### Gemma Viz")
        prompt = view.text(
            "prompt", "Prompt", DEFAULT_PROMPT, st.text_area, resets=PROMPT_DEPENDENT, height=110, help=PROMPT_HELP
        )
        # The click takes the focus out of the text area, which is what hands its text over.
        st.button("Run", type="primary", width="stretch")
        if prompt.strip() and prompt != prompt.rstrip():
            st.caption(
                "The prompt ends with a space or a line break. Most words bring their own space, so what comes next is "
                "then something else."
            )
            st.button("Take it away", width="stretch", on_click=_take_text, args=(view, prompt.rstrip()))
        with st.container(key="pages"):
            for page, page_title in PAGES.items():
                view.page_link(page, page_title)
        name = view.choice("model", "Model", offered_models(), resets=MODEL_DEPENDENT, format_func=label)
        st.caption("Or try one of these:")
        for example, shows in EXAMPLES.items():
            st.button(
                example.replace("\n", " ⏎ "),
                help=f"Shows {shows}.",
                width="stretch",
                on_click=_take_text,
                args=(view, example),
            )
        close_when_chosen(key="sidebar")
    return name, prompt


def _take_text(view: View, text: str) -> None:
    view.set(**dict.fromkeys(PROMPT_DEPENDENT), **view.text_parameters("prompt", text, DEFAULT_PROMPT))


def _steps(view: View, title: str, model: str) -> None:
    """Links to the stage before and the stage after, and to this view."""
    with st.container(horizontal=True, vertical_alignment="center", key="way"):
        _way_on(view, title)
        copy_link(view, model, key="copy_link")


def _way_on(view: View, title: str) -> None:
    """Links to the stage before and the stage after; from the last one to where the model can be changed."""
    titles, files = list(PAGES.values()), list(PAGES)
    here = titles.index(title)
    if here > 0:
        view.page_link(files[here - 1], titles[here - 1], icon=":material/arrow_back:")
    onward = files[here + 1] if here < len(files) - 1 else "pages/9_Experiments.py"
    view.page_link(onward, PAGES[onward], icon=":material/arrow_forward:", icon_position="right")


def _strip(page: Page) -> None:
    token_strip(page.run.tokens, page.run.about.beside, page.position, page.choose_token, key="tokens")
    shown = page.run.tokens[page.position]
    st.caption(
        f"Selected: token {page.position}, counted from 0, of {len(page.run)}; id {shown.id:,}. ␣ stands for a space. "
        "Arrow keys move the choice."
    )
