"""The report's page by the rules of WCAG 2.2, levels A and AA, as axe checks them in Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

#: The rules of axe that check levels A and AA.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, run_of: Any) -> Path:
    """A report with everything on it: three schedules, warnings, diagnoses and a diverged run."""
    rng = np.random.default_rng(0)
    histories = []
    for index in range(3):
        for seed in range(2):
            loss = np.geomspace(3.0, 0.1 + 0.1 * index, 60) + 0.01 * rng.random(60)
            loss[30:] = np.nan if (index, seed) == (2, 1) else loss[30:]
            histories.append(run_of(
                Schedule("StepLR", {"step_size": 10 + index}), seed, name=f"{index}-{seed}",
                url="http://127.0.0.1:9/run", config={"steps_per_epoch": 100, "batch_size": index},
                loss=loss, lr=np.full(60, 0.1), grad_norm=1 + rng.random(60),
            ))  # fmt: skip
    comparison = compare_histories(histories, experiment="digits", metric="loss", target=0.5)
    assert comparison.warnings
    path = tmp_path_factory.mktemp("accessible") / "report.html"
    path.write_text(render(Document(comparison)), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Any]:
    """Opens the report in a theme and a width."""
    contexts = []

    def start(theme: str, width: int) -> Any:
        # axe is written into the page, which the page itself allows no script but its own
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True
        )
        contexts.append(context)
        page = context.new_page()
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-drawn]")
        return page

    yield start
    for context in contexts:
        context.close()


def violations(page: Any, part: str | None = None) -> list[str]:
    """Each rule that the page or a part of it breaks, with the elements that do."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found = axe.run(page, part, options).response["violations"]
    return [f"{rule['id']}: {node['target'][0]}" for rule in found for node in rule["nodes"]]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_rule_is_broken(open_page: Any, theme: str, width: int) -> None:
    """No rule is broken in either theme and width, that on the contrast of colours included."""
    assert violations(open_page(theme, width)) == []


def test_a_broken_rule_is_found(open_page: Any) -> None:
    """A grey text and a control without a name are found, so the rules do run."""
    page = open_page("light", 1280)
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('afterbegin', "
        "'<div id=bad><p id=pale style=\"color:#bbb\">pale</p><button id=mute></button></div>')"
    )

    assert violations(page, "#bad") == ["button-name: #mute", "color-contrast: #pale"]
