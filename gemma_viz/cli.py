"""The command line: the app, the walk as a document, and what a shell asks for.

Results go to stdout, everything else to stderr.

Returns 0; 1 where something cannot be had, which a sentence on stderr explains; 2 for a command that is not one, or a
setting in the environment that cannot be.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from transformers.utils import logging

from gemma_viz.capture import Capture
from gemma_viz.checkpoints import (
    EMBEDDED,
    GEMMA_2B,
    MODELS,
    availability,
    load,
    offered_models,
    token_limit_setting,
)
from gemma_viz.edits import Edits
from gemma_viz.engine import serve
from gemma_viz.errors import BadSetting, GemmaVizError
from gemma_viz.model import Model
from gemma_viz.placement import default_device, device_setting
from gemma_viz.report import STAGES, walk
from gemma_viz.service.settings import settings
from gemma_viz.tokens import visible
from gemma_viz.ui.words import NO_NUMBERS

APP_FILES = ("app.py", "pages/1_Tokenization.py")  # that tell the app from another app.py beside a package

EPILOG = f"""\
TEXT is the prompt; - reads it from stdin, without its last line break.

MODEL is "{EMBEDDED}" (Gemma 3 270M, the default), a hub id such as {GEMMA_2B}, or the folder of a
Gemma 1, 2 or 3 text model. `gemma-viz models` says what there is.

EDITS change the model for this run, as in the app's links: rope-off, norms-off~layers-3_4,
activation-relu. Several are joined by ~.

examples:
  gemma-viz app --port 8600 --model ./checkpoints/mine,embedded
  gemma-viz walk "I want to move" -o walk.html
  gemma-viz walk "The cat sat on the mat. The cat" --layers 5,11 --heads 0 --stages attention,output
  gemma-viz next "The capital of France is" -k 5
  gemma-viz next "The capital of France is" --edits attention-off
  gemma-viz next "I want to move" --edits without_heads-3x2
  echo "Naïve café 🙂" | gemma-viz tokens - --json
"""


class UsageError(Exception):
    """The command asks for something that is not there; completes the parser's own errors."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. arguments: those of the process if not given."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    logging.disable_progress_bar()  # its bars would mix with our own lines
    try:
        asked.run(asked)
    except UsageError as error:
        parser.error(str(error))
    except BadSetting as error:
        return _say(str(error), 2)
    except GemmaVizError as error:
        return _say(str(error))
    except OSError as error:
        return _say(f"{error.filename or 'The output'} could not be read or written: {error.strerror}.")
    except KeyboardInterrupt:
        return _say("Interrupted.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gemma-viz",
        description="See inside Gemma, with your own prompt, on the real model.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_serving(commands)
    _add_writing(commands)
    _add_printing(commands)
    return parser


def _add_serving(commands: Any) -> None:
    app = _command(commands, "app", "open the app: a server on this machine that a browser shows", _app)
    app.add_argument("--port", type=int, default=8501, help="where it listens (default: %(default)s)")
    app.add_argument("--host", help="the address it listens on (default: all of this machine's)")
    app.add_argument(
        "--model",
        default="",
        metavar="NAME,…",
        help=f"what visitors may choose, the first of them unasked: embedded, hub ids, folders (default: ${MODELS}; "
        "without it the embedded model, and Gemma 2B where this machine can have it)",
    )

    engine = _command(commands, "serve", "serve captures to any number of apps, from replicas on Ray Serve", _serve)
    engine.add_argument("--host", default="127.0.0.1", help="the address it listens on (default: %(default)s)")
    engine.add_argument("--port", type=int, default=8000, help="where it listens (default: %(default)s)")
    engine.add_argument(
        "--replicas",
        type=_positive,
        nargs=2,
        default=(1, 4),
        metavar=("FEWEST", "MOST"),
        help="how many there are, with the work that there is (default: 1 4)",
    )
    engine.add_argument("--cpus", type=float, default=1.0, help="cores of each replica (default: %(default)s)")
    engine.add_argument(
        "--gpus",
        type=float,
        help="GPUs of each replica, 0.5 for two on one GPU (default: 1 where this machine has any)",
    )


def _add_writing(commands: Any) -> None:
    document = _command(commands, "walk", "write the walk of a prompt as one HTML file", _walk)
    _add_text(document)
    _add_run(document)
    document.add_argument(
        "-o", "--output", default="walk.html", metavar="FILE", help="- for stdout (default: %(default)s)"
    )
    document.add_argument(
        "--token", type=int, default=-1, metavar="N", help="the position to follow (default: the last)"
    )
    document.add_argument("--layers", type=_numbers, default=(), metavar="N,…", help="which layers to show")
    document.add_argument("--heads", type=_numbers, default=(), metavar="N,…", help="which of their heads to show")
    document.add_argument(
        "--stages", type=_stages, default=STAGES, metavar="NAME,…", help=f"of {', '.join(STAGES)} (default: all)"
    )

    captured = _command(
        commands, "capture", "run a prompt and keep the run in a file, for gemma_viz.Capture.open", _keep
    )
    _add_text(captured)
    _add_run(captured)
    captured.add_argument(
        "-o", "--output", default="capture.safetensors", metavar="FILE", help="(default: %(default)s)"
    )


def _add_printing(commands: Any) -> None:
    following = _command(commands, "next", "the likeliest next tokens", _next)
    _add_text(following)
    _add_run(following)
    following.add_argument("-k", type=_positive, default=10, metavar="N", help="how many (default: %(default)s)")
    following.add_argument("--token", type=int, default=-1, metavar="N", help="after this position (default: the last)")
    _add_json(following)

    tokens = _command(commands, "tokens", "how a prompt is cut: position, id, piece, text", _tokens)
    _add_text(tokens)
    _add_model(tokens)
    _add_json(tokens)

    models = _command(commands, "models", "which models are here, and what the others need", _models)
    _add_json(models)


def _command(commands: Any, name: str, help: str, run: Callable[[Any], None]) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    command.set_defaults(run=run)
    return command


def _add_text(command: argparse.ArgumentParser) -> None:
    command.add_argument("text", metavar="TEXT", help="the prompt; - reads it from stdin")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=EMBEDDED, help="embedded, a hub id or a folder (default: %(default)s)")


