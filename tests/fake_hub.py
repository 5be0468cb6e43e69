"""A hub for the tests: it answers as huggingface.co does, from a folder of checkpoints.

Run as a program it serves `root` on a free port, loads each named model from there in the same process and prints what
became of it as JSON, {name: [kind, message]}. A process of its own, because huggingface_hub reads its settings once.
"""

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ERRORS = {"gated": (403, "GatedRepo"), "missing": (404, "RepoNotFound")}
COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """Owners "gated" and "missing" are refused; of every other model the files under `root` are served."""

    root: Path
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.split("?")[0].removeprefix("/api/models")
        owner, name = path.strip("/").split("/")[:2]
        asked = re.search(r"/resolve/[^/]+/(.+)$", path)
        if owner in ERRORS:
            self._refuse(*ERRORS[owner])
        elif asked and (file := self.root / name / asked[1]).is_file():
            self._send(200, file.read_bytes(), with_body, {"ETag": f'"{file.name}"', "X-Repo-Commit": COMMIT})
        else:
            self._refuse(404, "EntryNotFound")

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", False, {"X-Error-Code": code, "X-Error-Message": code})

    def _send(self, status: int, body: bytes, with_body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: standard output is the answer."""


def main(root: str, names: list[str]) -> None:
    Hub.root = Path(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    import gemma_viz as gv  # after the address is set
    from gemma_viz.errors import ModelError

    outcomes = {}
    for name in names:
        try:
            outcomes[name] = ["loaded", repr(gv.load(name, device="cpu"))]
        except ModelError as error:
            outcomes[name] = [type(error).__name__, str(error)]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
