"""Measures the HTML report: its size, the time to write it, and how fast a browser shows it.

    python report.py [RUNS STEPS [CHROMIUM]]

Prints JSON. The default is 100 runs of 10,000 steps (10 schedules by 10 seeds); the browser's
times need playwright and a Chromium.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lrtrack.records import History, Run, State
from lrtrack.reports import pictures
from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories

SEEDS = 10


def compared(runs: int, steps: int) -> ComparisonResult:
    """Returns noisy runs with spikes, ten for each schedule."""
    rng = np.random.default_rng(0)
    at = np.arange(steps)
    histories = []
    for index in range(runs):
        kind, seed = divmod(index, SEEDS)
        metrics = {
            "loss": 2 * np.exp(-6 * at / steps) + 0.1 + 0.05 * rng.random(steps),
            "lr": 0.1 * (1 - at / steps) ** (1 + kind),
            "grad_norm": 1 + rng.random(steps) + 40 * (rng.random(steps) < 0.0005),
        }
        run = Run(id=f"{index:032x}", name=f"run-{index}", seed=seed,
                  schedule=Schedule("PolynomialLR", {"power": 1 + kind}))  # fmt: skip
        present = {name: np.ones(steps, bool) for name in metrics}
        times = 1e9 + at / (900 + seed)
        histories.append(History(run, State.FINISHED, "memory", at, times, metrics, present))
    return compare_histories(histories, experiment="bench", metric="loss", target=0.2)


def in_browser(path: Path, chromium: str) -> dict[str, float]:
    """Returns seconds to the drawn page, and to the redraw after a click and with single runs."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        page.goto(path.as_uri())
        # This waits for a selector because a function would need eval, which the page forbids.
        page.wait_for_selector("body[data-drawn]")
        page.screenshot()
        opened = time.perf_counter() - start
        start = time.perf_counter()
        page.locator(".key").first.click()
        page.screenshot()
        clicked = time.perf_counter() - start
        start = time.perf_counter()
        page.locator("#runs").check()
        page.screenshot()
        single = time.perf_counter() - start
        browser.close()
    return {"opened_and_painted": opened, "click_painted": clicked, "single_runs_painted": single}


def main(runs: int = 100, steps: int = 10_000, chromium: str | None = None) -> None:
    """Measures and prints."""
    comparison = compared(runs, steps)
    start = time.perf_counter()
    text = render(Document(comparison))
    found: dict[str, float] = {"html": time.perf_counter() - start, "megabytes": len(text) / 1e6}
    start = time.perf_counter()
    pictures.render(Document(comparison), "png")
    found["png"] = time.perf_counter() - start
    chromium = chromium or shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is not None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.html"
            path.write_text(text, encoding="utf-8")
            found |= in_browser(path, chromium)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *sys.argv[3:4])
