"""What a hosted instance asks of its visitors: a login, patience, and short texts."""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from streamlit.errors import StreamlitMissingAuthlibError
from streamlit.testing.v1 import AppTest

from gemma_viz.engine import local
from gemma_viz.errors import BadSetting
from gemma_viz.service import log
from gemma_viz.service.settings import settings
from gemma_viz.ui import live, view, visitor
from gemma_viz.ui.page import PAGES
from tests.pages.opened import ROOT, charts_of, open_page, prompt_of, said

Set = Callable[..., None]


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch, offered: list[str]):
    """Sets variables of the environment as an operator does, and starts over with nobody counted."""

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"GEMMA_VIZ_{name}", value)
        settings.cache_clear()
        visitor._rate_limit.cache_clear()
        visitor._places.cache_clear()
        live._known_runs.clear()

    yield set_all
    settings.cache_clear()
    visitor._rate_limit.cache_clear()
    visitor._places.cache_clear()


def type_prompt(app: AppTest, text: str) -> AppTest:
    return prompt_of(app).set_value(text).run()


def test_a_visitor_who_asks_for_too_much_is_told_when_to_go_on_and_keeps_the_prompt(setting: Set) -> None:
    setting(REQUESTS_PER_SESSION="2")
    app = open_page("overview.py", prompt="the cat")
    type_prompt(app, "the red cat")
    assert not app.warning
    type_prompt(app, "the green cat")
    assert not app.exception
    assert "Too many requests in a minute: try again in" in app.warning[0].value
    assert any(button.label == "Try again" for button in app.button)
    assert prompt_of(app).value == "the green cat"
    assert app.query_params["prompt"] == "the green cat"
    type_prompt(app, "the red cat")
    assert not app.warning, "what was run before is there"


def test_a_page_that_is_only_drawn_again_counts_nothing(setting: Set) -> None:
    setting(REQUESTS_PER_SESSION="1")
    app = open_page("pages/4_Attention.py", prompt="the red cat")
    for layer in (1, 2, 3):
        app.slider[0].set_value(layer).run()
        assert not app.warning


def test_a_change_of_the_model_is_a_request_of_its_own(setting: Set) -> None:
    setting(REQUESTS_PER_SESSION="1")
    app = open_page("pages/7_Output.py", prompt="the red cat")
    next(toggle for toggle in app.toggle if toggle.label.startswith("Leave out")).set_value(True).run()
    assert not app.exception
    assert "Too many requests" in app.warning[0].value
    assert charts_of(app), "what is above stays"


def test_sessions_from_one_address_share_its_requests(setting: Set) -> None:
    setting(REQUESTS_PER_ADDRESS="1")
    assert not open_page("overview.py", prompt="one").warning
    assert "Too many requests" in open_page("overview.py", prompt="two").warning[0].value


def test_where_too_many_pages_are_drawn_a_visitor_is_told_to_try_again_and_keeps_the_prompt(setting: Set) -> None:
    setting(PAGES="1")
    end = Event()
    other = Thread(target=end.wait)
    other.start()
    visitor._places().take(other)
    app = open_page("overview.py", prompt="the cat")
    end.set()
    other.join()
    assert not app.exception
    assert "This server is busy" in app.warning[0].value
    assert prompt_of(app).value == "the cat"
    next(button for button in app.button if button.label == "Try again").click().run()
    assert not app.warning
    assert charts_of(app)


