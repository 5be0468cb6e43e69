"""The view a page shows (model, prompt, layer, ...), kept in the page's address.

One dictionary of parameters says what is shown. It is held in the session in the form the address has: text, and only
for controls that differ from their default. Every control is drawn from it and writes it, and the address, when used.

Who wins when address and session differ:
  * first run of a session (deep link, reload), Back or Forward, and a link that changes the view: the address;
  * any other run: the session. The address is then merely late, because the browser asked for the run, or drew the
    clicked link, before it heard of the last change.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import quote_plus

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from gemma_viz.tokens import visible
from gemma_viz.ui import words

LONGEST_IN_ADDRESS = 4000  # encoded characters; many servers refuse request headers above 8 KB
MOST_KEPT = 2_000_000  # characters of a session's long texts; the oldest are forgotten

# What a page leaves out of the model: another page begins with its own steps in place.
OF_ONE_PAGE = ("off", "one")

_KEPT = "_kept"  # ending of the parameter that stands for a text kept in the session
# Marks the address of a link that changes the view. Its value, the number of such links that were followed before,
# tells it from an address that is late. It goes with the next change.
_LINK = "link"
# Keys of the session:
_PARAMS, _EPOCHS, _LONG_TEXTS, _FOLLOWED = "_view_params", "_view_epochs", "_view_long_texts", "_view_links_followed"


class View:
    """The parameters of the current view, and controls that are bound to them.

    Controls return the view's value, never the widget's, so that a page cannot show other than its address says.
    """

    def __init__(self) -> None:
        address = st.query_params.to_dict()
        context = get_script_run_ctx()
        went_in_history = context is not None and context.is_history_navigation
        followed = address.get(_LINK) == self._next_link
        self._session_is_new = _PARAMS not in st.session_state
        if self._session_is_new or went_in_history or followed:
            self._replace(address)
            st.session_state[_FOLLOWED] = int(self._next_link) + followed
        elif address != self.params:
            st.query_params.from_dict(self.params)
        self._notes = st.container()
        self._noted: set[str] = set()

    @property
    def params(self) -> dict[str, str]:
        """What the address holds."""
        params: dict[str, str] = st.session_state[_PARAMS]
        return params

    @property
    def too_long_for_address(self) -> list[str]:
        """Names of the texts that the address does not hold."""
        return [name.removesuffix(_KEPT) for name in self.params if name.endswith(_KEPT)]

    def set(self, **texts: str | None) -> None:
        """Change parameters (None: to the default) from a callback that is not the control's own."""
        self._replace(_changed(self.params, texts))
        st.query_params.from_dict(self.params)

    def page_link(
        self, page: str, label: str, changes: Mapping[str, str | None] = MappingProxyType({}), **options: Any
    ) -> None:
        """A link to another page that keeps the view, but for what is `OF_ONE_PAGE` and the parameters in `changes`
        (None: to the default).
        """
        changes = {**self._left_behind(), **changes}
        marked = {**changes, _LINK: self._next_link} if changes else changes
        st.page_link(page, label=label, query_params=_changed(self.params, marked), **options)

    def open(self, page: str, changes: Mapping[str, str | None]) -> NoReturn:
        """Go to another page, with the parameters in `changes`, from a run of this one; Back comes back to them."""
        self._replace(_changed(self.params, {**self._left_behind(), **changes}))
        st.switch_page(page, query_params=self.params)

    def _left_behind(self) -> Mapping[str, str | None]:
        return {name: None for name in OF_ONE_PAGE if name in self.params}

    def note(self, sentence: str) -> None:
        """Say something about the link, above the page, once."""
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._notes.info(sentence, icon=":material/info:")

    def text(
        self,
        name: str,
        label: str,
        default: str,
        widget: Callable[..., Any] = st.text_input,
        resets: Sequence[str] = (),
        **options: Any,
    ) -> str:
        """A text. One too long for the address stays in the session, and the address holds a digest of it, so that
        Back still finds the right one. A change sets the parameters in `resets` to their defaults.
        """
        value = self.kept_text(name, default)

        def store(text: str) -> None:
            self._store(self.text_parameters(name, text, default), resets)

        self._draw(name, "", widget, store, label=label, value=value, **options)
        return value

    def kept_text(self, name: str, default: str) -> str:
        """The value of a text, without a control."""
        digest = self.params.get(name + _KEPT)
        if digest and digest not in self._long_texts:
            self.note(f"The {name} was too long to be part of this link. Shown is the default; paste yours again.")
        return self._long_texts.get(digest, default) if digest else self.params.get(name, default)

    def text_parameters(self, name: str, text: str, default: str) -> dict[str, str | None]:
        """The parameters that stand for a text; a long one is put into the session."""
        if len(quote_plus(text, errors="replace")) <= LONGEST_IN_ADDRESS:
            return {name: None if text == default else text, name + _KEPT: None}
        digest = sha256(text.encode(errors="replace")).hexdigest()[:12]
        self._keep(digest, text)
        return {name: None, name + _KEPT: digest}

    def _keep(self, digest: str, text: str) -> None:
        kept = self._long_texts
        kept.pop(digest, None)
        kept[digest] = text  # as the newest
        while len(kept) > 1 and sum(map(len, kept.values())) > MOST_KEPT:
            del kept[next(iter(kept))]

    def drop_texts_beyond(self, longest: int, but: str) -> None:
        """Set texts of more characters to their defaults, and say so; but not the one of that name."""
        for name in sorted({parameter.removesuffix(_KEPT) for parameter in self.params} - {but}):
            kept = self._long_texts.get(self.params.get(name + _KEPT, ""), "")
            n = max(len(kept), len(self.params.get(name, "")))
            if n > longest:
                self._replace(_changed(self.params, {name: None, name + _KEPT: None}))
                st.query_params.from_dict(self.params)
                asked = words.code(visible(name[:20]))
                self.note(f"{asked} has {n:,} characters and the limit is {longest:,}. Shown is the default.")

    def whole_number(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number from low to high, without a control: one of the page's own sets it through `set`."""
        text = self.params.get(name, str(default))
        try:
            value = min(max(int(text), low), high)
        except ValueError:
            value = default
        if str(value) != text:
            asked = words.code(visible(text[:20]))
            self.note(f"There is no {name} {asked} here (they go from {low} to {high}). Shown is {value}.")
        return value

    def whole_numbers(self, name: str, low: int, high: int, default: Sequence[int]) -> tuple[int, ...]:
        """Some different whole numbers from low to high, as 0_3, or none; a control of the page's own sets them."""
        text = self.params.get(name)
        if text is None:
            return tuple(default)
        here = {str(number): number for number in range(low, high + 1)}
        asked = [part for part in text.split("_") if part]
        values = tuple(sorted({here[part] for part in asked if part in here}))
        if len(values) < len(asked):
            shown = ", ".join(map(str, values)) or "none"
            self.note(
                f"In this link {name} is {words.code(visible(text[:40]))}; they go from {low} to {high}, with “_” "
                f"between them. Shown: {shown}."
            )
        return values

    def integer(self, name: str, label: str, low: int, high: int, default: int, resets: Sequence[str] = ()) -> int:
        """A whole number from low to high, with a slider. A change sets the parameters in `resets` to theirs."""
        value = self.whole_number(name, low, high, default)
        if low == high:
            return value  # there is nothing to choose, and Streamlit refuses such a slider

        def store(number: int) -> None:
            self._store({name: None if number == default else str(number)}, resets)

        domain = f"{low} {high} {default}"
        self._draw(name, domain, st.slider, store, label=label, min_value=low, max_value=high, value=value)
        return value

    def choice(
        self, name: str, label: str, options: Sequence[str], resets: Sequence[str] = (), **widget_options: Any
    ) -> str:
        """One of some texts, the first of them the default. A change sets the parameters in `resets` to theirs."""
        value, default = self.chosen(name, options), options[0]

        def store(option: str) -> None:
            self._store({name: None if option == default else option}, resets)

        index = options.index(value)
        self._draw(name, str(options), st.selectbox, store, label=label, options=options, index=index, **widget_options)
        return value

    def chosen(self, name: str, options: Sequence[str]) -> str:
        """One of some texts, the first of them the default, without a control: one of the page's own sets it."""
        text = self.params.get(name, options[0])
        if text in options:
            return text
        asked = words.code(visible(text[:60]))
        self.note(f"This link asks for a {name} that is not offered here: {asked}. Shown is the default.")
        return options[0]

    def section(self, page: str, sections: Mapping[str, str], label: str = "Parts of this page") -> str:
        """Which part of a long page is shown, the first unless the address says otherwise.

        page: names the parameter; sections: their names in the address, and their titles
        """
        default = next(iter(sections))
        text = self.params.get(page, default)
        value = text if text in sections else default
        if value != text:
            self.note(f"This page has no part {words.code(visible(text[:20]))}. Shown is “{sections[value]}”.")

        def store(name: str) -> None:
            self._store({page: None if name == default else name})

        self._draw(
            page,
            str(sections),
            st.segmented_control,
            store,
            label=label,
            options=list(sections),
            default=value,
            format_func=sections.__getitem__,
            required=True,
            label_visibility="collapsed",
        )
        return value

    def step(self, name: str, label: str, options: Sequence[str], default: str) -> str:
        """One of some texts in their order, with a slider. Where `default` is not one of them, the last one is."""
        default = default if default in options else options[-1]
        text = self.params.get(name, default)
        value = text if text in options else default
        if value != text:
            self.note(f"There is no {name} {words.code(visible(text[:20]))} here. Shown is {value}.")
        if len(options) == 1:
            return value

        def store(option: str) -> None:
            self._store({name: None if option == default else option})

        self._draw(name, str(options), st.select_slider, store, label=label, options=options, value=value)
        return value

    def numbers(self, name: str, ranges: Sequence[tuple[float, float]], defaults: Sequence[float]) -> tuple[float, ...]:
        """Some numbers that are one parameter, as 1_-0.5_30; `number` draws a control for one of them.

        ranges: the lowest and the highest value of each
        """
        text = self.params.get(name)
        if text is None:
            return tuple(defaults)
        try:
            asked = [float(part) for part in text.split("_")]
        except ValueError:
            asked = []
        if len(asked) != len(defaults) or not all(map(math.isfinite, asked)):
            asked_text = words.code(visible(text[:40]))
            count = "one number" if len(defaults) == 1 else f"{len(defaults)} numbers with “_” between them"
            self.note(f"In this link {name} should be {count}, and is {asked_text}. Shown is the default.")
            return tuple(defaults)
        values = tuple(float(min(max(x, low), high)) for x, (low, high) in zip(asked, ranges, strict=True))
        if values != tuple(asked):
            self.note(f"In this link {name} is out of range. Shown is the nearest that can be.")
        return values

    def number(
        self,
        name: str,
        label: str,
        which: int,
        values: Sequence[float],
        bounds: tuple[float, float, float],
        **options: Any,
    ) -> None:
        """A slider for one of the `numbers`. bounds: the lowest and the highest value, and the step between values."""
        low, high, step = map(float, bounds)

        def store(number: float) -> None:
            changed = [*values[:which], number, *values[which + 1 :]]
            self._store({name: "_".join(f"{value:g}" for value in changed)})

        domain = f"{which} {bounds}"
        self._draw(
            name,
            domain,
            st.slider,
            store,
            label=label,
            min_value=low,
            max_value=high,
            step=step,
            value=values[which],
            **options,
        )

    def control(
        self, name: str, which: str, widget: Callable[..., Any], text_of: Callable[[Any], str | None], **options: Any
    ) -> None:
        """Any widget for one part of a parameter that holds several.

        which: tells it from the other controls of this parameter, and from itself with other values on offer
        text_of: the whole parameter, from what was entered; called when it is
        """
        self._draw(name, which, widget, lambda entered: self._store({name: text_of(entered)}), **options)

    def toggle(self, name: str, label: str) -> bool:
        """A switch, off unless the address says otherwise."""
        text = self.params.get(name)
        value = text == "1"
        if text is not None and not value:
            self.note(f"In this link {name} is {words.code(visible(text[:20]))}; only 1 switches it on. Shown is off.")

        def store(on: bool) -> None:
            self._store({name: "1" if on else None})

        self._draw(name, "", st.toggle, store, label=label, value=value)
        return value

    @property
    def _next_link(self) -> str:
        return str(st.session_state.get(_FOLLOWED, 0))

    @property
    def _long_texts(self) -> dict[str, str]:
        texts: dict[str, str] = st.session_state.setdefault(_LONG_TEXTS, {})
        return texts

    def _draw(
        self, name: str, domain: str, widget: Callable[..., Any], store: Callable[[Any], None], **options: Any
    ) -> None:
        """Draw a widget that starts with the view's value and hands changes to `store`.

        Its key begins with the kind of widget, for which page.css keeps room. It changes when another value comes from
        outside, or when the domain (the values on offer) changes: only a new widget is sure to start with our value.
        """
        epoch = st.session_state[_EPOCHS][name]
        key = f"{widget.__name__}:{name}:{epoch}:{sha256(domain.encode()).hexdigest()[:8]}"

        def changed() -> None:
            # Leaving the page at the same moment can have removed the widget's value.
            if key in st.session_state:
                store(st.session_state[key])

        entered = widget(key=key, on_change=changed, **options)
        # A tab whose server was lost goes on in a new session at the next one when something is entered, and Streamlit
        # calls nothing for what a session's first run was asked with.
        if self._session_is_new and entered != _drawn_value(options):
            store(entered)
            st.rerun()

    def _replace(self, params: dict[str, str]) -> None:
        """Take over parameters from outside, and renew the widgets that they change."""
        differences = st.session_state.get(_PARAMS, {}).items() ^ params.items()
        epochs = st.session_state.setdefault(_EPOCHS, Counter())
        epochs.update({name.removesuffix(_KEPT) for name, _ in differences})
        st.session_state[_PARAMS] = params

    def _store(self, texts: dict[str, str | None], resets: Sequence[str] = ()) -> None:
        """Take over what was entered in a widget; other widgets, in `resets`, go back to their defaults."""
        # The session first: writing the address can end this run when a newer one waits.
        self._replace({name: text for name, text in self.params.items() if name not in resets})
        st.session_state[_PARAMS] = _changed(self.params, texts)
        st.query_params.from_dict(self.params)


def _drawn_value(options: Mapping[str, Any]) -> Any:
    """What a widget with these options shows before anybody touches it."""
    if "index" in options:
        return options["options"][options["index"]]
    return options.get("value", options.get("default"))


def _changed(params: dict[str, str], texts: Mapping[str, str | None]) -> dict[str, str]:
    unmarked = {name: text for name, text in params.items() if name != _LINK}
    return {name: text for name, text in {**unmarked, **texts}.items() if text is not None}
