"""Measures the cost of lrtrack and of common alternatives: `tox -e bench`, into RESULTS.md.

    bench.py [--only PART[,PART…]] [--rounds N] [--steps N]

The whole benchmark takes one to two hours on two cores and needs an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import sys

import commands
import long_run
import loops
import memory
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
    "arrived": ("What arrives, beside other ways to log", peers.measure),
    "thread": ("On the training thread", thread.measure),
    "reporting": ("From a mistake to its report", reporting.measure),
    "shown": ("Shown by tests", untimed.measure),
    "memory": ("Memory", memory.measure),
    "long": ("One run of ten million steps", long_run.measure),
    "shipping": ("Delivery", shipping.measure),
    "commands": ("Commands", commands.measure),
    "reading": ("Reading back", reading.measure),
    "many": ("Reading back a thousand long runs", reading.measure_many),
}


def main() -> None:
    """Measures the chosen parts and stores their results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART[,PART…]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000)
    given = parser.parse_args()
    chosen = given.only.split(",")
    if unknown := [name for name in chosen if name not in PARTS]:
        parser.error(f"no such part: {unknown[0]}; there are {', '.join(PARTS)}")
    for name in chosen:
        title, measure = PARTS[name]
        print(title, file=sys.stderr, flush=True)
        rows = measure(given.rounds, given.steps)
        for row in rows:
            print(f"{row.what}: {row.measured} {row.reach}", flush=True)
        results.keep(name, title, rows)


if __name__ == "__main__":
    main()
