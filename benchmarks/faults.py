"""Faults and bad input against a real server: what comes of it, and what others notice.

    python -m benchmarks.faults [--only NAME …] [--json FILE]

During each of them a few visitors walk the pages as in `load.py`; the table says how many pages they were shown, what
was wrong with them, and how long the slowest took. At the end the server is killed under load and started again.
"""

import argparse
import asyncio
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.Common_pb2 import FileURLsRequest, SInt64Array
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from websockets.exceptions import ConnectionClosed

from benchmarks.load import warming
from benchmarks.load_server import MIB, Server
from benchmarks.load_session import Shown, Tab
from benchmarks.load_visitors import BACK, BROKEN, OK, Plan, Record, simulate
from benchmarks.tables import markdown

PATIENCE = 30.0
PROMPT = "The capital of France is"
ADDRESS = urlencode({"prompt": PROMPT})
WITNESSES, WITNESS_SECONDS = 3, 10
KILLED = "kill -9 under load"
GIVEN_UP = 120  # seconds

Fault = Callable[[str], Awaitable[str]]


@dataclass(frozen=True)
class Finding:
    """What came of a fault.

    got: what the one who caused it got; pages, wrong, slowest: what the witnesses were shown, and seconds
    server: whether it is the same one still, and answers; memory_mib: its memory afterwards
    """

    fault: str
    got: str
    pages: int
    wrong: str
    slowest: float
    server: str
    memory_mib: float


# What an attacker does


async def tab(server: str, query: str = ADDRESS) -> Tab:
    """A tab that is connected, and has not asked for anything."""
    opened = Tab(server, query)
    await opened.connect()
    return opened


def sent(*messages: bytes | str) -> Fault:
    """Messages that may be anything, one after the other."""

    async def fault(server: str) -> str:
        attacker = await tab(server)
        try:
            async with asyncio.timeout(PATIENCE):
                for message in messages:
                    await attacker.send(message)
                return describe(await attacker.received())
        except ConnectionClosed as closed:
            return f"the connection is closed ({closed.rcvd.code if closed.rcvd else 'without a word'})"
        except TimeoutError:
            return "no answer"
        finally:
            await attacker.close()

    return fault


def asked(query: str = ADDRESS, page: str = "", path: str = "", **state: object) -> Fault:
    """A request for a page that is well-formed, and odd."""
    request = ClientState(query_string=query, page_script_hash=page, page_name=path, **state)  # type: ignore[arg-type]
    return sent(BackMsg(rerun_script=request).SerializeToString())


def linked(**parameters: str) -> Fault:
    """A link with odd parameters."""
    return asked(urlencode({"prompt": PROMPT} | parameters))


def describe(shown: Shown) -> str:
    """What a page shows, in a few words."""
    if shown.errors:
        return "an error: " + shown.errors[0][:160]
    what = "a whole page" if shown.whole else f"part of a page, {shown.n_messages} messages"
    return what + (f", which says: {shown.alerts[0][:160]}" if shown.alerts else "")


def bad_widgets() -> list[WidgetState]:
    """Values for widgets that are not there, of types that nothing has, and not numbers."""
    return [
        WidgetState(id="nobody", string_value="x" * 1000),
        WidgetState(id="$$ID-0-prompt:1:0", int_value=7),
        WidgetState(id="$$ID-0-layer:0:0", int_array_value=SInt64Array(data=[1 << 62])),
        WidgetState(id="$$ID-0-tokens", json_trigger_value="{not json"),
        WidgetState(id="", double_value=math.nan),
    ]


async def wrong_types(server: str) -> str:
    """The page's own widgets with values of another type, or far out of range."""
    attacker = await tab(server)
    try:
        page = await attacker.run(path="Attention")
        wrong = [WidgetState(id=page.box, int_value=7)]
        wrong += [WidgetState(id=id, double_array_value={"data": [1e308]}) for id in page.sliders]
        return describe(await attacker.run(widgets=wrong))
    except ConnectionClosed:
        return "the connection is closed"
    finally:
        await attacker.close()


def typed(prompt: str) -> Fault:
    """A prompt in the prompt box."""

    async def fault(server: str) -> str:
        attacker = await tab(server)
        try:
            box = (await attacker.run()).box
            return describe(await attacker.run(widgets=[WidgetState(id=box, string_value=prompt)]))
        except ConnectionClosed:
            return "the connection is closed"
        finally:
            await attacker.close()

    return fault


