"""A person walks the app in a real browser, on the real model."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import running_server
from tests.browser.driver import CHARTS, STAGES, Driver

ARTICLE_TOKENS = ["<bos>", "I", "␣want", "␣to", "␣move"]


def test_the_article_s_example_is_what_a_first_visit_shows(app: Driver) -> None:
    app.open()
    app.expect(title="Overview", prompt="I want to move", tokens=ARTICLE_TOKENS, selected=4, parameters={})


def test_a_typed_prompt_is_walked_and_kept_in_the_address(app: Driver) -> None:
    app.open()
    app.type_prompt("The capital of France is")
    app.expect(tokens=["<bos>", "The", "␣capital", "␣of", "␣France", "␣is"])
    app.expect(parameters={"prompt": "The capital of France is"})
    app.tab.reload()
    app.settle()
    app.expect(prompt="The capital of France is")
    app.expect(tokens=["<bos>", "The", "␣capital", "␣of", "␣France", "␣is"])


def test_run_takes_over_what_was_typed(app: Driver) -> None:
    app.open()
    app.tab.get_by_label("Prompt", exact=True).fill("one two")
    app.tab.get_by_role("button", name="Run").click()
    app.settle()
    app.expect(tokens=["<bos>", "one", "␣two"])


def test_an_example_replaces_the_prompt_and_the_selection(app: Driver) -> None:
    app.open("?token=1")
    app.tab.get_by_role("button", name="one two three").click()
    app.settle()
    app.expect(prompt="one two three four five six")
    app.expect(tokens=["<bos>", "one", "␣two", "␣three", "␣four", "␣five", "␣six"], selected=6)


def test_a_token_is_chosen_by_mouse_and_by_keyboard(app: Driver) -> None:
    app.open("Output")
    app.choose_token(1)
    app.expect(selected=1, parameters={"token": "1"})
    expect(app.tab.get_by_text("Selected: token 1, counted from 0, of 5")).to_be_visible()
    app.tab.keyboard.press("ArrowRight")
    app.tab.keyboard.press("ArrowRight")
    app.settle()
    app.expect(selected=3, parameters={"token": "3"})
    focused = app.tab.evaluate("() => document.activeElement.shadowRoot?.activeElement?.dataset.position")
    assert focused == "3", "the focus stays on the chosen token"
    app.tab.keyboard.press("Home")
    app.settle()
    app.expect(selected=0)
    app.tab.keyboard.press("End")
    app.settle()
    app.expect(selected=4, parameters={})  # the last token is the default


def test_a_token_names_its_neighbours_in_the_vocabulary_on_hover(app: Driver) -> None:
    app.open()
    expect(app.chips.nth(4)).to_have_attribute("title", "token 4, id 2827, in the vocabulary beside ▁yang and ervice")


def test_next_and_previous_lead_through_all_stages_and_keep_the_view(app: Driver) -> None:
    app.open("?prompt=one+two+three&token=2")
    titles = [stage.replace("_", " ") or "Overview" for stage in STAGES]
    for title in titles[1:]:
        app.follow(title)
        app.expect(title=title, selected=2, parameters={"prompt": "one two three", "token": "2"})
    for title in reversed(titles[:-1]):
        app.follow(title)
        app.expect(parameters={"prompt": "one two three", "token": "2"})


def test_the_sidebar_leads_everywhere_and_keeps_the_view(app: Driver) -> None:
    app.open("Attention?prompt=one+two&layer=3&head=2")
    app.tab.get_by_test_id("stSidebar").get_by_role("link", name="RoPE").click()
    app.tab.wait_for_url("**/RoPE?**")
    app.settle()
    app.expect(title="RoPE")
    app.expect(parameters={"prompt": "one two", "layer": "3", "head": "2"})
    expect(app.tab.get_by_text("In layer 3 pair")).to_be_visible()


def test_a_deep_link_on_a_fresh_server_shows_its_view(tab: object) -> None:
    with running_server() as address:
        app = Driver(tab, address)  # type: ignore[arg-type]
        app.open("Attention?prompt=one+two+three&layer=5&head=1&token=2")
        app.expect(title="Attention", prompt="one two three", tokens=["<bos>", "one", "␣two", "␣three"], selected=2)
        expect(app.tab.get_by_text("Layer 5, head 1.")).to_be_visible()
        app.expect_charts(CHARTS["Attention"])
        assert app.console_errors == []


def test_back_and_forward_restore_each_view(app: Driver) -> None:
    app.open("MLP?prompt=one+two+three&layer=4")
    app.choose_token(1)
    app.follow("Output")
    app.go_back()
    app.expect(title="MLP", selected=1, parameters={"prompt": "one two three", "layer": "4", "token": "1"})
    app.go_back()
    app.expect(title="MLP", selected=3, parameters={"prompt": "one two three", "layer": "4"})
    app.go_forward()
    app.go_forward()
    app.expect(title="Output", selected=1, prompt="one two three")
    app.expect(parameters={"prompt": "one two three", "layer": "4", "token": "1"})


def test_a_slider_moves_the_page_and_the_address(app: Driver) -> None:
    app.open("Attention")
    app.tab.get_by_role("slider", name="Layer").press("ArrowRight")
    app.settle()
    app.expect(parameters={"layer": "1"})
    expect(app.tab.get_by_text("Layer 1, head 0.")).to_be_visible()


def test_a_map_opens_its_head_by_mouse_and_by_keyboard(app: Driver) -> None:
    app.open("Attention?prompt=the+cat+the+cat")
    maps = app.tab.locator(".map")
    expect(maps).to_have_count(72)
    maps.nth(4 * 5 + 3).click()
    expect(app.tab.get_by_text("Layer 5, head 3.")).to_be_visible()
    app.settle()
    app.expect(parameters={"prompt": "the cat the cat", "layer": "5", "head": "3"})
    app.tab.keyboard.press("ArrowDown")
    app.tab.keyboard.press("ArrowLeft")
    app.tab.keyboard.press("Enter")
    expect(app.tab.get_by_text("Layer 6, head 2.")).to_be_visible()
    app.settle()
    expect(app.tab.locator(".map[aria-selected=true]")).to_have_attribute("data-at", str(4 * 6 + 2))


def test_heads_are_found_by_what_they_do(app: Driver) -> None:
    app.open("Attention?prompt=The+cat+sat+on+the+mat.+The+cat+sat+on+the&sort=induction&least=30")
    expect(app.tab.get_by_text("of 72 heads have at least that much")).to_be_visible()
    first = app.tab.locator(".map").first
    expect(first).to_contain_text("L5 H3")
    first.click()
    expect(app.tab.get_by_text("Layer 5, head 3.")).to_be_visible()


def test_arcs_say_what_a_token_reads_and_who_reads_it(app: Driver) -> None:
    app.open("Attention?prompt=The+cat+sat+on+the+mat.+The+cat+sat+on+the&layer=5&head=3&attention=query")
    said = app.tab.locator(".arcs .said")
    expect(said).to_contain_text("12 ␣the reads · head 3: 6 ␣mat")
    app.tab.locator(".arcs .keys .token").nth(6).hover()
    expect(said).to_contain_text("6 ␣mat is read by · head 3: 12 ␣the")
    app.tab.get_by_role("button", name="head 0").click()
    expect(said).to_contain_text("head 0:")
    app.tab.locator(".arcs .queries .token").nth(9).click()
    app.expect(selected=9)
    app.settle()
    expect(app.tab.get_by_text("Selected: token 9, counted from 0, of 13")).to_be_visible()


def test_a_text_grows_and_branches_and_every_page_is_about_it(app: Driver) -> None:
    app.open("Generation?prompt=Once+upon+a+time&temperature=0&new=4")
    app.tab.get_by_role("button", name="Add one token").click()
    app.settle()
    app.expect(prompt="Once upon a time,")
    app.tab.get_by_role("button", name="Add 4 tokens").click()
    chips = app.tab.locator(".tree .chip")
    expect(chips).to_have_count(6)
    app.settle()
    longest = app.prompt
    app.follow("Output")
    app.expect(prompt=longest)
    app.follow("Generation")
    chips.nth(1).click()
    app.settle()
    app.expect(prompt="Once upon a time,")
    app.tab.get_by_role("slider", name="Temperature").press("End")
    app.settle()
    app.tab.get_by_role("button", name="Add one token").click()
    expect(app.tab.locator(".tree .row")).to_have_count(2)
    app.settle()
    expect(app.tab.locator(".tree .row").nth(1)).to_contain_text("after ,")
    expect(app.tab.get_by_text("6 tokens, 2 endings")).to_be_visible()


def test_a_drawn_token_is_put_at_the_end_of_the_prompt(app: Driver) -> None:
    app.open("Output?output=choice&temperature=0&prompt=The+capital+of+France+is")
    app.tab.get_by_role("button", name="Put ␣the at the end").click()
    app.settle()
    app.expect(prompt="The capital of France is the")


def test_leaving_a_step_out_shows_both_predictions(app: Driver) -> None:
    app.open("Output")
    app.tab.get_by_text("Leave out the final norm").click()
    app.settle()
    app.expect(parameters={"off": "1"})
    expect(app.tab.get_by_text("The next token, with and without")).to_be_visible()
    app.expect_charts(CHARTS["Output"] + 1)


def test_a_token_is_drawn_again_and_the_link_draws_the_same(app: Driver) -> None:
    app.open("Output?output=choice&temperature=1.5")
    expect(app.tab.get_by_text("With seed 0 the random number is")).to_be_visible()
    app.tab.get_by_role("button", name="Draw again").click()
    app.settle()
    app.expect(parameters={"output": "choice", "temperature": "1.5", "seed": "1"})
    sentence = app.tab.get_by_text("With seed 1 the random number is")
    drawn = sentence.inner_text()
    app.tab.reload()
    app.settle()
    expect(sentence).to_have_text(drawn)
    app.tab.get_by_role("slider", name="Temperature").press("Home")
    app.settle()
    expect(app.tab.get_by_text("nothing is left to chance")).to_be_visible()


def test_a_logit_is_split_and_compared_with_another(app: Driver) -> None:
    app.open("Output")
    app.tab.get_by_text("Where a logit comes from").click()
    app.settle()
    app.expect(parameters={"output": "parts"})
    app.expect_charts(2)
    box = app.tab.get_by_label("Logit of this word (empty: of the likeliest token)", exact=True)
    box.fill("house")
    box.press("Enter")
    app.settle()
    app.tab.get_by_text("Less the logit of another token").click()
    app.settle()
    app.expect(parameters={"output": "parts", "logit": "house", "compare": "1"})
    expect(app.tab.get_by_text("The parts of ␣house less ␣to, by layer")).to_be_visible()


def test_a_word_is_put_together_step_by_step(app: Driver) -> None:
    app.open("Tokenization")
    expect(app.tab.get_by_text("Merge 4 made")).to_be_visible()
    app.tab.get_by_role("slider", name="Merges done").press("ArrowLeft")
    app.settle()
    app.expect(parameters={"merge": "3"})
    expect(app.tab.get_by_text("Merge 3 made")).to_be_visible()
    app.choose_token(2)
    app.expect(parameters={"token": "2"})  # another word begins with all its merges


def test_a_smaller_vocabulary_cuts_the_prompt_finer(app: Driver) -> None:
    app.open("Tokenization?smaller=1&entries=1,000")
    expect(app.tab.get_by_text("With 1,000 entries your prompt is")).to_be_visible()
    app.expect_charts(CHARTS["Tokenization"] + 1)


def test_norms_of_one_layer_are_left_out(app: Driver) -> None:
    app.open("Transformer_layer?off=1&which=attention&one=1&layer=4")
    expect(app.tab.get_by_text("without the norms around attention of layer 4").first).to_be_visible()
    app.expect_charts(CHARTS["Transformer_layer"] + 2)


def test_the_clock_hands_move_by_play_and_by_slider(app: Driver) -> None:
    app.open("RoPE?token=1")
    chart = app.tab.locator(".figure").first
    says = chart.locator(".slider-label").first
    expect(says).to_contain_text("Hands of token 1 I, turned by")
    hand = chart.locator(".scatterlayer .trace .js-line").last
    at_first = hand.get_attribute("d")
    chart.get_by_text("Play", exact=True).click()
    expect(says).to_contain_text("Hands of token 4 ␣move, turned by")
    assert hand.get_attribute("d") != at_first
    chart.locator(".slider-rail-touch-rect").click(position={"x": 2, "y": 5})
    expect(says).to_contain_text("Hands of token 0 <bos>, turned by 0.0°")


def test_a_key_and_a_shift_are_chosen(app: Driver) -> None:
    app.open("RoPE?rope=distance")
    expect(app.tab.get_by_text("At their own places, 4 and 3,")).to_be_visible()
    app.tab.get_by_role("slider", name="Key").press("ArrowLeft")
    app.settle()
    app.tab.get_by_role("slider", name="Move both on").press("ArrowRight")
    app.settle()
    app.expect(parameters={"rope": "distance", "key": "2", "shift": "101"})
    expect(app.tab.get_by_text("moved on by 101 tokens, to 105 and 103,")).to_be_visible()
    app.choose_token(3)
    app.expect(parameters={"rope": "distance", "shift": "101", "token": "3"})  # begins with the key before it


def test_positions_are_moved_on_and_stretched(app: Driver) -> None:
    app.open("RoPE")
    app.tab.get_by_role("radio", name="Shift and stretch").or_(
        app.tab.get_by_role("button", name="Shift and stretch")
    ).click()
    app.settle()
    expect(app.tab.get_by_text("The patterns do not move: this is rounding.")).to_be_visible()
    app.expect_charts(3)
    app.open("RoPE?rope=shift&positions=stretch&stretch=4")
    expect(app.tab.get_by_text("The patterns move.")).to_be_visible()


def test_a_neuron_is_looked_for_in_the_shipped_text(app: Driver) -> None:
    app.open("MLP?mlp=neuron&layer=8&neuron=65&among=shipped")
    expect(app.tab.get_by_text("tokens. The first token of each piece is left out")).to_be_visible()
    app.expect_charts(4)
    app.tab.get_by_role("slider", name="Neuron").press("ArrowRight")
    app.settle()
    app.expect(parameters={"mlp": "neuron", "layer": "8", "neuron": "66", "among": "shipped"})
    expect(app.tab.get_by_text("Neuron 66 over the prompt")).to_be_visible()


def test_the_toy_is_changed_and_drawn_anew(app: Driver) -> None:
    app.open("MLP")
    app.tab.get_by_text("From the toy to the real").click()
    app.settle()
    expect(app.tab.get_by_text("Which gates are open: 14 regions")).to_be_visible()
    app.tab.get_by_role("slider", name="Gate: offset of the line").press("ArrowRight")
    app.tab.wait_for_url("**toy=305_0.1_**")
    app.settle()
    app.tab.reload()
    app.settle()
    expect(app.tab.get_by_role("slider", name="Gate: offset of the line")).to_have_value("0.1")
    app.tab.get_by_role("button", name="Draw others").click()
    app.settle()
    app.expect(parameters={"mlp": "toy", "toy_seed": "1"})


HOSTILE = '<script>window.broken = true</script> <img src=x onerror="window.broken=true"> [a](javascript:1) $x$ **b**'


def assert_is_text(app: Driver) -> None:
    assert app.tab.evaluate("() => window.broken") is None
    main = app.tab.get_by_test_id("stMain")
    assert main.locator("img[src=x], a[href^=javascript]").count() == 0
    assert app.foreign_requests == []


def test_a_prompt_is_never_markup_on_any_page(app: Driver) -> None:
    app.open()
    app.type_prompt(HOSTILE)
    for stage in STAGES:
        if stage:
            app.follow(stage.replace("_", " "))
        app.expect(walked=HOSTILE)
        assert_is_text(app)
        app.chips.nth(3).click()
        app.settle()
        assert_is_text(app)


@pytest.mark.parametrize(
    ("page", "labels"),
    [
        ("Tokenization", ["Entries that hold this text"]),
        (
            "Embedding?embedding=near",
            [
                "Nearest to this word (empty: to the selected token)",
                "Words added and subtracted, = what you expect",
                "Words, separated by spaces; a line is a group",
            ],
        ),
        ("Transformer_layer?transformer_layer=way", ["Follow this token (empty: the model's answer)"]),
        ("Output?output=norm", ["Row of this word (empty: of the selected token)"]),
        ("Output?output=parts", ["Logit of this word (empty: of the likeliest token)"]),
        ("MLP?mlp=alone", ["Replace token 1 by this word"]),
        ("Compare", ["Other prompt"]),
        ("Compare?comparison=heads", ["Other prompt"]),
        (
            "Patching",
            ["Answer of the clean prompt (empty: its own)", "The other prompt, the corrupted one"],
        ),
    ],
)
def test_what_is_typed_into_the_other_boxes_is_never_markup(app: Driver, page: str, labels: list[str]) -> None:
    app.open(page)
    for label in labels:
        box = app.tab.get_by_label(label, exact=True)
        box.fill(HOSTILE)
        box.press("Control+Enter" if box.evaluate("box => box.tagName") == "TEXTAREA" else "Enter")
        app.settle()
        assert_is_text(app)


def test_a_text_over_the_limit_is_refused_with_count_and_limit_and_kept(app: Driver) -> None:
    app.open()
    text = " ".join(["many words"] * 9_000)
    app.type_prompt(text)
    expect(app.alerts.first).to_contain_text("18,001 tokens")
    app.expect(prompt=text)
    app.type_prompt("few words")
    app.expect(tokens=["<bos>", "few", "␣words"])


def test_a_link_that_asks_for_what_is_not_there_says_so(app: Driver) -> None:
    app.open("Attention?layer=99&head=x&token=40&model=%3Cb%3Ehis%3C/b%3E")
    expect(app.alerts).to_have_count(4)
    expect(app.tab.get_by_text("There is no layer")).to_be_visible()
    app.expect(title="Attention")
    app.expect_charts(CHARTS["Attention"])


def test_a_long_prompt_survives_page_changes_without_being_in_the_address(app: Driver) -> None:
    app.open()
    words = " ".join(f"word{i}" for i in range(700))
    app.type_prompt(words)
    assert "prompt" not in app.parameters
    app.follow("Tokenization")
    app.expect(prompt=words)
    expect(app.alerts).to_have_count(0)
