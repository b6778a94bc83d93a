"""Writes the measured figures into README.md and docs/benchmarks.md: `tox -e bench -- --tables`.

In docs/benchmarks.md the text between `<!-- measured: NAME -->` and `<!-- /measured -->` is written
here, and in README.md the table under “What it costs”. A test compares both with the stored
results.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import results
import ways

ROOT = Path(__file__).parents[2]
Kept = Mapping[str, Any]
#: A table row: its first cell, the row of the results, and, in a framework, lrtrack's own there.
Line = tuple[str, tuple[str, str], tuple[str, str] | None]
_HEAD = ("logging", "loop time / without", "95 % interval")


def _line(words: str, way: str) -> Line:
    return words, ways.loop_row(way), None


def _framework_line(words: str, name: str) -> Line:
    return words, ways.framework_row(name), ways.framework_row(name, "lrtrack")


_LIGHTNING = _framework_line(
    "Lightning: LearningRateMonitor, `grad_norm`, MLFlowLogger", "lightning"
)
README_LINES: tuple[Line, ...] = (
    _line("lrtrack, into MLflow on SQLite", "lrtrack"),
    _line("lrtrack, into `mlflow server` on the same two cores", "lrtrack-server"),
    _line("lrtrack, into a W&B run of its own, offline", "lrtrack-wandb"),
    _line("`mlflow.log_metrics` at each step", "mlflow"),
    _line("`wandb.log` at each step, offline", "wandb"),
    _LIGHTNING,
)
PAGE_LINES: tuple[Line, ...] = (
    ("the bare loop once more: the noise", ("loops", "noise: the bare loop once more / the bare "
                                            "loop"), None),
    _line("the gradient norm alone", "norm"),
    *README_LINES[:2],
    _line("lrtrack, while the server is down", "lrtrack-down"),
    _line('lrtrack with `norms="off"`', "lrtrack-nonorm"),
    _line("lrtrack with `updates=100`", "lrtrack-updates"),
    README_LINES[2],
    _line("lrtrack, into your open W&B run, offline", "lrtrack-joined"),
    README_LINES[3],
    _line("the same with `synchronous=False`", "mlflow-async"),
    README_LINES[4],
    _line("the same with `wandb.watch(log_freq=1)`", "wandb-watch"),
    _line("TensorBoard: `SummaryWriter.add_scalar` at each step", "tensorboard"),
    _line("`trackio.log` at each step", "trackio"),
    _line("`swanlab.log` at each step, offline", "swanlab"),
    _line("Aim: `Run.track` at each step", "aim"),
    _LIGHTNING,
    _framework_line("transformers: the Trainer's MLflow callback, `logging_steps=1`",
                    "transformers"),
    _framework_line('accelerate: `log_with="mlflow"`, `accelerator.log` at each step',
                    "accelerate"),
)  # fmt: skip
#: Sentences of docs/benchmarks.md: part, the row's name, and the sentence.
_SENTENCES = (
    ("thread", "cost on the training thread without norm",
     "The training thread pays {} without the gradient norm."),
    ("loops", "delivery after the block", "{} after the block, everything is in the store."),
    ("memory", "memory of the trainer after 1e6 steps",
     "A million steps change the memory of the training process by {}."),
    ("memory", "shipper, 8 runs at once on a machine", "One shipper with eight runs takes {}."),
    ("commands", "`lrtrack --help` / importing MLflow's client",
     "Printing the help text takes {} of the processor time that importing MLflow's client takes."),
    ("commands", "`lrtrack compare` of the demo, from SQLite, without copies / importing MLflow's "
     "client",
     "`lrtrack compare` of the demo takes {} of it."),
    ("reading", "`lrtrack compare`, 100 runs × 10000 steps × 3 metrics, SQLite: cold",
     "`lrtrack compare` of 100 runs × 10,000 steps takes {} from SQLite, with Python's start."),
    ("reading", "`lrtrack compare`, 100 runs × 10000 steps × 3 metrics, `mlflow server` on "
     "PostgreSQL: cold", "From a server on PostgreSQL it takes {}."),
    ("many", "`lrtrack compare`, 1000 runs × 100000 steps × 3 metrics: time",
     "A thousand runs × 100,000 steps take {}."),
    ("many", "`lrtrack compare`, 1000 runs × 100000 steps × 3 metrics: memory",
     "The process then takes at most {} of memory."),
)  # fmt: skip


def write(folder: Path) -> None:
    """Writes the figures that are stored in `folder` into RESULTS.md there and into both pages."""
    kept = results.read(folder)
    (folder / "RESULTS.md").write_text(results.written(kept), encoding="utf-8")
    for path, render in ((ROOT / "README.md", readme), (ROOT / "docs" / "benchmarks.md", page)):
        text = path.read_text(encoding="utf-8")
        peers = (folder / "PEERS.md").read_text(encoding="utf-8")
        path.write_text(render(text, kept, peers), encoding="utf-8")


def readme(text: str, kept: Kept, _: str = "") -> str:
    """Returns README.md with the measured table."""
    table = "\n".join(_table(kept, README_LINES)) + "\n"
    found, number = re.subn(r"^\| logging \|.*\n(?:\|.*\n)+", lambda _: table, text, flags=re.M)
    if number != 1:
        raise SystemExit("README.md needs one table whose first column is “logging”")
    return found


def page(text: str, kept: Kept, peers: str) -> str:
    """Returns docs/benchmarks.md with all that is measured.

    Args:
        text: the page as it is.
        kept: the stored results.
        peers: the text of PEERS.md.
    """
    contents = {
        "costs": _table(kept, PAGE_LINES),
        "figures": _figures(kept),
        "peers": (line for line in peers.splitlines() if line.startswith("|")),
    }
    for name, lines in contents.items():
        block = "\n".join((f"<!-- measured: {name} -->", *lines, "<!-- /measured -->"))
        pattern = rf"<!-- measured: {name} -->\n.*?<!-- /measured -->"
        text, number = re.subn(pattern, lambda _, b=block: b, text, flags=re.S)
        if number != 1:
            raise SystemExit(f"docs/benchmarks.md needs one place for what is measured: {name}")
    return text


def _table(kept: Kept, lines: tuple[Line, ...]) -> Iterator[str]:
    yield f"| {' | '.join(_HEAD)} |"
    yield "|---" * len(_HEAD) + "|"
    for words, place, own_place in lines:
        row = results.find(kept, *place)
        measured, interval = _figure(row), (row or {}).get("interval", "")
        own = results.find(kept, *own_place) if own_place else None
        if own is not None:
            measured += f" (lrtrack there: {_figure(own)})"
        yield f"| {words} | {measured} | {interval} |"


def _figure(row: Mapping[str, Any] | None) -> str:
    return "not measured" if row is None else str(row["measured"])


def _figures(kept: Kept) -> Iterator[str]:
    for part, what, sentence in _SENTENCES:
        row = results.find(kept, part, what)
        if row is None:
            print(f"no result for a sentence of the page: {what}", file=sys.stderr)
        else:
            interval = f" (95 % interval {row['interval']})" if row.get("interval") else ""
            yield f"- {sentence.format(row['measured'] + interval)}"
    marks = [results.verdict(row) for part in kept.values() for row in part["rows"]]
    count = {word: marks.count(word) for word in ("reached", "reached within noise", "missed")}
    said = ", ".join(f"{number} {word}" for word, number in count.items())
    yield f"- Of {sum(count.values())} goals: {said}."
