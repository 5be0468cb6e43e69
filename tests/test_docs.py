"""The documentation is made offline, and what its pages say is so: their code runs, their links open."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from streamlit.testing.v1 import AppTest

import gemma_viz as gv
from docs.build import as_markdown, build
from gemma_viz.stages.residual import lens
from gemma_viz.tokens import visible
from gemma_viz.ui.page import PAGES
from gemma_viz.version import __version__

ROOT = Path(__file__).parents[1]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
PYTHON = [(name, code) for name, text in TEXTS.items() for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
LINKS = sorted({link for text in TEXTS.values() for link in re.findall(r"http://localhost:8501/[^\s>)`]*", text)})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    build(folder)
    return folder


class References(HTMLParser):
    """What a page loads, and where its links go."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "src" or (name == "href" and tag == "link"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")


def pages(site: Path) -> Iterator[Path]:
    return site.rglob("*.html")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in pages(site):
        assert not [url for url in References(page).loads if urlsplit(url).scheme in ("http", "https")], page


def test_links_between_pages_go_somewhere(site: Path) -> None:
    for page in pages(site):
        for link in References(page).links:
            parts = urlsplit(link)
            if not parts.scheme and parts.path:
                assert (page.parent / parts.path).is_file(), f"{page.name} links to {link}"


def test_every_public_name_is_documented(site: Path) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in pages(site))
    for name in gv.__all__:
        assert re.search(rf'id="{name}"', text), name
    assert 'id="Capture.attention"' in text
    assert not list(site.rglob("view.html")), "what the app alone uses is left out"


def test_fields_of_a_docstring_become_a_list() -> None:
    docstring = "A head.\n\nq, rot_q: [head]\n    and more\nz: [head]\n\nSource: nobody."
    assert as_markdown(docstring) == (
        "A head.\n\n- **q, rot_q**: [head]\n    and more\n- **z**: [head]\n\nSource: nobody."
    )


@pytest.mark.parametrize("name", TEXTS)
def test_the_code_on_a_page_runs(
    name: str, embedded: gv.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gv, "load", lambda *name, **options: embedded)  # the fixture has loaded it
    namespace: dict[str, object] = {"model": embedded}
    for page, code in PYTHON:
        if page == name:
            exec(code, namespace)
    if name == "index.md":
        assert namespace["figure"].layout.meta["title"] == "This head's pattern"
    for function in [value for key, value in namespace.items() if key.startswith("test_")]:
        function(embedded)
    if "hook" in namespace:
        assert namespace["seen"][0][0].equal(namespace["cap"].mlp(3).projected)
    if "pattern" in namespace:
        assert namespace["pattern"].shape == (5, 5)
        assert len(Path("pattern.csv").read_text(encoding="utf-8").splitlines()) == 1 + 5 * 6 / 2, "one row for a cell"
        assert "This head's pattern" in Path("pattern.html").read_text(encoding="utf-8")
    if "stream" in namespace:
        assert namespace["again"].resid_pre(3).equal(namespace["stream"])


def test_the_code_in_the_readme_runs(embedded: gv.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gv, "load", lambda *name, **options: embedded)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (?:In a notebook|Take it with you)\n(.*?)(?=^## )", text, re.M | re.S)
    code = "\n".join(line[4:] for section in sections for line in section.splitlines() if line.startswith("    "))
    namespace: dict[str, object] = {}
    exec(code, namespace)
    assert namespace["model"] is embedded
    assert (tmp_path / "move.safetensors").is_file()


def test_the_pages_have_code_and_links() -> None:
    assert len(PYTHON) >= 5
    assert len(LINKS) >= 6


@pytest.mark.parametrize("link", LINKS)
def test_a_link_opens_the_view_it_promises(link: str, embedded: gv.Model) -> None:
    parts = urlsplit(link)
    files = {"" if page == "overview.py" else re.sub(r"pages/\d+_(\w+)\.py", r"\1", page): page for page in PAGES}
    app = AppTest.from_file(ROOT / "overview.py", default_timeout=120)
    asked = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
    for name, value in asked.items():
        app.query_params[name] = value
    page = files[parts.path.removeprefix("/")]
    if page != "overview.py":
        app.switch_page(page)
    app.run()
    assert not app.exception
    assert not app.error
    refusals = ("link", "There is no", "has no part")
    assert not [note.value for note in app.info if any(refusal in note.value for refusal in refusals)]


PREDICTED = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (\d+)% \|", TEXTS["teachers.md"], re.MULTILINE)


def test_the_prompts_for_teachers_are_predicted_as_their_table_says(embedded: gv.Model) -> None:
    assert len(PREDICTED) >= 8
    for prompt, following, percent in PREDICTED:
        top = embedded.capture(prompt).top_k(1)
        assert visible(top.texts[0]) == following, prompt
        assert 100 * top.probabilities[0] == pytest.approx(float(percent), abs=1), prompt


def test_the_plan_for_teachers_says_what_is_seen(embedded: gv.Model) -> None:
    cap = embedded.capture("The cat sat on the mat. The cat sat on the")
    assert lens(cap, len(cap) - 1).leads_from == 12
    assert cap.attention(5).pattern[3, -1, 6] == pytest.approx(0.70, abs=0.01)
    without = embedded.capture(cap.text, gv.Edits(rope=False)).top_k(1)
    assert (without.texts[0], round(without.probabilities[0], 2)) == (" bed", 0.17)
    weak = embedded.capture("The capital of France is").top_k(3)
    assert (weak.texts[2], round(weak.probabilities[2], 2)) == (" Paris", 0.08)


def test_the_settings_that_are_named_are_those_that_are_read() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "gemma_viz").rglob("*.py"))
    for name in set(re.findall(r"GEMMA_VIZ_\w+", "".join(TEXTS.values()))):
        assert f'"{name}"' in source


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "The Gemma Viz contributors"}]
    assert {"cff-version", "message", "title"} <= citation.keys()
