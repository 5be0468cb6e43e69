"""The walk as a document: what is in it, and that nothing in a prompt can get out of its text."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
import torch

import gemma_viz as gv
from gemma_viz.figures import output as draw
from gemma_viz.report import STAGES, walk
from gemma_viz.report.document import figure_json, markup
from gemma_viz.stages.heads import most_attentive
from gemma_viz.stages.tokenization import in_characters
from tests.conftest import PROMPT

HOSTILE = ("</script><img src=x onerror=alert(1)>", "$x$ <b>bold</b> `code` **strong** &amp; <!--", "]]></style>\n\\")
LARGEST = 10_000_000  # bytes


class Document(HTMLParser):
    """What a browser would make of a document."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.titles: list[str] = []
        self.ids: list[str] = []
        self.scripts: list[str] = []
        self.figures: list[dict] = []
        self.texts: list[str] = []
        self._script_kind: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        names = dict(attrs)
        if names.get("id"):
            self.ids.append(names["id"] or "")
        self._script_kind = names.get("type", "javascript") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script_kind is None:
            self.texts.append(data)
            if self.tags and self.tags[-1] == "h2":
                self.titles.append(data.strip())
        elif self._script_kind == "javascript":
            self.scripts.append(data)
        elif data.lstrip().startswith("{"):
            self.figures.append(json.loads(data))

    def handle_endtag(self, tag: str) -> None:
        self._script_kind = None

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


@pytest.fixture(scope="module")
def embedded_walk(embedded: gv.Model) -> str:
    return walk(embedded.capture("I want to move"))


def test_every_stage_is_there_for_every_family(tiny: gv.Model) -> None:
    document = Document(walk(tiny.capture(PROMPT)))
    assert [id for id in document.ids if id in STAGES] == list(STAGES)
    assert len(document.figures) > 40
    assert all(figure["data"] for figure in document.figures)


def test_the_document_is_one_small_file_that_asks_for_nothing(embedded_walk: str) -> None:
    document = Document(embedded_walk)
    assert len(embedded_walk.encode()) < LARGEST
    assert not {"iframe", "img", "object", "embed", "form", "base"} & set(document.tags)
    sources = {value for name, value in document.attributes if name in ("src", "href", "action")}
    assert all(source and (source.startswith("#") or source == "data:,") for source in sources)


def test_the_policy_names_the_two_scripts_and_no_network(embedded_walk: str) -> None:
    document = Document(embedded_walk)
    policy = next(
        value or "" for name, value in document.attributes if name == "content" and "default-src" in str(value)
    )
    assert policy
    assert policy.startswith("default-src 'none'; ")
    assert policy.count("'sha256-") == len(document.scripts) == 2
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_the_prompt_and_the_model_s_answer_are_in_it(embedded: gv.Model, embedded_walk: str) -> None:
    best = embedded.capture("I want to move").top_k(1)
    document = Document(embedded_walk)
    assert "What Gemma makes of “I want to move”" in document.text
    assert f"{best.probabilities[0] * 100:.1f}%" in document.text
    assert "Gemma Terms of Use" in document.text


def test_every_chart_has_a_title_and_an_alternative_text(embedded_walk: str) -> None:
    plots = re.findall(r'<div class="plot" role="group" aria-label="([^"]+)"', embedded_walk)
    titles = re.findall(r"<figcaption>([^<]+)</figcaption>", embedded_walk)
    assert len(plots) == len(titles) == len(Document(embedded_walk).figures)


@pytest.mark.parametrize("prompt", HOSTILE)
def test_what_is_typed_stays_text(tiny_models: dict[str, gv.Model], prompt: str) -> None:
    model = tiny_models["gemma3"]
    harmless, hostile = (Document(walk(model.capture(text))) for text in ("a" * 20, prompt))
    assert set(hostile.tags) <= set(harmless.tags)
    assert {name for name, _ in hostile.attributes} <= {name for name, _ in harmless.attributes}
    assert [len(script) for script in hostile.scripts] == [len(script) for script in harmless.scripts]
    assert " ".join(prompt.split()) in hostile.text


def test_a_figure_cannot_end_its_script_element() -> None:
    figure = draw.next_tokens(["</script>", "<!--"], [0.5, 0.25], [1.0, 0.0])
    assert "<" not in figure_json(figure)
    assert json.loads(figure_json(figure))["layout"]["yaxis"]["ticktext"] == ["&lt;/script&gt;", "&lt;!--"]


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**1** of *two*", "<strong>1</strong> of <em>two</em>"),
        ("`<b>` and ``a ` b``", "<code>&lt;b&gt;</code> and <code>a ` b</code>"),
        ("`` `x ``", "<code>`x</code>"),
        (r"\*a\* \<b\> \\", "*a* &lt;b&gt; \\"),
        ("`**not bold**` <i>", "<code>**not bold**</code> &lt;i&gt;"),
    ],
)
def test_sentences_become_html(markdown: str, html: str) -> None:
    assert markup(markdown) == html


def test_stages_layers_and_heads_can_be_chosen(tiny: gv.Model) -> None:
    document = Document(walk(tiny.capture(PROMPT), stages=("mlp", "attention"), layers=(1, -1), heads=(2,), position=3))
    assert [id for id in document.ids if id in STAGES] == ["attention", "mlp"]
    assert "Layer 1, head 2" in document.text
    assert "Layer 3, head 2" in document.text
    assert "Framed is token 3," in document.text


def test_what_is_not_there_is_refused(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    for wrong in ({"position": 99}, {"layers": (4,)}, {"heads": (6,)}):
        with pytest.raises(IndexError):
            walk(cap, **wrong)
    with pytest.raises(ValueError, match="no stage 'dessert'"):
        walk(cap, stages=("dessert",))


@pytest.mark.parametrize("edits", ["rope-off", "norms-off", "causal_mask-off~layers-1", "embedding_factor-1e+06"])
def test_a_changed_model_says_what_is_changed(tiny: gv.Model, edits: str) -> None:
    document = Document(walk(tiny.capture(PROMPT, gv.Edits.from_text(edits))))
    assert "This is not the model as it was trained." in document.text
    assert [id for id in document.ids if id in STAGES] == list(STAGES)


def test_the_model_as_it_was_trained_has_no_such_note(embedded_walk: str) -> None:
    assert "This is not the model as it was trained." not in embedded_walk


def test_a_prompt_of_one_token_can_be_walked(tiny: gv.Model) -> None:
    assert Document(walk(tiny.capture(""))).figures


def test_progress_goes_from_nothing_to_all(tiny: gv.Model) -> None:
    seen: list[float] = []
    walk(tiny.capture(PROMPT), stages=("tokenization", "mlp"), progress=lambda share, what: seen.append(share))
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0.0, 1.0)


def test_the_shown_head_reads_most_of_the_rest(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    patterns = torch.stack([cap.attention(layer).pattern[:, -1] for layer in range(tiny.spec.n_layers)])
    elsewhere = patterns[..., 1:-1].sum(-1)  # [layer, head]
    best = most_attentive(cap, len(cap) - 1)
    assert elsewhere[best.layer, best.head] == elsewhere.max()
    assert best.measure == pytest.approx(float(elsewhere.max()), abs=1e-6)


def test_the_text_in_characters_is_the_same_text(tiny: gv.Model) -> None:
    cap = tiny.capture(PROMPT)
    ids = in_characters(cap)
    assert tiny.tokenizer.decode(ids) == tiny.tokenizer.decode(cap.token_ids)
    assert len(ids) == len(PROMPT) + 1  # <bos>


def test_it_needs_no_streamlit() -> None:
    code = "import sys, gemma_viz.report; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
