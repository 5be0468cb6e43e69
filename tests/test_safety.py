"""What no line of the app does: read from the sources, so that none is missed."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = [*sorted((ROOT / "gemma_viz").rglob("*.py")), ROOT / "app.py", ROOT / "overview.py"]
SHIPPED += sorted((ROOT / "pages").glob("*.py"))
SCRIPTS = sorted((ROOT / "gemma_viz").rglob("*.js"))

CODE_FROM_DATA = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    "torch.load",  # reads pickles
    "st.html",
    "st.iframe",
    "components.html",
    "os.system",
    "os.popen",
}


def name_of(node: ast.expr) -> str:
    """ "torch.load" of the call torch.load(…)."""
    if isinstance(node, ast.Attribute):
        return f"{name_of(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_data_is_run_as_code_and_no_text_is_drawn_as_html(path: Path) -> None:
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert not imported & CODE_FROM_DATA
    for call in calls(path):
        name = name_of(call.func)
        assert name not in CALLS | METHODS, f"{name} in line {call.lineno}"
        for keyword in call.keywords:
            is_on = not (isinstance(keyword.value, ast.Constant) and keyword.value.value is False)
            assert keyword.arg not in ("unsafe_allow_html", "unsafe_allow_javascript", "shell") or not is_on
            assert keyword.arg != "trust_remote_code" or not is_on, f"line {call.lineno}"


def test_every_checkpoint_is_read_without_code_and_its_weights_as_safetensors() -> None:
    read = [call for path in SHIPPED for call in calls(path) if name_of(call.func).endswith(".from_pretrained")]
    ours = [call for call in read if "gguf_file" not in {keyword.arg for keyword in call.keywords}]
    assert len(ours) == 3
    for call in ours:
        assert "trust_remote_code" in {keyword.arg for keyword in call.keywords}
    (weights,) = (call for call in ours if name_of(call.func).startswith("AutoModelForCausalLM"))
    (safetensors,) = (keyword.value for keyword in weights.keywords if keyword.arg == "use_safetensors")
    assert isinstance(safetensors, ast.Constant)
    assert safetensors.value is True


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_component_sets_texts_and_never_markup(path: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|javascript:|srcdoc"
    assert not re.search(forbidden, path.read_text(encoding="utf-8"))


def test_the_server_is_set_up_to_be_safe() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["client"]["showErrorDetails"] == "none"
    assert config["server"]["enableXsrfProtection"] is True
    assert config["server"]["maxUploadSize"] == 1
    assert config["server"]["maxWidgetStateSize"] == 4
    assert config["logger"]["enableRich"] is False
    assert "enableStaticServing" not in config["server"]
    assert "enableAgentApi" not in config["server"]
