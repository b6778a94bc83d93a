"""Steps that run without hooks leave evidence: compiled ones, and those of CUDA graphs."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from lrtrack.capture import device_scalars, torch_patches
from lrtrack.capture.device_scalars import DeviceScalar
from lrtrack.capture.ensemble import ensemble_of
from lrtrack.capture.rounds import Rounds
from lrtrack.errors import LRTrackWarning
from lrtrack.tracking.hidden_steps import HiddenSteps
from lrtrack.tracking.live_reports import print_diagnoses
from lrtrack.tracking.manual_steps import ManualSteps


@pytest.fixture
def compiled_frames() -> Iterator[list[Any]]:
    """What torch compiles meanwhile."""
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield []
    torch._dynamo.reset()


def report(watcher: HiddenSteps) -> None:
    """Warn of the steps that a watcher finds."""
    print_diagnoses("one", watcher.look())


def sgd() -> torch.optim.SGD:
    """An optimizer of one parameter with a gradient."""
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    return torch.optim.SGD([weight], lr=0.5)


def test_compiled_steps_leave_a_mark_and_are_compiled_once(watch, compiled_frames) -> None:
    """Each compiled step leaves its mark again; taking it away compiles nothing anew."""
    optimizer, marks = sgd(), []

    def backend(module: Any, inputs: Any) -> Callable[..., Any]:
        compiled_frames.append(module)
        return module.forward

    step = torch.compile(lambda: optimizer.step(), backend=backend)
    with watch(optimizer) as recording:
        for _ in range(4):
            step()
            marks.append(recording.capture.hidden.look())
    first = len(compiled_frames)

    assert marks == [True] * 4
    assert recording.steps == []
    assert first == 1


def test_the_warning_comes_with_the_second_compiled_step(watch, compiled_frames) -> None:
    """Two compiled steps in a row that nobody records are reported, after earlier ones too."""
    optimizer = sgd()
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    with watch(optimizer) as recording:
        optimizer.step()
        watcher = HiddenSteps("p/", recording.capture)
        step()
        report(watcher)
        optimizer.step()
        report(watcher)
        step()
        report(watcher)
        step()
        with pytest.warns(
            LRTrackWarning, match=r"LR013 in run one \(p/\): after 2 steps, no more steps.*compiled"
        ) as told:
            report(watcher)

    assert len(told) == 1
    assert recording.steps == [0, 1]


def test_recorded_compiled_steps_are_not_reported(watch, compiled_frames) -> None:
    """A loop that calls `record()` after each compiled step has no warning."""
    optimizer = sgd()
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    with watch(optimizer) as recording:
        watcher, by_hand = HiddenSteps("", recording.capture), ManualSteps(recording.capture)
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("error", LRTrackWarning)
            for _ in range(3):
                step()
                report(watcher)
                by_hand.record({"loss": 2.0}, {})
            report(watcher)
        with pytest.warns(LRTrackWarning, match="sees the steps"):
            optimizer.step()
            by_hand.record({}, {})

    assert recording.steps == [0, 1, 2, 3, 4]
    assert recording.column("lr") == [0.5] * 5
    assert recording.column("loss") == [None, 2.0, 2.0, 2.0, None]


def test_one_of_several_optimizers_is_compiled(compiled_frames) -> None:
    """Of several optimizers, the warning names the one whose steps are hidden."""
    plain, hidden = sgd(), sgd()
    rounds = Rounds(ensemble_of({"plain": plain, "hidden": hidden}))
    watcher = HiddenSteps("", rounds)
    step = torch.compile(lambda: hidden.step(), backend="eager")
    rounds.attach()
    try:
        with pytest.warns(
            LRTrackWarning, match="LR013 in run one: hidden: no step of the SGD was seen: torch"
        ):
            for _ in range(2):
                plain.step()
                step()
                report(watcher)
    finally:
        rounds.detach()

    assert rounds.made == 2


class Graph:
    """Calls what it is given, in place of a GPU; captures nothing."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.replayed = 0

    def capture_begin(self) -> None:
        """Begins, or fails."""
        if self.fails:
            raise RuntimeError("no memory")

    def capture_end(self) -> None:
        """Ends."""

    def replay(self) -> None:
        """Counts."""
        self.replayed += 1


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> type[Graph]:
    """The class that stands in for torch's CUDA graphs."""
    monkeypatch.setattr(torch_patches, "CUDAGraph", Graph)
    return Graph


def test_a_captured_step_is_no_step(watch, graphs, make) -> None:
    """What runs while a graph is captured is not recorded; replays are counted and reported."""
    model, loss = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    other, graph = graphs(), graphs()
    methods = {name: getattr(Graph, name) for name in ("capture_begin", "capture_end", "replay")}
    with watch(optimizer) as recording:
        watcher = HiddenSteps("", recording.capture)
        loss().backward()
        optimizer.step()
        other.capture_begin()
        other.capture_end()
        other.replay()
        assert Graph.replay is methods["replay"]
        graph.capture_begin()
        loss().backward()
        optimizer.step()
        graph.capture_end()
        other.replay()
        graph.replay()
        report(watcher)
        graph.replay()
        with pytest.warns(LRTrackWarning, match=r"CUDA graph.*it was replayed 2 times\. Fix: call"):
            report(watcher)
        by_hand = ManualSteps(recording.capture)
        graph.replay()
        by_hand.record({"loss": 1.0}, {})

        optimizer.step()
        assert recording.capture.hidden.replays_after(recording.capture.made) == 0

    assert (graph.replayed, recording.steps) == (3, [0, 1, 2])
    assert methods == {name: getattr(Graph, name) for name in methods}


@pytest.mark.parametrize("fails", [True, False])
def test_the_training_goes_on_after_a_capture(fails: bool, watch, graphs, make) -> None:
    """After a capture, also one that failed, steps are recorded again."""
    model, loss = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    graph = graphs(fails)
    with watch(optimizer) as recording:
        try:
            graph.capture_begin()
            graph.capture_end()
        except RuntimeError:
            assert fails
        loss().backward()
        optimizer.step()

    assert recording.steps == [0]
    assert not device_scalars._fetching.locked()


def test_blocks_that_close_during_a_capture(watch, graphs) -> None:
    """A capture whose end no block sees does not hide the steps of later blocks."""
    optimizer = sgd()
    with watch(optimizer):
        graphs().capture_begin()
    device_scalars.resume()
    with watch(optimizer) as recording:
        optimizer.step()

    assert recording.steps == [0]


def test_nothing_is_fetched_during_a_capture() -> None:
    """Another thread waits with its use of the device until the capture is over."""
    rows = [(0, 0.0, {"loss": DeviceScalar(torch.tensor(2.0))})]
    device_scalars.pause()
    thread = threading.Thread(target=device_scalars.settle, args=(rows,))
    thread.start()
    waits = type(rows[0][2]["loss"]) is DeviceScalar
    device_scalars.resume()
    thread.join()

    assert (waits, rows[0][2]["loss"]) == (True, 2.0)
