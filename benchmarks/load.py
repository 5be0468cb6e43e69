"""How many visitors the app bears: simulated ones over its websocket, and a few real browsers among them.

    python -m benchmarks.load [--visitors 1 10 50 200] [--seconds 120] [--think 20] [--browsers 3] [--json FILE]
    python -m benchmarks.load --memory                as many actions as a class makes in an hour, and the memory
    python -m benchmarks.load --url http://…          a server that runs already

Every visitor has a tab of its own, turns pages, types prompts from a worksheet of 20 and some of its own, and chooses
tokens, layers and heads; in between it reads for a while (on the average --think seconds). Every page is checked to be
of the visitor's own prompt: box, token strip, the token axes of charts and the links. What the Overview says comes next
is compared with the model's own answer afterwards. The server is a fresh one for every number of visitors, on which one
visitor has walked through all pages before.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.load_browsers import Seen, walk
from benchmarks.load_server import Server
from benchmarks.load_visitors import (
    BUSY,
    FAILED,
    LOST,
    MIXED,
    OK,
    OPEN,
    PAGE,
    PROMPT,
    WALK,
    Action,
    Plan,
    Record,
    outcomes,
    simulate,
)
from benchmarks.tables import markdown

CLASS = 50
SAMPLE_SECONDS = 1.0
NEARLY = 0.002  # of probability: two tokens this near may change places by rounding
WRITTEN = Path("build/load.json")


@dataclass
class Run:
    """One number of visitors.

    memory: (seconds, MiB) of the server over time; server_cpu: seconds; wrong: answers that are not the model's
    """

    plan: Plan
    record: Record
    seen: Seen
    memory: list[tuple[float, float]] = field(default_factory=list)
    server_cpu: float = 0.0
    wrong: list[str] = field(default_factory=list)


def measured(plan: Plan, server: Server | None, n_browsers: int) -> Run:
    """Let a crowd loose on a server, in a process of its own, and watch the server meanwhile."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        pool.submit(simulate, warming(plan)).result()
        start, cpu = time.monotonic(), server.cpu_seconds() if server else 0.0
        crowd: Future[Record] = pool.submit(simulate, plan)
        browsers = pool.submit(walk, plan.server, n_browsers, plan.seconds) if n_browsers else None
        memory = []
        while not crowd.done():
            if server:
                memory.append((time.monotonic() - start, server.memory_mib()))
            time.sleep(SAMPLE_SECONDS)
        used = server.cpu_seconds() - cpu if server else 0.0
        return Run(plan, crowd.result(), browsers.result() if browsers else Seen(), memory, used)


def warming(plan: Plan) -> Plan:
    """One visitor who has been everywhere before the others come: the model is loaded, every page was drawn once."""
    n_pages = len(WALK)
    return Plan(plan.server, 1, math.inf, 0, actions=n_pages, own=0, habits={PAGE: 1}, steady=1, patience=300)


def wrong_answers(answers: dict[tuple[str, int], set[str]]) -> list[str]:
    """Where visitors were told another likeliest token than the model gives."""
    import gemma_viz as gv  # not above: every process that is started here imports this module, and torch is large
    from gemma_viz.tokens import visible
    from gemma_viz.ui import words

    model = gv.load()
    wrong = []
    for (prompt, position), told in answers.items():
        top = model.capture(prompt).top_k(5, position)
        largest = top.probabilities[0]
        likeliest = {text for text, p in zip(top.texts, top.probabilities, strict=True) if p > largest - NEARLY}
        if extra := told - {words.code(visible(text)) for text in likeliest}:
            wrong.append(f"after token {position} of {prompt!r}: {', '.join(extra)}, not {', '.join(likeliest)}")
    return wrong


# What it says


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of some values that at least this share of them does not exceed; NaN of none."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def times(actions: Sequence[Action], *kinds: str) -> str:
    """Median, 95% and worst seconds of the actions of some kinds that showed a page."""
    took = [action.seconds for action in actions if action.kind in kinds and action.outcome == OK]
    if not took:
        return "–"
    return f"{statistics.median(took):.2f} / {percentile(took, 0.95):.2f} / {max(took):.2f}"


def table(runs: Sequence[Run]) -> str:
    """A line for each number of visitors."""
    header = [
        *(
            "visitors",
            "actions",
            "a second",
            "page change, s",
            "prompt change, s",
            "opening, s",
            "failed",
            "lost",
            "mixed up",
        ),
        *("wrong answers", "busy", "dropped", "kB an action", "server CPU, ms an action", "client CPU, ms an action"),
        *("memory at start, middle, end, MiB", "browsers' pages, failures"),
    ]
    return markdown(header, [_line(run) for run in runs])


