"""The environment variables of a hosted instance."""

from ipaddress import ip_network

import pytest

from gemma_viz.errors import BadSetting
from gemma_viz.service.settings import VARIABLES, Settings


def test_without_variables_and_with_empty_ones_all_is_at_its_default() -> None:
    assert Settings.read({}) == Settings()
    assert Settings.read({name: " " for name, _ in VARIABLES.values()}) == Settings()


def test_every_variable_is_read() -> None:
    assert Settings.read(
        {
            "GEMMA_VIZ_MAX_CHARACTERS": "500",
            "GEMMA_VIZ_REQUESTS_PER_SESSION": "7",
            "GEMMA_VIZ_REQUESTS_PER_ADDRESS": "0",
            "GEMMA_VIZ_TRUSTED_PROXIES": "172.16.0.0/12, ::1",
            "GEMMA_VIZ_LOGIN": "1",
            "GEMMA_VIZ_LOG_TEXT": "1",
            "GEMMA_VIZ_ENGINE": "http://head:8000/",
            "GEMMA_VIZ_PAGES": "80",
            "GEMMA_VIZ_LINE": "9",
            "GEMMA_VIZ_SECONDS": "30",
            "GEMMA_VIZ_CAPTURE_MIB": "64",
            "GEMMA_VIZ_ANSWER_MIB": "32",
        }
    ) == Settings(
        max_characters=500,
        requests_per_session=7,
        requests_per_address=0,
        trusted_proxies=(ip_network("172.16.0.0/12"), ip_network("::1/128")),
        login=True,
        log_text=True,
        engine="http://head:8000",
        pages=80,
        line=9,
        seconds=30,
        capture_mib=64,
        answer_mib=32,
    )


@pytest.mark.parametrize(
    ("name", "text", "takes"),
    [
        ("GEMMA_VIZ_MAX_CHARACTERS", "0", "1 or more"),
        ("GEMMA_VIZ_MAX_CHARACTERS", "2e5", "whole number of characters"),
        ("GEMMA_VIZ_REQUESTS_PER_SESSION", "-1", "0 for no limit"),
        ("GEMMA_VIZ_REQUESTS_PER_ADDRESS", "many", "whole number of requests"),
        ("GEMMA_VIZ_TRUSTED_PROXIES", "10.0.0.1/8", "addresses or networks"),
        ("GEMMA_VIZ_TRUSTED_PROXIES", "proxy", "addresses or networks"),
        ("GEMMA_VIZ_LOGIN", "yes", "1 for on"),
        ("GEMMA_VIZ_LOG_TEXT", "true", "1 for on"),
        ("GEMMA_VIZ_ENGINE", "head:8000", "such as http://"),
        ("GEMMA_VIZ_LINE", "0", "1 or more"),
        ("GEMMA_VIZ_SECONDS", "1.5", "whole number of seconds"),
    ],
)
def test_what_a_variable_cannot_hold_is_named_with_what_it_takes(name: str, text: str, takes: str) -> None:
    with pytest.raises(BadSetting) as raised:
        Settings.read({name: text})
    assert f"{name} is {text!r}." in str(raised.value)
    assert takes in str(raised.value)
