"""The command line."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import gemma_viz as gv
from gemma_viz import cli
from gemma_viz.checkpoints import offered_models
from gemma_viz.service.settings import settings


@pytest.fixture
def tiny_folder(tiny_checkpoints: dict[str, Path]) -> str:
    return str(tiny_checkpoints["gemma3"])


def test_next_gives_the_likeliest_tokens(
    tiny_folder: str, tiny_models: dict[str, gv.Model], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["next", "the cat", "--model", tiny_folder, "-k", "3", "--json"]) == 0
    top = tiny_models["gemma3"].capture("the cat").top_k(3)
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == list(top.ids)
    assert [row["probability"] for row in rows] == pytest.approx(list(top.probabilities))


def test_edits_change_what_comes_next(
    tiny_folder: str, tiny_models: dict[str, gv.Model], capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["next", "the cat", "--model", tiny_folder, "--edits", "mlp-off", "--token", "1", "--json"])
    top = tiny_models["gemma3"].capture("the cat", gv.Edits(mlp=False)).top_k(10, 1)
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == list(top.ids)


def test_tokens_as_a_table(tiny_folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tokens", "the cat\n", "--model", tiny_folder]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["position", "id", "piece", "text"]
    assert lines[1].split()[2:] == ["<bos>", "<bos>"]
    assert lines[-1].split()[3] == "⏎"


def test_a_dash_reads_the_text_from_stdin(
    tiny_folder: str,
    tiny_models: dict[str, gv.Model],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the cat\n"))
    cli.main(["tokens", "-", "--model", tiny_folder, "--json"])
    ids = [row["id"] for row in json.loads(capsys.readouterr().out)]
    assert ids == tiny_models["gemma3"].capture("the cat").token_ids.tolist()


def test_walk_writes_the_file_and_says_so_on_stderr(
    tiny_folder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "walk.html"
    arguments = ["--stages", "attention,output", "--layers", "1", "--heads", "0,2", "--edits", "rope-off"]
    assert cli.main(["walk", "the cat", "-o", str(file), "--model", tiny_folder, *arguments]) == 0
    html = file.read_text(encoding="utf-8")
    assert "Layer 1, head 2" in html
    assert "no RoPE" in html
    seen = capsys.readouterr()
    assert seen.out == ""
    assert "100%" in seen.err


def test_capture_keeps_a_run_in_a_file(tiny_folder: str, tiny_models: dict[str, gv.Model], tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    assert cli.main(["capture", "the cat", "-o", str(file), "--model", tiny_folder, "--edits", "rope-off"]) == 0
    kept = gv.Capture.open(file, tiny_models["gemma3"])
    assert (kept.text, kept.edits) == ("the cat", gv.Edits(rope=False))


def test_models_say_what_is_here_and_what_is_needed(
    tiny_folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEMMA_VIZ_CACHE", str(tmp_path))
    monkeypatch.setenv("GEMMA_VIZ_MODELS", f"{tiny_folder},{tmp_path / 'nowhere'}")
    monkeypatch.setattr("gemma_viz.checkpoints.get_token", lambda: None)
    monkeypatch.setattr("gemma_viz.checkpoints.try_to_load_from_cache", lambda *_: None)
    assert cli.main(["models", "--json"]) == 0
    folder, nowhere, embedded, gemma_2b = json.loads(capsys.readouterr().out)
    assert (folder["is_here"], folder["needs"]) == (True, "")
    assert (nowhere["is_here"], nowhere["label"]) == (False, "nowhere")
    assert "There is no folder 'nowhere'" in nowhere["needs"]
    assert (embedded["is_here"], gemma_2b["is_here"]) == (False, False)
    assert "unpacked" in embedded["needs"]
    assert "https://huggingface.co/google/gemma-2b" in gemma_2b["needs"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["next", "a", "--model", "no/such/model"], "no folder 'model'"),
        (["next", "a", "--model", "embeded"], "Did you mean 'embedded'"),
        (["next", "a", "--edits", "dessert-off"], "There is no change 'dessert'"),
        (["walk", "a", "--stages", "tokenization", "-o", "no/such/folder/walk.html"], "No such file"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    arguments: list[str], said: str, tiny_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = [] if "--model" in arguments else ["--model", tiny_folder]
    assert cli.main([*arguments, *own]) == 1
    seen = capsys.readouterr()
    assert said in seen.err
    assert seen.out == ""
    assert "Traceback" not in seen.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["dance"],
        ["next"],
        ["next", "a", "-k", "0"],
        ["next", "a", "--token", "99"],
        ["walk", "a", "--stages", "dessert"],
        ["walk", "a", "--layers", "x"],
        ["walk", "a", "--layers", "99"],
    ],
)
def test_a_command_that_is_none_is_refused_with_2(
    arguments: list[str], tiny_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--model", tiny_folder] if "a" in arguments else []
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, *own])
    assert stopped.value.code == 2
    assert "usage: gemma-viz" in capsys.readouterr().err


def test_the_app_is_started_with_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, command: started.append(command))
    assert cli.main(["app", "--port", "8642", "--host", "127.0.0.1"]) == 0
    (command,) = started
    assert Path(command[command.index("run") + 1]).name == "app.py"
    assert command[-4:] == ["--server.port", "8642", "--server.address", "127.0.0.1"]


def test_the_app_s_models_are_those_that_are_named(
    tiny_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.execv", lambda program, command: None)
    monkeypatch.setenv("GEMMA_VIZ_MODELS", "embedded")
    assert cli.main(["app", "--model", f"{tiny_folder},{tmp_path / 'nowhere'}"]) == 0
    assert offered_models() == (tiny_folder, str(tmp_path / "nowhere"))
    assert "nowhere: There is no folder 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "takes"),
    [
        ("GEMMA_VIZ_LINE", "0", "1 or more"),
        ("GEMMA_VIZ_MAX_TOKENS", "many", "a whole number of tokens"),
        ("GEMMA_VIZ_DEVICE", "toaster", "auto, cpu, cuda"),
    ],
)
def test_a_setting_that_cannot_be_is_said_before_an_address(
    name: str, value: str, takes: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.cache_clear()
    monkeypatch.setattr("os.execv", lambda program, command: pytest.fail("started"))
    monkeypatch.setenv(name, value)
    assert cli.main(["app"]) == 2
    said = capsys.readouterr().err
    assert f"{name} is '{value}'. It takes" in said
    assert takes in said
    assert "http" not in said
    settings.cache_clear()


def test_help_keeps_its_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    assert "Serve captures to any number of apps, from replicas on Ray Serve." in capsys.readouterr().out


def test_an_app_that_is_not_installed_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app_file", lambda: None)
    assert cli.main(["app"]) == 1
    assert "not installed" in capsys.readouterr().err


def test_the_module_can_be_run(tiny_folder: str) -> None:
    command = [sys.executable, "-m", "gemma_viz", "tokens", "-", "--json", "--model", tiny_folder]
    done = subprocess.run(command, input="the cat 🙂\n", capture_output=True, text=True, check=True, encoding="utf-8")
    assert "".join(row["text"] for row in json.loads(done.stdout)).startswith("<bos>the cat ")
