"""Measures how long a mistake is known before it is reported: `reporting.py CASE ROUNDS`.

CASE is one of `CASES`. Prints seconds and steps of each round as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import processes
from results import Row, measured_row

CASES = {
    "LR006": "the loss becomes NaN (LR006)",
    "LR003": "a cosine passes its end, of which LR003 allows 2 %",
}
#: The step at which the mistake happens in the first round. Each round has it a few steps later,
#: so that it does not always fall at the same time of lrtrack's timer.
FIRST, LATER = 100, 13
#: Seconds of a step, and the seconds after which a report is no longer waited for.
STEP, PATIENCE = 0.01, 120.0


def measure(rounds: int, _: int) -> list[Row]:
    """Returns a row for each case."""
    rows = []
    for case, happens in CASES.items():
        with processes.place() as folder:
            command = (Path(__file__), case, rounds)
            reports = processes.python(*command, folder=folder, LRTRACK_TRACKER="local").found
        rows.append(_row(happens, reports["seconds"], reports["steps"]))
    return rows


def _row(happens: str, seconds: Sequence[float], steps: Sequence[int]) -> Row:
    how = (
        f"{statistics.median(steps):.0f} steps of 10 ms, at most {max(steps)}, from the step at "
        "which it happens"
    )
    what = f"until `run.diagnoses` has it: {happens}"
    return measured_row(what, seconds, digits=2, unit="s", how=how)


def main(case: str, rounds: int) -> dict[str, list[Any]]:
    """Returns seconds and steps from the mistake to its report, by round."""
    import torch

    import lrtrack

    torch.set_num_threads(1)
    warnings.simplefilter("ignore", lrtrack.LRTrackWarning)
    reports: dict[str, list[Any]] = {"seconds": [], "steps": []}
    for number in range(rounds):
        mistake = FIRST + LATER * number
        weight = torch.nn.Parameter(torch.ones(8))
        optimizer = torch.optim.SGD([weight], lr=0.01)
        length = mistake if case == "LR003" else 10**6
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length)
        with lrtrack.track(optimizer, scheduler) as run:
            step, happened = 0, None
            while all(one["code"] != case for one in run.diagnoses):
                if step == mistake:
                    happened = time.perf_counter()
                if happened is not None and time.perf_counter() - happened > PATIENCE:
                    raise SystemExit(f"{case} was not reported within {PATIENCE:.0f} s")
                spoilt = case == "LR006" and step >= mistake
                optimizer.zero_grad()
                (weight * (float("nan") if spoilt else 0.1)).square().sum().backward()
                optimizer.step()
                scheduler.step()
                time.sleep(STEP)
                step += 1
            if happened is None:
                raise SystemExit(f"{case} was reported at step {step}, before it happened")
            reports["seconds"].append(time.perf_counter() - happened)
            reports["steps"].append(step - mistake)
    return reports


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