async def foreign_session(server: str) -> str:
    """A session's id that was made up."""
    attacker = Tab(server, ADDRESS)
    attacker.session = "00000000-0000-4000-8000-000000000000"
    await attacker.connect()
    shown = await attacker.run()
    await attacker.close()
    return f"{describe(shown)}; the session is a new one: {not attacker.session.startswith('00000000')}"


async def opened_and_dropped(server: str, n: int = 2000, at_once: int = 50) -> str:
    """Connections that come and go, half of them after they asked for a page."""
    limit, refused = asyncio.Semaphore(at_once), 0

    async def one(number: int) -> None:
        nonlocal refused
        async with limit:
            try:
                attacker = await tab(server)
                if number % 2:
                    await attacker.send(BackMsg(rerun_script=ClientState(query_string=ADDRESS)).SerializeToString())
                attacker.drop()
            except (*BROKEN, TimeoutError):
                refused += 1

    await asyncio.gather(*(one(number) for number in range(n)))
    return f"{n - refused:,} of {n:,} were accepted"


async def silent(server: str, n: int = 500) -> str:
    """Connections that stay and say nothing."""
    tabs = [await tab(server) for _ in range(n)]
    await asyncio.sleep(5)
    await asyncio.gather(*(one.close() for one in tabs))
    return f"{n} stayed"


async def impatient(server: str, n: int = 300) -> str:
    """One tab that asks again and again and does not wait."""
    attacker = await tab(server)
    for number in range(n):
        request = ClientState(query_string=urlencode({"prompt": f"{PROMPT} {number}"}), page_name="Attention")
        await attacker.send(BackMsg(rerun_script=request).SerializeToString())
    async with asyncio.timeout(2 * PATIENCE):
        shown = await attacker.received()
    await attacker.close()
    return describe(shown)


async def never_reads(server: str, n: int = 40) -> str:
    """A tab that asks for large pages and reads none of what it gets."""
    attacker = await tab(server)
    for _ in range(n):
        await attacker.send(
            BackMsg(rerun_script=ClientState(query_string=ADDRESS, page_name="MLP")).SerializeToString()
        )
        await asyncio.sleep(0.25)
    attacker.drop()
    return "let go after ten seconds"


