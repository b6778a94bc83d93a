"""MLflow's pages of tracked runs in a real browser."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow.sink import MlflowSink
from lrtrack.trackers.mlflow.store import run_url

#: Milliseconds to wait for a page on a busy machine.
PATIENCE = 60_000
#: MLflow's own errors: a request for accounts that the server lacks, and resize events.
NOISE = ("/ajax-api/2.0/mlflow/users/current", "ResizeObserver loop completed")
NAMES = ["OneCycleLR-seed0", "OneCycleLR-seed1", "StepLR-seed0", "StepLR-seed1"]

#: Whether exactly these runs are listed from top to bottom; the DOM order is arbitrary.
SHOWN = """names => {
    const links = [...document.querySelectorAll("[role=row] a")].filter(
        link => link.textContent.includes("-seed"));
    const top = link => link.getBoundingClientRect().top;
    const shown = links.sort((a, b) => top(a) - top(b)).map(link => link.textContent.trim());
    return shown.join() === names.join();
}"""


@pytest.fixture
def written(server: Any) -> Callable[[], tuple[str, str]]:
    """A function that writes four runs and returns the ids of the experiment and the first run."""
    uri = f"sqlite:///{server.folder / 'server.db'}"

    def write() -> tuple[str, str]:
        ids = []
        for place, name in enumerate(NAMES):
            kind, _, seed = name.partition("-seed")
            schedule = Schedule(kind, {"max_lr": 0.1} if kind == "OneCycleLR" else {})
            run = Run(
                id=f"{place:032x}", name=name, schedule=schedule, optimizer={"name": "SGD"},
                seed=int(seed), experiment="digits", device_type="cpu", version="1.0",
                started=place,
            )  # fmt: skip
            sink = MlflowSink(run, Target("mlflow", uri, experiment="digits"), None)
            ids.append(sink.open().id)
            sink.write(
                [
                    StepRecord(
                        step,
                        1000.0 + step,
                        {"lr": 0.1 / (step + 1), "grad_norm": 2.0, "loss": math.exp(-step / 9)},
                    )
                    for step in range(30)
                ],
                doubt=False,
            )
            sink.close(State.FINISHED, 1030.0, {"loss_final": 0.1 * (4 - place), "loss_best": 0.0})
        experiment = sink._client.get_experiment_by_name("digits")
        return experiment.experiment_id, ids[0]

    return write


def test_the_runs_look_right(browser, server, written):
    """MLflow's table lists the runs by final loss, and a run's pages show its metrics."""
    experiment, run = written()
    server.start()
    page, errors = browser.new_page(viewport={"width": 1500, "height": 1200}), []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(f"{line.text} {line.location.get('url')}")
            if line.type == "error" else None)  # fmt: skip

    page.goto(f"{server.uri}/#/experiments/{experiment}/runs"
              "?workflowType=machine_learning&viewStateShareKey=lrtrack")  # fmt: skip
    for column in ("loss_final", "scheduler", "scheduler.max_lr", "seed"):
        page.get_by_role("columnheader", name=column, exact=True).first.wait_for()
    page.get_by_text("lrtrack: by final loss").first.wait_for()
    page.wait_for_function(SHOWN, arg=NAMES[::-1])

    own = run_url(server.uri, experiment, run)
    page.goto(own)
    page.get_by_role("heading", name=NAMES[0]).wait_for()
    page.get_by_text("final loss 0.4 (mean of the last 5 %)").first.wait_for()

    page.goto(own.replace("?", "/model-metrics?"))
    for metric in ("lr", "grad_norm", "loss"):
        card = page.locator("[data-testid='experiment-view-compare-runs-card']").filter(
            has=page.get_by_text(metric, exact=True)
        )
        card.locator("svg.main-svg").first.wait_for()
        card.get_by_text("Step", exact=True).first.wait_for()

    assert [error for error in errors if not any(noise in error for noise in NOISE)] == []