def test_a_text_beyond_the_characters_is_refused_before_it_is_tokenized_and_kept(
    setting: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting(MAX_CHARACTERS="1000")
    app = open_page("overview.py")
    monkeypatch.setattr("gemma_viz.model.tokenize", None)
    type_prompt(app, "a" * 1001)
    assert not app.exception
    assert app.error[0].value == (
        "The text has 1,001 characters and the limit is 1,000. Shorten it by at least 1 characters."
    )
    assert prompt_of(app).value == "a" * 1001


@pytest.mark.parametrize("n", [1001, 50_000])
def test_any_other_text_beyond_the_characters_is_named_and_dropped(setting: Set, n: int) -> None:
    setting(MAX_CHARACTERS="1000")
    app = open_page("pages/11_Compare.py", prompt="the cat", other="b" * n)
    assert not app.exception
    assert not app.error
    assert f"`other` has {n:,} characters and the limit is 1,000" in app.info[0].value
    assert "other" not in app.query_params
    other = next(box for box in app.text_input if box.label == "Other prompt")
    other.set_value("c" * n).run()
    assert not app.error
    assert f"`other` has {n:,} characters" in app.info[0].value


@pytest.mark.parametrize("name", ["self", "link", "<b>", ""])
def test_a_text_beyond_the_characters_may_have_any_name(setting: Set, name: str) -> None:
    setting(MAX_CHARACTERS="1000")
    app = AppTest.from_file(ROOT / "overview.py", default_timeout=60)
    app.query_params[name] = "b" * 1001
    app.run()
    assert not app.exception
    assert not app.error
    assert "characters and the limit is 1,000" in app.info[0].value


def test_a_session_keeps_no_more_of_long_texts_than_it_may(setting: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    setting()
    monkeypatch.setattr(view, "MOST_KEPT", 20_000)
    app = open_page("overview.py")
    for letter in "abcdef":
        type_prompt(app, letter * 6000)
        assert prompt_of(app).value == letter * 6000
    assert [text[0] for text in app.session_state["_view_long_texts"].values()] == ["d", "e", "f"]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """An [auth] section, as .streamlit/secrets.toml has it."""
    monkeypatch.setattr("streamlit.user_info.get_secrets_auth_section", lambda: {"client_id": "x"})


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("page", PAGES)
def test_with_a_login_set_up_no_page_shows_anything_before_it(setting: Set, page: str) -> None:
    setting(LOGIN="1")
    app = open_page(page, prompt="the red cat")
    assert not app.exception
    assert [button.label for button in app.button] == ["Log in"]
    assert app.text_area == []
    assert "Log in to see" in said(app)


@pytest.mark.usefixtures("secrets")
def test_secrets_for_a_login_are_enough_to_ask_for_it(setting: Set) -> None:
    setting()
    assert [button.label for button in open_page("overview.py").button] == ["Log in"]


def test_a_login_without_its_library_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def login() -> None:
        raise StreamlitMissingAuthlibError

    monkeypatch.setattr("streamlit.login", login)
    with pytest.raises(BadSetting, match="Authlib"):
        visitor._log_in()


def test_who_is_logged_in_sees_the_page_and_the_way_out(setting: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    setting(LOGIN="1")
    monkeypatch.setattr("streamlit.user", {"is_logged_in": True})
    app = open_page("overview.py", prompt="the red cat")
    assert not app.exception
    assert app.title[0].value == "Overview"
    assert app.sidebar.button[0].label == "Log out"


def test_a_login_that_is_asked_for_and_not_set_up_shows_nothing(setting: Set) -> None:
    setting(LOGIN="1")
    app = open_page("overview.py")
    assert not app.exception
    assert "[auth]" in app.error[0].value
    assert app.button == []


@pytest.mark.parametrize("name", ["/etc/passwd", "../..", "google/gemma-7b", "embedded", "a\x00b", "", "<b>x</b>"])
def test_a_link_cannot_name_a_model_that_is_not_offered(
    offered: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loaded: list[str] = []
    load = local.load
    live.engine.cache_clear()
    monkeypatch.setattr(local, "load", lambda name, **options: loaded.append(name) or load(name, **options))
    app = open_page("pages/11_Compare.py", model=name, against="model", other_model=name)
    assert not app.exception
    assert not app.error
    assert [note.value for note in app.info if "that is not offered here" in note.value]
    assert set(loaded) <= set(offered)


def test_a_folder_that_is_there_cannot_be_named_either(
    monkeypatch: pytest.MonkeyPatch, tiny_checkpoints: dict[str, Path]
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_MODELS", str(tiny_checkpoints["gemma1"]))
    app = open_page("overview.py", model=str(tiny_checkpoints["gemma2"]))
    assert "that is not offered here" in app.info[0].value
    assert "Gemma 2" not in " ".join(caption.value for caption in app.caption)


def test_a_page_leaves_a_line_without_the_prompt(setting: Set, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", log.__name__.partition(".")[0])
    setting()
    open_page("pages/4_Attention.py", prompt="the red cat")
    (line,) = (message for message in caplog.messages if "what=page" in message)
    assert "page=Attention" in line
    assert line.endswith("outcome=ok")
    assert "red cat" not in caplog.text
