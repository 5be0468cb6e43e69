"""Makes the documentation: the pages of this folder, and a reference from the docstrings. Nothing is fetched.

python -m docs.build [folder]
"""

import re
import sys
from pathlib import Path

import pdoc
from pdoc import render, render_helpers
from pdoc.docstrings import convert

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "gemma_viz"
DEFAULT_FOLDER = HERE.parent / "build" / "docs"

# In our docstrings a line "q, rot_q: [head, position]" describes fields or arguments.
FIELD = re.compile(r"^([a-z]\w*(?:, \w+)*): ", re.MULTILINE)


def build(folder: Path) -> None:
    """Write all pages into a folder."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.md"))}
    render.configure(docformat="markdown", include_undocumented=False, template_directory=HERE / "templates")
    render.env.globals["modules"] = modules()
    render.env.globals["pages"] = {name: _title(text) for name, text in pages.items()}
    render.env.filters["to_markdown"] = as_markdown
    # pdoc finds the modules of stages and figures by itself, but not those of a package that has an __all__.
    pdoc.pdoc(*(name for name in modules() if name.count(".") < 2), output_directory=folder)
    template = render.env.get_template("page.html.jinja2")
    for name, text in pages.items():
        content = re.sub(r"href=\"(\w+)\.md\"", r'href="\1.html"', render_helpers.to_html(text))
        (folder / f"{name}.html").write_text(template.render(title=_title(text), content=content), encoding="utf-8")


def modules() -> list[str]:
    """The package and its modules, by name, without those that only the app uses."""
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    names = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    return sorted(name for name in names if not name.startswith("gemma_viz.ui") and not name.endswith("__"))


def as_markdown(docstring: str) -> str:
    """A docstring with its fields as a list, which Markdown would run together into one paragraph."""
    return FIELD.sub(r"- **\1**: ", convert(docstring, "markdown", None))


def _title(text: str) -> str:
    """A page's first heading."""
    return text.splitlines()[0].removeprefix("# ")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    build(target)
    print(f"The documentation is in {target / 'index.html'}")
