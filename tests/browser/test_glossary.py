"""From a term in a sentence to what it means."""

from playwright.sync_api import expect

from tests.browser.driver import Driver


def test_a_term_says_what_it_means_and_opens_the_glossary_there(app: Driver) -> None:
    app.open("Transformer_layer")
    link = app.tab.get_by_role("link", name="residual stream").first
    expect(link).to_have_attribute("title", "The vector that every token carries through all layers.")
    with app.tab.expect_popup() as popup:
        link.click()
    heading = popup.value.get_by_role("heading", name="residual stream")
    expect(heading).to_be_in_viewport()
    popup.value.close()


def test_the_glossary_leads_to_the_page_with_the_same_prompt(app: Driver) -> None:
    app.open("Glossary?prompt=The+red+cat")
    app.tab.get_by_role("link", name="To the page Attention").click()
    app.expect(title="Attention", prompt="The red cat")
