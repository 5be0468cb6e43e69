"""The Generation page."""

from tests.pages.opened import open_page, prompt_of, said


def test_tokens_are_added_to_the_prompt(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="the cat", temperature="0", new="3")
    for label in ("Add one token", "Add 3 tokens"):
        before = prompt_of(app).value
        next(button for button in app.button if button.label == label).click().run()
        assert not app.exception
        assert not app.error
        assert prompt_of(app).value.startswith(before)
        assert len(prompt_of(app).value) > len(before)


def test_a_text_at_the_limit_cannot_grow(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="a" * 511)
    next(button for button in app.button if button.label == "Add one token").click().run()
    assert not app.exception
    assert "reached the limit of 512 tokens" in " ".join(info.value for info in app.info)


def test_what_is_generated_is_kept_as_a_tree(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="the cat", temperature="0")
    next(button for button in app.button if button.label == "Add one token").click().run()
    assert "1 token, 1 ending" in said(app)


def test_a_number_of_tokens_that_cannot_be_is_said_once(offered: list[str]) -> None:
    app = open_page("pages/8_Generation.py", prompt="the cat", new="999")
    assert [info.value for info in app.info] == ["There is no new `999` here (they go from 2 to 64). Shown is 64."]
    assert any(button.label == "Add 64 tokens" for button in app.button)
