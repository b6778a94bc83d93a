"""Measures the cost of lrtrack and of common alternatives: `tox -e bench`, into RESULTS.md.

    bench.py [--only PART[,PART…]] [--rounds N] [--steps N] [--into FOLDER] [--tables]
             [--device cpu|cuda] [--tiny]

The whole benchmark takes about an hour on two quiet cores, needs an otherwise idle machine, and
writes the tables of README.md and docs/benchmarks.md as well; `--tables` only does that.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import circumstances
import commands
import first
import gpu
import long_run
import loops
import memory
import pages
import peers
import reading
import reporting
import results
import shipping
import thread
import untimed

PARTS = {
    "loops": ("In the training loop", loops.measure),
    "longer": ("In loops of longer steps", loops.measure_longer),
    "peers": ("Beside other ways to log each step", loops.measure_peers),
    "frameworks": ("Beside what frameworks log", loops.measure_frameworks),
    "arrived": ("What arrives, beside other ways to log", peers.measure),
    "gpu": ("On a GPU", gpu.measure),
    "thread": ("On the training thread", thread.measure),
    "reporting": ("From a mistake to its report", reporting.measure),
    "shown": ("Shown by tests", untimed.measure),
    "memory": ("Memory", memory.measure),
    "long": ("One very long run", long_run.measure),
    "shipping": ("Delivery", shipping.measure),
    "first": ("The first run", first.measure),
    "commands": ("Commands", commands.measure),
    "reading": ("Reading back", reading.measure),
    "many": ("Reading back a thousand long runs", reading.measure_many),
}

#: The most rounds of parts whose pairs vary little and take long: six still give an interval.
MOST_ROUNDS = {"first": 6, "shipping": 6, "reading": 6}


def main() -> None:
    """Measures the chosen parts and stores their results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART[,PART…]")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=10_000, help="the unit of each part's size")
    parser.add_argument("--into", type=Path, default=results.HERE, help="where results are stored")
    parser.add_argument("--tables", action="store_true", help="only write the tables of the pages")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="of part gpu")
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="a tiny model in part gpu, to see that it works; stores nothing without --into",
    )
    given = parser.parse_args()
    chosen = given.only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"no such part: {unknown[0]}; there are {', '.join(PARTS)}")
    if not given.tables:
        _measure(given, chosen)
    whole = set(chosen) == set(PARTS) and given.into == results.HERE and not given.tiny
    if given.tables or whole:
        pages.write(given.into)


def _measure(given: argparse.Namespace, chosen: list[str]) -> None:
    whole = set(chosen) == set(PARTS)
    run = results.begin(given.into, whole=whole, rounds=given.rounds)
    for name in chosen:
        title, measure = PARTS[name]
        if name == "gpu":
            measure = partial(measure, device=given.device, tiny=given.tiny)
        if name == "arrived":
            measure = partial(measure, into=given.into)
        print(title, file=sys.stderr, flush=True)
        load = circumstances.Load()
        rounds = min(given.rounds, MOST_ROUNDS.get(name, given.rounds))
        rows = list(measure(rounds, given.steps))
        for row in rows:
            print(f"{row.what}: {row.measured} {row.interval} {row.reach}", flush=True)
        if given.tiny and given.into == results.HERE:
            continue  # That only shows that the part works.
        run.keep(name, title, rows, load.until_now())


if __name__ == "__main__":
    main()