def _add_run(command: argparse.ArgumentParser) -> None:
    _add_model(command)
    command.add_argument("--edits", default="", help="what to change in the model: rope-off~layers-3_4")


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="as JSON")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


def _stages(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in STAGES]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no stage {unknown[0]!r}; they are {', '.join(STAGES)}")
    return names


def _app(asked: argparse.Namespace) -> None:
    app = app_file()
    if app is None:
        raise GemmaVizError("The app's pages are not installed with this package. Run it from the project's folder.")
    if asked.model:
        os.environ[MODELS] = asked.model
    _check_settings()
    for name in offered_models():
        model = availability(name)
        if model.needs:
            _report(f"{model.label}: {model.needs}")
    command = [sys.executable, "-m", "streamlit", "run", str(app), "--server.port", str(asked.port)]
    command += ["--server.address", asked.host] if asked.host else []
    _report(f"Gemma Viz: http://{asked.host or 'localhost'}:{asked.port}")
    os.execv(sys.executable, command)  # in this process's place, so that signals reach the server


def _check_settings() -> None:
    """Raises BadSetting: one that cannot be is said before an address that would not answer."""
    settings()
    device_setting()
    token_limit_setting()


def _serve(asked: argparse.Namespace) -> None:
    fewest, most = asked.replicas
    if fewest > most:
        raise UsageError("--replicas takes the smaller number first")
    gpus = float(default_device().type == "cuda") if asked.gpus is None else asked.gpus
    _check_settings()
    serve.run(asked.host, asked.port, (fewest, most), asked.cpus, gpus, _report)


def app_file() -> Path | None:
    """The app's first page: in a working tree beside the package, else where the package's installer has put it."""
    tree = Path(__file__).parents[1]
    if all((tree / name).is_file() for name in APP_FILES):
        return tree / "app.py"
    try:
        installed = files("gemma-viz") or []
    except PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in installed if file.parts[-2:] == ("gemma-viz", "app.py"))
    return next(filter(Path.is_file, found), None)


def _walk(asked: argparse.Namespace) -> None:
    cap = _capture(asked)
    try:
        html = walk(
            cap,
            position=asked.token,
            stages=asked.stages,
            layers=asked.layers,
            heads=asked.heads,
            progress=_progress,
        )
    except IndexError as error:
        raise UsageError(str(error)) from error
    if asked.output == "-":
        sys.stdout.write(html)
        return
    Path(asked.output).write_text(html, encoding="utf-8", newline="\n")
    _report(f"{asked.output}: {len(html.encode()) / 1e6:.1f} MB. Open it in a browser.")


def _keep(asked: argparse.Namespace) -> None:
    cap = _capture(asked)
    cap.save(asked.output)
    _report(f"{asked.output}: {len(cap):,} tokens.")


def _next(asked: argparse.Namespace) -> None:
    cap = _capture(asked)
    try:
        top = cap.top_k(asked.k, asked.token)
    except IndexError as error:
        raise UsageError(str(error)) from error
    if not all(map(_is_number, top.logits)):
        raise GemmaVizError(NO_NUMBERS)
    rows = [
        {"id": id, "text": text, "logit": logit, "probability": probability}
        for id, text, logit, probability in zip(top.ids, top.texts, top.logits, top.probabilities, strict=True)
    ]
    _print(rows, asked.json, {"logit": "{:.3f}".format, "probability": "{:.2%}".format, "text": visible})


def _tokens(asked: argparse.Namespace) -> None:
    tokens = _load(asked.model).tokens(_text(asked.text))
    rows = [{"position": t.position, "id": t.id, "piece": t.piece, "text": t.text} for t in tokens]
    _print(rows, asked.json, {"text": visible, "piece": visible})


def _models(asked: argparse.Namespace) -> None:
    names = dict.fromkeys([*offered_models(), EMBEDDED, GEMMA_2B])
    rows = [asdict(availability(name)) for name in names]
    _print(rows, asked.json, {"is_here": lambda is_here: "here" if is_here else "not here"})
    if not asked.json:
        print("\nMODEL can also be the hub id or the folder of any other Gemma 1, 2 or 3 text model.")


def _capture(asked: argparse.Namespace) -> Capture:
    edits = Edits.from_text(asked.edits)
    text = _text(asked.text)
    return _load(asked.model).capture(text, edits)


def _load(name: str) -> Model:
    return load(name, progress=_progress)


def _text(text: str) -> str:
    return sys.stdin.read().removesuffix("\n") if text == "-" else text


def _is_number(value: float) -> bool:
    return abs(value) < float("inf")


def _print(rows: Sequence[dict[str, Any]], as_json: bool, shown: dict[str, Callable[[Any], str]]) -> None:
    """Rows of one kind, as JSON or as a table. shown: how a column's values are written in the table."""
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    lines = [list(rows[0]), *([shown.get(name, str)(value) for name, value in row.items()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _progress(share: float, what: str) -> None:
    _report(f"{share:4.0%}  {what}")


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say(error: str, code: int = 1) -> int:
    _report(f"gemma-viz: {error}")
    return code
