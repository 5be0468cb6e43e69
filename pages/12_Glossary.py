"""Glossary: the terms of the walk, and the sizes of the model that runs."""

import pandas as pd
import streamlit as st

from gemma_viz.ui.page import end_page, start_page
from gemma_viz.ui.words_glossary import CHAPTERS, SIZES, TERMS

page = start_page(
    "Glossary",
    "The terms of the walk in plain words, in the order in which they are met, each with the page that shows it on "
    "your prompt. Links in the texts of the other pages lead here.",
)

st.header("All terms")
st.markdown(" · ".join(f"[{name}](#{TERMS[name].anchor})" for name in sorted(TERMS, key=str.casefold)))

st.header("Sizes of this model")
spec = page.run.model.spec
sizes = [(f"`{name}`", f"{getattr(spec, name):,}", counted) for name, counted in SIZES.items()]
with st.container(key="sizes"):
    st.table(pd.DataFrame(sizes, columns=["name", "number", "of"]).set_index("name"))

for chapter in CHAPTERS:
    st.header(chapter.title, divider="gray", anchor=chapter.anchor)
    page.view.page_link(chapter.file, f"To the page {chapter.title}", icon=":material/arrow_forward:")
    for entry in chapter.terms:
        st.subheader(entry.name, anchor=entry.anchor)
        st.markdown(f"{entry.means}  \n:small[{entry.source}]" if entry.source else entry.means)

end_page(page)