async def uploads(server: str, mib: int = 20) -> str:
    """A file that no page asked for, sent where Streamlit takes files of its upload widget."""
    attacker = await tab(server)
    try:
        await attacker.run()
        request = FileURLsRequest(request_id="1", file_names=["x.bin"], session_id=attacker.session)
        await attacker.send(BackMsg(file_urls_request=request).SerializeToString())
        url = f"{server}/_stcore/upload_file/{attacker.session}/00000000-0000-4000-8000-000000000000"
        body = (
            b'--x\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' + bytes(mib * MIB) + b"\r\n--x--"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        put = urllib.request.Request(url, body, headers, method="PUT")
        return await asyncio.to_thread(_status, put)
    finally:
        await attacker.close()


def _status(request: urllib.request.Request) -> str:
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return f"taken (HTTP {answer.status})"
    except urllib.error.HTTPError as error:
        return f"refused (HTTP {error.code})"
    except OSError as error:
        return f"refused ({error})"


def faults() -> dict[str, Fault]:
    """All of them by what they are."""
    noise = Random(0).randbytes(2000)
    whole = BackMsg(rerun_script=ClientState(query_string=ADDRESS, page_name="MLP")).SerializeToString()
    return {
        "random bytes": sent(noise),
        "a truncated message": sent(whole[:-3]),
        "an empty message": sent(b""),
        "a text message": sent("hello"),
        "a message of 60 MB": sent(bytes(60 * MIB)),
        "a message of 201 MB": sent(bytes(201 * MIB)),
        "a widget value of 20 MB": asked(
            widget_states=WidgetStates(widgets=[WidgetState(id="nobody", string_value="x" * 20 * MIB)])
        ),
        "a prompt of 5 MB": typed("word " * MIB),
        "widgets that are not there": asked(widget_states=WidgetStates(widgets=bad_widgets())),
        "widgets with values of another type": wrong_types,
        "an unknown page's hash": asked(page="f" * 32),
        "an unknown page's name": asked(path="../../../etc/passwd"),
        "an unknown fragment": asked(fragment_id="f" * 32),
        "an unknown session": foreign_session,
        "a demand to shut down": sent(BackMsg(debug_shutdown_runtime=True).SerializeToString()),
        "a demand to clear all caches": sent(BackMsg(clear_cache=True).SerializeToString(), whole),
        "a file that nobody asked for": uploads,
        "an address of 1 MB": asked("prompt=" + "x" * MIB),
        "an address that is no query": asked("&&==%%%ff%zz&prompt=%ff%fe&&layer"),
        "a link to another model": linked(model="/etc/passwd"),
        "a link to a folder": linked(model="../../models/x"),
        "a link with numbers out of range": linked(layer="99999999999999999999", head="-1", token="1e9", heads="0_0_x"),
        "a link with tags": linked(prompt="<script>alert(1)</script><img src=x onerror=alert(1)>"),
        "a link with control characters": linked(prompt="a\x00b\x1b[31m\u202e\ufffe", token="\x00"),
        "a link to changes that are none": linked(edits="rope:off,;{}()__import__", patch="1_2_3_x", why="nothing"),
        "300 requests without waiting": impatient,
        "a tab that never reads": never_reads,
        "500 silent connections": silent,
        "2,000 connections opened and dropped": opened_and_dropped,
    }


# What others notice


def witnessed(name: str, fault: Fault, server: Server, pool: ProcessPoolExecutor) -> Finding:
    """Let a fault happen while others walk the pages."""
    crowd = pool.submit(simulate, Plan(server.address, WITNESSES, WITNESS_SECONDS, think=0.5, own=0.1))
    time.sleep(1)
    try:
        got = asyncio.run(fault(server.address))
    except (*BROKEN, TimeoutError) as error:
        got = f"{type(error).__name__} {error}"
    return _finding(name, got, crowd.result(), server)


def killed(server: Server, pool: ProcessPoolExecutor, n_visitors: int = 10) -> Finding:
    """Kill the server under load and start it again, as a supervisor does; visitors come back by their addresses."""
    crowd = pool.submit(simulate, Plan(server.address, n_visitors, seconds=40, think=1, patience=120))
    time.sleep(15)
    server.kill()
    server.start()
    record = crowd.result()
    came_back = [action for action in record.actions if action.kind == BACK]
    again = sum(action.outcome == OK for action in came_back)
    got = f"{record.drops} connections broke; {again} of {len(came_back)} visitors saw their page again"
    return _finding(KILLED, got, record, server)


def _finding(name: str, got: str, record: Record, server: Server) -> Finding:
    wrong = [action for action in record.actions if action.outcome != OK]
    said = f"{len(wrong)}, {wrong[0].outcome}: {wrong[0].said[:100]}" if wrong else "0"
    slowest = max((action.seconds for action in record.actions), default=math.nan)
    return Finding(name, got, len(record.actions), said, slowest, _state(server), server.memory_mib())


def _state(server: Server) -> str:
    """How the server is; one that is gone, or does not answer any more, is replaced."""
    start = time.monotonic()
    while server.running() and not server.healthy():
        if time.monotonic() > start + GIVEN_UP:
            server.kill()
    waited = time.monotonic() - start
    if not server.running():
        server.start()
        return "DOWN"
    return "up" if waited < 1 else f"up again after {waited:.0f} s"


def _is_among(name: str, parts: list[str]) -> bool:
    return any(part in name for part in parts)


def main() -> None:
    """Let all of them happen, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="only those whose name holds one of these")
    parser.add_argument("--json", type=Path, default=Path("build/faults.json"))
    options = parser.parse_args()
    chosen = {name: fault for name, fault in faults().items() if _is_among(name, options.only)}
    findings = []
    with (
        Server(options.json.with_name("faults-server.log")) as server,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        pool.submit(simulate, warming(Plan(server.address, 1, 0, 0))).result()
        for name, fault in chosen.items():
            findings.append(witnessed(name, fault, server, pool))
            print(findings[-1], flush=True)
        if _is_among(KILLED, options.only):
            findings.append(killed(server, pool))
    options.json.write_text(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    header = ["fault", "what it gets", "others' pages", "of them wrong", "slowest, s", "server", "MiB afterwards"]
    rows = [
        [
            *(found.fault, found.got.replace("|", "\\|").replace("\n", " "), found.pages, found.wrong),
            *(f"{found.slowest:.1f}", found.server, f"{found.memory_mib:,.0f}"),
        ]
        for found in findings
    ]
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
