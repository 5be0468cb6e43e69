"""What stands in `deploy` fits together, and fits the app and the Streamlit that it is for.

That the files mean what they should to their own tools, `make lint-deploy` says.
"""

import base64
import re
from hashlib import sha256
from pathlib import Path

import streamlit
import yaml

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PROXY = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
COMPOSE_FILES = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(DEPLOY.glob("compose*.yaml"))]
SOURCES = [ROOT / "app.py", *(ROOT / "gemma_viz").rglob("*.py")]


def names(pattern: str, *texts: str) -> set[str]:
    return {name for text in texts for name in re.findall(pattern, text)}


def test_the_policy_allows_the_scripts_inside_streamlits_page_and_no_others() -> None:
    page = (Path(streamlit.__file__).parent / "static" / "index.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = {f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts}
    (allowed,) = re.findall(r"script-src ([^;]*);", PROXY)
    assert {part for part in allowed.split() if part.startswith("'sha")} == hashes
    assert "unsafe" not in allowed


def test_the_proxy_is_given_every_setting_that_it_reads() -> None:
    given = {name for file in COMPOSE_FILES for name in file["services"].get("proxy", {}).get("environment", {})}
    assert names(r"\$\{(\w+)\}", PROXY) == given


def test_the_example_of_settings_has_all_that_compose_reads() -> None:
    read = names(r"\$\{(\w+)[:}]", *(path.read_text(encoding="utf-8") for path in DEPLOY.glob("compose*.yaml")))
    assert names(r"(?m)^(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8")) == read


def test_the_app_is_told_of_its_visitors_by_the_proxy_alone() -> None:
    (app,) = (file["services"]["app"] for file in COMPOSE_FILES if "environment" in file["services"].get("app", {}))
    assert app["environment"]["FORWARDED_ALLOW_IPS"] == "*"
    assert "ports" not in app
    assert app["networks"] == ["inside"]
    assert "set-header X-Forwarded-For %[src]" in PROXY


def test_ports_are_the_same_everywhere() -> None:
    (front_matter,) = re.findall(r"\A---\n(.*?)\n---\n", (DEPLOY / "huggingface" / "README.md").read_text(), re.DOTALL)
    (operator_port,) = {
        file["services"]["app"]["environment"]["GEMMA_VIZ_OPERATOR_PORT"]
        for file in COMPOSE_FILES
        if "environment" in file["services"].get("app", {})
    }
    (exposed,) = re.findall(r"EXPOSE (\d+)", DOCKERFILE)
    assert str(yaml.safe_load(front_matter)["app_port"]) == exposed
    assert f":{exposed}/_stcore/health" in DOCKERFILE
    assert f"--server.port={exposed}" in DOCKERFILE
    assert f"app:{exposed}" in PROXY
    assert f"check port {operator_port} " in PROXY


def test_the_hub_takes_the_readme_of_the_space() -> None:
    front_matter = yaml.safe_load((DEPLOY / "huggingface" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert front_matter["sdk"] == "docker"
    assert len(front_matter["short_description"]) <= 60


def test_the_image_is_given_every_file_that_it_copies() -> None:
    copied = {
        name for files in re.findall(r"(?m)^COPY (?!--)(.*) \S+$", DOCKERFILE) for name in files.split()
    }  # the last word is where they go
    let_in = names(r"(?m)^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"))
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


def test_the_operator_is_told_of_every_setting() -> None:
    settings = names(r"\"(GEMMA_VIZ_[A-Z_]+)\"", *(path.read_text(encoding="utf-8") for path in SOURCES))
    guide = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert settings >= {"GEMMA_VIZ_MODELS", "GEMMA_VIZ_OPERATOR_PORT"}
    assert {name for name in settings if f"`{name}`" not in guide} == set()
