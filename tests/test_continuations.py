"""The tree of texts."""

from gemma_viz import continuations
from gemma_viz.continuations import Tree


def grown() -> Tree:
    tree = Tree().begun("a", [1])
    for parent, piece in (("a", "b"), ("ab", "c"), ("ab", "d"), ("a", "e"), ("abd", "f")):
        tree = tree.grown(parent, parent + piece, [1, 2], piece, 0.5)
    return tree


def pieces(tree: Tree) -> list[str]:
    return ["".join(tree.nodes[index].piece for index in row) for row in tree.rows()]


def test_rows_run_to_an_end_and_branches_follow_nearest_first() -> None:
    assert pieces(grown()) == ["abc", "df", "e"]


def test_every_text_is_in_one_row_once() -> None:
    tree = grown().begun("z", [9]).grown("z", "zy", [9, 8], "y", 0.1)
    shown = [index for row in tree.rows() for index in row]
    assert sorted(shown) == list(range(len(tree.nodes)))
    assert pieces(tree) == ["abc", "df", "e", "zy"]


def test_a_text_that_is_there_is_not_added_again() -> None:
    tree = grown()
    assert tree.grown("ab", "abc", [1], "c", 0.5) is tree
    assert tree.begun("abd", [1]) is tree
    assert tree.nodes[tree.find("abdf")].parent == tree.find("abd")
    assert tree.find("q") is None


def test_an_empty_tree_has_no_rows() -> None:
    assert list(Tree().rows()) == []


def test_a_tree_that_is_too_large_begins_anew(monkeypatch) -> None:
    monkeypatch.setattr(continuations, "MOST_NODES", 6)
    assert [node.text for node in grown().begun("abc", [1]).nodes] == ["abc"]
