"""The notebooks run from top to bottom, are stored without outputs, and give what their texts say."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

import gemma_viz as gv
from gemma_viz.stages.output import compare

ROOT = Path(__file__).parents[1]
WALK = ROOT / "notebooks" / "walk.ipynb"
NOTEBOOKS = sorted(WALK.parent.glob("*.ipynb"))


def printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def kinds(cell: NotebookNode) -> set[str]:
    """The media types in which a cell's value is shown."""
    return {kind for output in cell.outputs if "data" in output for kind in output.data}


@pytest.fixture(scope="module")
def walk(embedded: gv.Model) -> dict[str, NotebookNode]:
    """The cells of the walk by their ids, run in a kernel of their own. An error in a cell is raised here."""
    assert embedded.name == "embedded"  # converted by now, so that the kernel need not
    notebook = nbformat.read(WALK, as_version=4)
    # Figures as data: the page's script, of four megabytes, is not what is looked at here.
    environment = os.environ | {"PLOTLY_RENDERER": "plotly_mimetype", "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}})
    client.execute(env=environment)
    return {cell.id: cell for cell in notebook.cells}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_whole_and_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)


def test_every_step_by_hand_is_the_model_s_own(walk: dict[str, NotebookNode]) -> None:
    checked = ("embedding", "sum", "norm", "mask", "rope", "mlp", "output")
    for name in checked:
        differences = [float(found) for found in re.findall(r"(\d\.\de[+-]\d\d) from", printed(walk[name]))]
        assert differences, name
        assert max(differences) < 1e-5, name


def test_the_walk_has_the_article_s_tokens_and_cuts_them_itself(walk: dict[str, NotebookNode]) -> None:
    assert [line.split()[-1] for line in printed(walk["tokens"]).splitlines()[1:]] == [
        "<bos>", "I", "␣want", "␣to", "␣move",
    ]  # fmt: skip
    assert "the same as the tokenizer's: True" in printed(walk["bpe"])


def test_captures_and_rankings_show_themselves(walk: dict[str, NotebookNode], embedded: gv.Model) -> None:
    for name in ("capture", "answer", "nearest", "attention"):
        assert kinds(walk[name]) == {"text/html", "text/plain"}
    assert walk["answer"].outputs[0].data["text/plain"] == repr(embedded.capture("I want to move").top_k(8))


@pytest.mark.parametrize("name", ["lengths", "stream", "pattern", "clock", "gates", "lens", "side_by_side"])
def test_a_picture_is_drawn(walk: dict[str, NotebookNode], name: str) -> None:
    assert "application/vnd.plotly.v1+json" in kinds(walk[name])


def test_the_mask_leaves_no_weight_on_later_tokens(walk: dict[str, NotebookNode]) -> None:
    assert "weight on later tokens: 0.0" in printed(walk["mask"])


def test_a_score_depends_on_the_distance_only(walk: dict[str, NotebookNode]) -> None:
    here, moved = map(float, re.findall(r": (-?\d+\.\d+)", printed(walk["distance"])))
    assert here == pytest.approx(moved, abs=2e-3)


def test_what_is_left_out_changes_the_prediction(walk: dict[str, NotebookNode], embedded: gv.Model) -> None:
    distances = [float(line.split()[0]) for line in printed(walk["edits"]).splitlines()]
    assert len(distances) == 5
    cap = embedded.capture("I want to move")
    alone = compare(cap, embedded.capture(cap.text, gv.Edits(attention=False)), len(cap) - 1)
    assert distances[2] == pytest.approx(alone.kl_divergence, abs=0.01)


def test_rope_matters_more_where_the_text_repeats_itself(walk: dict[str, NotebookNode]) -> None:
    short, repeating = (float(re.search(r"\d+\.\d\d", printed(walk[name]))[0]) for name in ("edits", "longer"))
    assert repeating > 10 * short


def test_the_saved_capture_gives_the_same_bits(walk: dict[str, NotebookNode]) -> None:
    assert "the same pattern: True" in printed(walk["file"])
