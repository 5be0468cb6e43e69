"""The settings of a hosted instance, from environment variables.

Those of models are read where models are loaded: `GEMMA_VIZ_MODELS` and `GEMMA_VIZ_MAX_TOKENS` in `checkpoints.py`,
`GEMMA_VIZ_DEVICE` in `placement.py`, `GEMMA_VIZ_CACHE` in `embedded.py`. The sizes of uploads and messages are
Streamlit's: `.streamlit/config.toml`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from gemma_viz.errors import BadSetting

Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Settings:
    """What an operator sets.

    max_characters: int, the longest text that is handed to a tokenizer
    requests_per_session, requests_per_address: int, runs of the model that are begun in a minute; 0 for no limit
    trusted_proxies: networks of the proxies whose X-Forwarded-For is believed
    login: bool, whether every page asks for a login first
    log_text: bool, whether the log may hold what visitors type
    engine: str, the address of an engine on other machines, "" for the one of this process
    pages: int, pages that are drawn at the same time, beyond which the app is busy
    line: int, visitors who wait for the engine at the same time, beyond whom it is busy
    seconds: float, how long one request may work
    capture_mib, answer_mib: int, MiB of captures and of answers that are remembered
    """

    max_characters: int = 200_000
    requests_per_session: int = 120
    requests_per_address: int = 1_200
    trusted_proxies: tuple[Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    login: bool = False
    log_text: bool = False
    engine: str = ""
    pages: int = 64
    line: int = 32
    seconds: float = 120.0
    capture_mib: int = 512
    answer_mib: int = 256

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings in an environment; what is not set, or empty, is at its default. Raises BadSetting."""
        found: dict[str, Any] = {}
        for field, (name, parse) in VARIABLES.items():
            if text := environment.get(name, "").strip():
                found[field] = parse(name, text)
        return cls(**found)


@cache
def settings() -> Settings:
    """Those of this process, read once. Raises BadSetting."""
    return Settings.read(os.environ)


def _requests(name: str, text: str) -> int:
    if not text.isdecimal():
        raise BadSetting(
            f"{name} is {text!r}. It takes a whole number of requests per minute, 0 for no limit, or nothing."
        )
    return int(text)


def _networks(name: str, text: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise BadSetting(
            f"{name} is {text!r}. It takes addresses or networks, such as 172.16.0.0/12, separated by commas."
        ) from error


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise BadSetting(f"{name} is {text!r}. It takes 1 for on, 0 for off, or nothing.")
    return text == "1"


def _address(name: str, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise BadSetting(f"{name} is {text!r}. It takes an address such as http://127.0.0.1:8000, or nothing.")
    return text.rstrip("/")


def _whole(unit: str) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        if not (text.isdecimal() and int(text) > 0):
            raise BadSetting(f"{name} is {text!r}. It takes a whole number of {unit}, 1 or more, or nothing.")
        return int(text)

    return parse


# The fields' variables, and what reads one from its name and text.
VARIABLES: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "max_characters": ("GEMMA_VIZ_MAX_CHARACTERS", _whole("characters")),
    "requests_per_session": ("GEMMA_VIZ_REQUESTS_PER_SESSION", _requests),
    "requests_per_address": ("GEMMA_VIZ_REQUESTS_PER_ADDRESS", _requests),
    "trusted_proxies": ("GEMMA_VIZ_TRUSTED_PROXIES", _networks),
    "login": ("GEMMA_VIZ_LOGIN", _switch),
    "log_text": ("GEMMA_VIZ_LOG_TEXT", _switch),
    "engine": ("GEMMA_VIZ_ENGINE", _address),
    "pages": ("GEMMA_VIZ_PAGES", _whole("pages")),
    "line": ("GEMMA_VIZ_LINE", _whole("visitors")),
    "seconds": ("GEMMA_VIZ_SECONDS", _whole("seconds")),
    "capture_mib": ("GEMMA_VIZ_CAPTURE_MIB", _whole("MiB")),
    "answer_mib": ("GEMMA_VIZ_ANSWER_MIB", _whole("MiB")),
}
