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
MODULES = ("gemma_viz", "!gemma_viz.ui")  # what the app alone uses is no interface
DEFAULT_FOLDER = HERE.parent / "build" / "docs"

# In our docstrings a line "q, rot_q: [head, position]" describes fields or arguments.
FIELD = re.compile(r"^(\w+(?:, \w+)*): ", re.MULTILINE)


def build(folder: Path) -> None:
    """Write all pages into a folder."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.md"))}
    render.configure(docformat="markdown", template_directory=HERE / "templates")
    render.env.globals["pages"] = {name: _title(text) for name, text in pages.items()}
    render.env.filters["to_markdown"] = as_markdown
    pdoc.pdoc(*MODULES, output_directory=folder)
    template = render.env.get_template("page.html.jinja2")
    for name, text in pages.items():
        content = re.sub(r"href=\"(\w+)\.md\"", r'href="\1.html"', render_helpers.to_html(text))
        (folder / f"{name}.html").write_text(template.render(title=_title(text), content=content), encoding="utf-8")


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
