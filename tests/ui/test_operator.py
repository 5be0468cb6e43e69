"""What only Streamlit knows, also before it serves."""

import pytest
from streamlit import runtime

from gemma_viz.ui.operator import connected_tabs


def test_before_streamlit_serves_no_tab_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.Runtime, "_instance", None)
    assert connected_tabs() == 0


def test_while_streamlit_is_being_made_no_tab_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime.Runtime, "_instance", object.__new__(runtime.Runtime))
    assert connected_tabs() == 0
