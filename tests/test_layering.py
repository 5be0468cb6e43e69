"""Imports point one way: pages, ui, report, figures, stages, capture.

Read from the source, so that no import is missed.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gemma_viz"

# Each layer may import itself and the layers after it.
LAYERS = ("cli", "ui", "engine", "report", "words", "figures", "stages", "core")
FOREIGN = {"streamlit": {"ui"}, "plotly": {"ui", "report", "figures"}}


def layer_of(module: str) -> str:
    """The layer of "gemma_viz.figures.mlp" is "figures", that of "gemma_viz.capture" is "core".

    The sentences in ui/words*.py are a layer of their own: they know nothing of Streamlit, and the walk that is
    written as a document has them too.
    """
    part = module.split(".")[1] if "." in module else ""
    if module.startswith("gemma_viz.ui.words"):
        return "words"
    if module == "gemma_viz.__main__":
        return "cli"
    if module.startswith("gemma_viz.engine.keys"):  # names only, for all who speak of runs
        return "core"
    return part if part in LAYERS else "core"


def imports(path: Path) -> set[str]:
    """Full names of the modules a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            # "from gemma_viz.figures import style" imports the module gemma_viz.figures.style
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_its_own_layer_and_those_below(path: Path) -> None:
    own = layer_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
    allowed = LAYERS[LAYERS.index(own) :]
    for name in imports(path):
        if name.split(".")[0] == "gemma_viz":
            assert layer_of(name) in allowed, f"{name} stands above {own}"
        for library, layers in FOREIGN.items():
            assert name.split(".")[0] != library or own in layers, f"{own} imports {library}"


PAGES = [ROOT / "overview.py", *sorted((ROOT / "pages").glob("*.py"))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_no_tensor_code(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} <= {"streamlit", "pandas", "gemma_viz"}


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_shipped_imports_the_tests(path: Path) -> None:
    assert not {"tests", "benchmarks", "pytest"} & {name.split(".")[0] for name in imports(path)}


def test_a_step_that_a_page_shows_needs_only_torch() -> None:
    assert {name.split(".")[0] for name in imports(PACKAGE / "steps.py")} <= {"torch", "itertools", "collections"}