def _line(run: Run) -> list[Any]:
    actions, counts = run.record.actions, outcomes(run.record.actions)
    n = max(1, len(actions))
    memory = [megabytes for _, megabytes in run.memory]
    in_time = [memory[0], memory[len(memory) // 2], memory[-1]] if memory else []
    seen = run.seen
    return [
        *(run.plan.visitors, len(actions), f"{n / run.record.seconds:.1f}"),
        *(times(actions, PAGE), times(actions, PROMPT), times(actions, OPEN)),
        *(counts[FAILED], counts[LOST], counts[MIXED]),
        f"{len(run.wrong)} of {len(run.record.answers)}",
        *(counts[BUSY], run.record.drops),
        f"{sum(action.n_bytes for action in actions) / 1000 / n:.0f}",
        f"{1000 * run.server_cpu / n:.0f}",
        f"{1000 * run.record.cpu / n:.0f}",
        ", ".join(f"{megabytes:,.0f}" for megabytes in in_time) or "–",
        f"{len(seen.seconds)}, {len(seen.failures)}; median {statistics.median(seen.seconds):.1f} s"
        if seen.seconds
        else "–",
    ]


def by_page(run: Run) -> str:
    """A line for each page. The server's CPU time is the page's own only where there is one visitor."""
    header = ["page", "actions", "median / 95% / worst, s", "kB", "messages"]
    rows = []
    for page in WALK:
        actions = [action for action in run.record.actions if action.page == page and action.outcome == OK]
        if actions:
            sizes = statistics.median(action.n_bytes for action in actions) / 1000
            messages = statistics.median(action.n_messages for action in actions)
            row = [
                page or "Overview",
                len(actions),
                times(actions, *{a.kind for a in actions}),
                f"{sizes:.0f}",
                messages,
            ]
            if run.plan.visitors == 1:
                cpu = [1000 * action.server_cpu for action in actions]
                row.append(f"{statistics.median(cpu):.0f} / {max(cpu):.0f}")
            rows.append(row)
    if run.plan.visitors == 1:
        header.append("server CPU, ms: median / worst")
    return markdown(header, rows)


def memory_over_time(run: Run, n_rows: int = 20) -> str:
    """Memory in equal steps of a run, and how many actions had been done by then."""
    rows = []
    for step in range(n_rows + 1):
        seconds, mib = run.memory[step * (len(run.memory) - 1) // n_rows]
        done = sum(action.begin + action.seconds <= seconds for action in run.record.actions)
        rows.append([f"{seconds:.0f}", f"{done:,}", f"{mib:,.0f}"])
    return markdown(["seconds", "actions done", "resident memory, MiB"], rows)


def complaints(run: Run, most: int = 10) -> str:
    """What went wrong, in sentences."""
    lines = [
        f"{action.outcome}: {action.said} (visitor {action.visitor}, {action.kind}, {action.page or 'Overview'})"
        for action in run.record.actions
        if action.outcome not in (OK, BUSY)
    ]
    lines += [f"wrong: {line}" for line in run.wrong]
    lines += [f"in a browser: {line}" for line in run.seen.failures]
    more = [f"and {len(lines) - most} more"] if lines[most:] else []
    return "".join(f"- {line}\n" for line in lines[:most] + more)


def main() -> None:
    """Measure, print and write."""
    from benchmarks.measure import alone, machine  # torch again

    options = _options()
    if options.memory:
        # Four visitors without a pause come and go; more would only wait for each other.
        plans = [Plan("", 4, math.inf, 0, actions=round(CLASS * 3600 / options.think), seed=options.seed)]
        print(f"{plans[0].actions:,} actions: what {CLASS} visitors make in an hour, {options.think:g} s apart\n")
    else:
        plans = [Plan("", n, options.seconds, options.think, seed=options.seed) for n in options.visitors]
    runs = []
    for plan in plans:
        log = options.json.with_name(f"load-server-{plan.visitors}.log")
        with nullcontext() if options.url else Server(log) as server:
            here = {"server": options.url} if options.url else {"server": server.address, "pid": server.pid}
            run = measured(Plan(**asdict(plan) | here), server, options.browsers)
        run.wrong = alone(wrong_answers, run.record.answers)
        runs.append(run)
        options.json.write_text(
            json.dumps({"machine": machine(), "runs": [_plain(run) for run in runs]}, indent=1) + "\n"
        )
        print(f"{plan.visitors} visitors\n\n{by_page(run)}\n{complaints(run)}", flush=True)
        if options.memory and run.memory:
            print(memory_over_time(run))
    print(table(runs))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, nargs="+", default=[1, 10, 50, 200])
    parser.add_argument("--seconds", type=float, default=120, help="how long each number of visitors walks")
    parser.add_argument("--think", type=float, default=20, help="mean seconds between a visitor's actions")
    parser.add_argument("--browsers", type=int, default=0, help="real browsers beside the simulated visitors")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--url")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=WRITTEN)
    return parser.parse_args()


def _plain(run: Run) -> dict[str, Any]:
    """Without the single actions, of which there are thousands, but with the times of those that showed a page."""
    actions = run.record.actions
    took: dict[str, list[float]] = {}
    for action in actions:
        if action.outcome == OK:
            took.setdefault(action.kind, []).append(round(action.seconds, 3))
    return {
        "plan": asdict(run.plan),
        "outcomes": outcomes(actions),
        "seconds": took,
        "bytes": sum(action.n_bytes for action in actions),
        "drops": run.record.drops,
        "server_cpu_seconds": run.server_cpu,
        "client_cpu_seconds": run.record.cpu,
        "memory_mib": run.memory,
        "answers_checked": len(run.record.answers),
        "wrong_answers": run.wrong,
        "browsers": asdict(run.seen),
    }


if __name__ == "__main__":
    main()
