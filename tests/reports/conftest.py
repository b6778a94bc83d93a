"""Comparisons read back from an in-memory tracker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.records import History, Run, State, StepRecord
from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import ComparisonResult, compare_histories
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemoryTracker

LINEAR = {"name": "LinearLR", "start_factor": 0.1, "total_iters": 100}
SCHEDULES = (
    Schedule("constant"),
    Schedule("StepLR", {"step_size": 30, "gamma": 0.1}),
    Schedule("StepLR", {"step_size": 60, "gamma": 0.1}),
    Schedule(
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 1000, "pct_start": 0.3, "anneal_strategy": "cos",
         "base_momentum": 0.85, "max_momentum": 0.95, "div_factor": 25.0},
    ),
    *(
        Schedule(
            "SequentialLR",
            {"milestones": [100],
             "schedulers": [LINEAR, {"name": "CosineAnnealingLR", "T_max": 900, "eta_min": low}]},
        )
        for low in (0.0, 0.001)
    ),
)  # fmt: skip


@pytest.fixture
def tracker() -> MemoryTracker:
    """An empty tracker."""
    return MemoryTracker()


@pytest.fixture
def add(tracker: MemoryTracker) -> Callable[..., None]:
    """Writes one run, given its losses step by step."""

    def write(
        schedule: Schedule, losses: Sequence[float], *, state: State = State.FINISHED, **run: Any
    ) -> None:
        seed = run.get("seed")
        fields: Mapping[str, Any] = {
            "id": f"{schedule.id}{seed or 0:024x}", "name": f"{schedule.name}-{seed}", **run
        }  # fmt: skip
        sink = tracker.sink(Run(schedule=schedule, **fields), tracker.target("digits"), None)
        sink.open()
        sink.write(
            [
                StepRecord(step, 100.0 + step / 8, {"loss": loss, "lr": 0.1, "grad_norm": 2.0})
                for step, loss in enumerate(losses)
            ],
            doubt=False,
        )
        if state is not State.RUNNING:
            sink.close(state, 200.0, {})

    return write


@pytest.fixture
def histories(tracker: MemoryTracker) -> Callable[[], list[History]]:
    """Reads all runs back."""
    return lambda: list(tracker.histories(Query("digits")))


@pytest.fixture
def comparison(
    add: Callable[..., None], histories: Callable[[], list[History]]
) -> ComparisonResult:
    """Six schedules with three seeds each, some with long labels; one run diverged, one still
    runs.
    """
    for rank, schedule in enumerate(SCHEDULES):
        for seed in range(3):
            losses = [1.0, 0.1 * (rank + 1) + 0.01 * seed]
            if (rank, seed) == (3, 1):
                losses[1] = float("nan")
            state = State.RUNNING if (rank, seed) == (1, 2) else State.FINISHED
            add(schedule, losses, seed=seed, state=state)
    return compare_histories(histories(), experiment="digits", metric="loss", target=0.3)


@pytest.fixture(scope="session")
def run_of() -> Callable[..., History]:
    """Builds one finished run of a schedule from metric columns."""

    def make(
        schedule: Schedule, seed: int = 0, *, steps: Sequence[int] | None = None,
        pace: float = 1.0, url: str | None = None, config: Mapping[str, Any] | None = None,
        name: str = "run", state: State = State.FINISHED, **metrics: Sequence[float | None],
    ) -> History:  # fmt: skip
        at = np.arange(max(map(len, metrics.values()))) if steps is None else np.array(steps)
        empty = {key: [value is None for value in values] for key, values in metrics.items()}
        return History(
            run=Run(
                id=f"{schedule.id}{seed:024x}", name=name, schedule=schedule, seed=seed,
                config=config or {},
            ),
            state=state,
            tracker="memory",
            steps=at.astype(np.int64),
            times=1000.0 + pace * np.arange(at.size),
            metrics={key: np.array(values, dtype=float) for key, values in metrics.items()},
            present={key: ~np.array(gaps) for key, gaps in empty.items()},
            url=url,
        )  # fmt: skip

    return make


NASTY = (
    "<script>window.hit=1</script></script><img src=x onerror='window.hit=2'><b>bold</b> %{y} $x$"
)
NAMES = (NASTY, "StepLR", "学习率" * 60)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory, run_of: Any) -> Path:
    """A report on three schedules with two seeds; one run diverged, two reached the target."""
    rng = np.random.default_rng(0)
    histories = []
    for index, name in enumerate(NAMES):
        for seed in range(2):
            loss = np.geomspace(3.0, 0.1 + 0.1 * index, 1200) + 0.01 * rng.random(1200)
            loss[600:] = np.nan if (index, seed) == (2, 1) else loss[600:]
            histories.append(run_of(
                Schedule(name), seed, name=f"{name}-{seed}", url="http://127.0.0.1:9/run",
                config={"steps_per_epoch": 100}, pace=0.5, loss=loss,
                lr=np.linspace(0.1, 0.01 * index, 1200), grad_norm=1 + rng.random(1200),
                accuracy=np.linspace(0.1, 0.9 - 0.1 * index, 1200), momentum=[0.9] * 1200,
            ))  # fmt: skip
    comparison = compare_histories(histories, experiment=NASTY, metric="loss", target=0.15)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(Document(comparison)), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Opens the report; afterwards there must be no error and no request but the page itself."""
    context = None
    said: list[str] = []

    def start(**options: Any) -> Any:
        nonlocal context
        sizes = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}
        context = browser.new_context(**{**sizes, **options})
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-drawn]")  # no function: the page forbids eval
        return page

    yield start
    if context is not None:
        context.close()
    assert [line for line in said if not line.startswith("blob:")] == [report.as_uri()]


@pytest.fixture(scope="module", params=[(1280, "light"), (390, "dark")], ids=["wide", "narrow"])
def window(request: pytest.FixtureRequest, browser: Any) -> Iterator[tuple[Any, list[str]]]:
    """A wide and light window, and a narrow and dark one, with what it logs and requests."""
    width, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    yield page, said
    context.close()


@pytest.fixture
def page(window: tuple[Any, list[str]], report: Path) -> Iterator[Any]:
    """The report, opened anew; afterwards there must be no error and no further request."""
    page, said = window
    said.clear()
    page.goto(report.as_uri())
    page.wait_for_selector("body[data-drawn]")  # no function: the page forbids eval
    yield page
    assert [line for line in said if not line.startswith("blob:")] == [report.as_uri()]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of a comparison; closes it."""
    pages = []

    def start(*runs: Any, **options: Any) -> Any:
        comparison = compare_histories(list(runs), experiment=None, metric="loss", **options)
        path = tmp_path / "page.html"
        path.write_text(render(Document(comparison)), encoding="utf-8")
        pages.append(browser.new_page(viewport={"width": 1280, "height": 900}))
        pages[-1].goto(path.as_uri())
        return pages[-1]

    yield start
    for one in pages:
        one.close()


@pytest.fixture
def saved(monkeypatch) -> list[Any]:
    """Every matplotlib figure that is saved, after drawing."""
    from matplotlib.figure import Figure

    kept: list[Any] = []
    save = Figure.savefig

    def savefig(self: Any, *args: Any, **options: Any) -> None:
        save(self, *args, **options)
        kept.append(self)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return kept
