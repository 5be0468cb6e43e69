"""Imports point one way, as ARCHITECTURE.md draws it: pages, ui, report, figures, stages, model, capture.

Read from the source, so that no import is missed. Imports for types only (TYPE_CHECKING) are no imports.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gemma_viz"
ALL = "all"  # in the drawing: of the package's modules

FOREIGN = {"streamlit": {"ui"}, "plotly": {"ui", "report", "figures"}}
UPWARDS = {("capture", "checkpoints")}  # inside a function: `Capture.open` loads a model where it is given none

SOURCES = sorted(PACKAGE.rglob("*.py"))
PAGES = [ROOT / "overview.py", *sorted((ROOT / "pages").glob("*.py"))]
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in SOURCES}


def unit(module: str) -> str:
    """What the drawing calls a module: "figures" for "gemma_viz.figures.mlp", "capture" for "gemma_viz.capture"."""
    if module.startswith("gemma_viz.ui.words"):
        return "words"
    if module.startswith("gemma_viz.engine.keys"):
        return "keys"
    return "cli" if module == "gemma_viz.__main__" else module.split(".")[1]


def unit_of_file(path: Path) -> str:
    if path.parent.name == "pages":
        return "pages"
    return path.name if path.parent == ROOT else unit(module_of(path))


def module_of(path: Path) -> str:
    return next(module for module, other in MODULES.items() if other == path)


def drawn() -> dict[str, set[str]]:
    """{unit: the units that its arrows point to}"""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"^Imports point one way.*?\n\n((?: {4}.+\n)+)", text, re.M | re.S)
    assert block
    arrows: dict[str, set[str]] = {}
    for chain in re.split(r"[;\n]", block[1]):
        stations = [{name.strip() for name in station.split(",")} for station in chain.split("->") if station.strip()]
        for froms, to in pairwise(stations):
            for one in froms:
                arrows.setdefault(one, set()).update(to)
    return arrows


ARROWS = drawn()


def below(name: str) -> set[str]:
    """What a unit may import: itself, and all that its arrows lead to."""
    found, ahead = set(), [name, *ARROWS[ALL]]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += ARROWS.get(one, ())
    return found


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs, inside functions too."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child)


def imports(path: Path) -> set[str]:
    """Full names of the modules a file imports."""
    found = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            # "from gemma_viz.figures import style" imports the module gemma_viz.figures.style
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imported_units(path: Path) -> set[str]:
    own = {name for name in imports(path) if name.split(".")[0] == "gemma_viz"}
    return {unit(name) for name in own}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, ROOT / "app.py"], ids=name_of)
def test_a_module_imports_only_where_the_arrows_lead(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        return  # the door to all of it
    own = unit_of_file(path)
    upwards = {to for one, to in UPWARDS if one == own}
    assert imported_units(path) <= below(own) | upwards


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_streamlit_and_plotly_stay_above(path: Path) -> None:
    for library, allowed in FOREIGN.items():
        if library in {name.split(".")[0] for name in imports(path)}:
            assert unit_of_file(path) in allowed


def test_the_arrows_make_no_circle_and_name_only_what_there_is() -> None:
    units = {unit(module) for module in MODULES if module != "gemma_viz"} | {"app.py", "overview.py", "pages"}
    named = ARROWS.keys() | set().union(*ARROWS.values())
    assert named - {ALL} == units
    for one, to in ARROWS.items():
        for other in to:
            assert one == ALL or one not in below(other), f"{one} and {other} point at each other"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_a_page_has_no_tensor_code(path: Path) -> None:
    assert {name.split(".")[0] for name in imports(path)} <= {"streamlit", "pandas", "gemma_viz"}


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=name_of)
def test_nothing_that_is_shipped_imports_the_tests(path: Path) -> None:
    assert not {"tests", "benchmarks", "pytest"} & {name.split(".")[0] for name in imports(path)}


def test_a_step_that_a_page_shows_needs_only_torch() -> None:
    assert {name.split(".")[0] for name in imports(PACKAGE / "steps.py")} <= {"torch", "itertools", "collections"}
