"""The operator's log."""

import logging
import re

import pytest

from gemma_viz.errors import EmbeddedModelError, TooManyTokens
from gemma_viz.service import log
from gemma_viz.service.settings import settings

TYPED = "what a visitor typed"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "gemma_viz")
    return caplog


@pytest.fixture
def with_text(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEMMA_VIZ_LOG_TEXT", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


def raised(error: Exception, behind: Exception | None = None) -> Exception:
    try:
        raise error from behind
    except Exception as caught:
        return caught


def test_a_line_has_request_session_page_what_seconds_and_outcome(lines: pytest.LogCaptureFixture) -> None:
    request = log.begin("Transformer layer", "the session's own id")
    log.done("page", text=TYPED, tokens=5)
    log.done("capture", seconds=1.25)
    first, second = lines.messages
    form = (
        rf"request={request.id} session=[0-9a-f]{{8}} page=Transformer_layer what=page seconds=0\.\d{{3}} "
        "tokens=5 outcome=ok"
    )
    assert re.fullmatch(form, first)
    assert "what=capture seconds=1.250" in second
    assert "own id" not in lines.text


def test_requests_of_one_session_share_it_and_differ_in_their_id() -> None:
    one, two, other = log.begin("a", "s"), log.begin("b", "s"), log.begin("a", "t")
    assert one.session == two.session != other.session
    assert len({one.id, two.id, other.id}) == 3


def test_an_unforeseen_error_is_found_by_the_id_that_is_told(lines: pytest.LogCaptureFixture) -> None:
    log.begin("Attention", "s")
    id = log.failed(raised(KeyError(TYPED), behind=OSError(28, "No space left on device", "/srv/cache")))
    (record,) = lines.records
    assert record.levelno == logging.ERROR
    assert f"request={id}" in record.message
    assert "outcome=KeyError" in record.message
    assert "test_log.py" in record.message, "the traceback"
    assert record.message.endswith("builtins.KeyError"), "its message can quote a visitor"
    assert "/srv/cache" in record.message, "what the operating system says is kept"
    assert TYPED not in record.message


def test_an_error_before_a_page_has_begun_has_an_id_too(lines: pytest.LogCaptureFixture) -> None:
    log._present.set(None)
    assert f"request={log.failed(raised(ValueError()))}" in lines.text


def test_what_a_visitor_is_told_is_a_line_and_what_an_operator_can_mend_is_explained(
    lines: pytest.LogCaptureFixture,
) -> None:
    log.refused(TooManyTokens(TYPED))
    log.refused(
        raised(EmbeddedModelError("It could not be written."), behind=OSError(13, "Permission denied", "/srv/x"))
    )
    short, long = lines.messages
    assert short.endswith("outcome=TooManyTokens")
    assert "Permission denied: '/srv/x'" in long


@pytest.mark.usefixtures("with_text")
def test_texts_are_logged_where_the_operator_asks_for_it(lines: pytest.LogCaptureFixture) -> None:
    log.done("page", text=TYPED + "\nforged line")
    log.failed(raised(KeyError(TYPED)))
    first, second = lines.messages
    assert f"text='{TYPED}\\nforged line'" in first
    assert "\n" not in first
    assert f"KeyError: '{TYPED}'" in second
