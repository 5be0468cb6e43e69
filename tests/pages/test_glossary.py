"""The glossary, and the links from the other pages to its terms."""

import re

import pytest

from gemma_viz.ui.page import PAGES
from tests.pages.opened import open_page, shown

GLOSSARY = "pages/12_Glossary.py"
STAGES = [page for page in PAGES if page != GLOSSARY]


@pytest.fixture
def anchors(offered: list[str]) -> list[str]:
    """Of all headings of the glossary."""
    return [heading.proto.anchor for heading in (*open_page(GLOSSARY).header, *open_page(GLOSSARY).subheader)]


def test_every_term_has_a_place_of_its_own_and_the_list_leads_to_all_of_them(anchors: list[str]) -> None:
    named = [anchor for anchor in anchors if anchor]
    assert len(named) == len(set(named)) > 60
    listed = re.findall(r"\(#([\w-]+)\)", shown(open_page(GLOSSARY)))
    assert set(listed) == {anchor for anchor in named if not anchor.startswith("page-")}


@pytest.mark.parametrize("page", STAGES)
def test_every_link_from_a_page_leads_to_a_term(anchors: list[str], page: str) -> None:
    linked = re.findall(r"\]\(Glossary#([^\s)]*) \"[^\"]+\"\)", shown(open_page(page)))
    assert set(linked) <= set(anchors)
    assert linked


def test_the_sizes_are_those_of_the_model(offered: list[str]) -> None:
    sizes = open_page(GLOSSARY, model=offered[0]).table[0].value
    assert sizes.loc["`n_layers`", "number"] == "4"
