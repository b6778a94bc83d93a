"""The measurements on a GPU, as far as they work on any machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Import = Callable[[str], Any]
NAMES = ("plain", "clip", "scaler", "accumulation", "layer", "updates", "streams")


@pytest.fixture
def loop(benchmark_module: Import, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program that trains, with runs that only go into a journal."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    return benchmark_module("gpu_loop")


def test_the_size_of_the_model(benchmark_module: Import) -> None:
    """The full model has the 124 million parameters of the smallest GPT-2, counted as they are."""
    gpt = benchmark_module("gpt")
    tiny = sum(each.numel() for each in gpt.GPT(gpt.TINY).parameters())

    assert (tiny, 124_475_904) == (gpt.parameters(gpt.TINY), gpt.parameters(gpt.FULL))


@pytest.mark.filterwarnings("ignore::lrtrack.LRTrackWarning")
@pytest.mark.parametrize("name", [*NAMES, pytest.param("compiled", marks=pytest.mark.soak)])
def test_each_case_trains_both_ways(name: str, loop: Any, benchmark_module: Import) -> None:
    """Each case trains with and without lrtrack to the same weights, and gives its rows."""
    gpt = benchmark_module("gpt")
    bare, tracked = (loop.Training(loop.CASES[name], "cpu", gpt.TINY) for _ in range(2))
    figures = [loop.segment(bare, 2, False), loop.segment(tracked, 2, True)]

    assert [each["memory"] for each in figures] == [0.0, 0.0]
    assert all(each["loop"] > 0 for each in figures)
    for ours, plain in zip(tracked.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(ours, plain)


def test_the_rows_of_a_case(loop: Any, benchmark_module: Import) -> None:
    """A case on the CPU gives its ratio and its noise, and says that there is no GPU."""
    gpu = benchmark_module("gpu")
    found = loop.main("clip", 1, 6, "cpu", "tiny")
    noise, ratio, missing = gpu.rows_of("clipping", 1, "the CPU", found)

    none = {"training": 0.0, "others": 0.0}
    assert found["waits"] == {"bare": none, "lrtrack": none}
    assert (ratio.reach, len(ratio.values)) == ("≤ 1.01", 6)
    assert noise.what == "noise: the bare loop once more / the bare loop, GPU, clipping"
    assert missing.measured == "not measured: no GPU"


def test_the_rows_of_a_case_on_a_gpu(benchmark_module: Import) -> None:
    """On a GPU, a case also gives the added waits of a step and the added memory, in MB."""
    gpu = benchmark_module("gpu")
    each = {
        "bare": {"loop": 2.0, "memory": 1e9},
        "bare-again": {"loop": 2.0, "memory": 1e9},
        "lrtrack": {"loop": 2.01, "memory": 1.0025e9},
    }
    waits = {
        "bare": {"training": 1.0, "others": 0.0},
        "lrtrack": {"training": 1.0, "others": 0.5},
    }
    found = {"rounds": [each] * 10, "waits": waits}
    _, ratio, added, memory = gpu.rows_of("clipping", 100, "a GPU", found)

    assert (ratio.measured, ratio.verdict) == ("1.005", "reached")
    assert ratio.note == "100 steps of 20.00 ms on a GPU; 10 rounds, 1.005 to 1.005"
    assert (added.measured, added.reached) == ("0", True)
    assert added.note.endswith("1 without lrtrack; other threads: +0.5")
    assert memory.measured == "2.5 MB"


def test_waits_are_counted_in_the_steps_and_by_thread(loop: Any) -> None:
    """Only waits within the measured steps count: the training's, and those of other threads."""
    steps = {"name": "measured steps", "cat": "user_annotation", "ts": 100.0, "dur": 50.0, "tid": 7}
    on_device = {**steps, "cat": "gpu_user_annotation", "tid": 20}
    called = [
        ("cudaStreamSynchronize", 110.0, 7),
        ("cudaMemcpyAsync", 111.0, 7),
        ("cudaEventQuery", 112.0, 8),
        ("cudaEventSynchronize", 120.0, 8),
        ("cudaDeviceSynchronize", 160.0, 7),
    ]
    runtime = [
        {"name": name, "cat": "cuda_runtime", "ts": at, "dur": 1.0, "tid": thread}
        for name, at, thread in called
    ]
    metadata = {"name": "process_name", "ph": "M", "tid": 0, "ts": 0.0}

    assert loop.count_waits([metadata, steps, on_device, *runtime]) == {"training": 1, "others": 1}


def test_a_trace_without_the_steps_is_refused(loop: Any) -> None:
    """A trace that does not show the measured steps is an error, not a count of 0."""
    with pytest.raises(ValueError, match="0 times"):
        loop.count_waits([{"name": "cudaStreamSynchronize", "ts": 1.0, "tid": 7}])


def test_without_a_gpu_the_table_says_so(
    benchmark_module: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no GPU, each case has a row that says that, and no figure."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rows = benchmark_module("gpu").measure(10, 10_000)

    assert len(rows) == 8
    assert {"not measured: no GPU"} == {row.measured for row in rows}
    assert {None} == {row.reached for row in rows}


@pytest.mark.soak
def test_the_whole_part_on_the_cpu(benchmark_module: Import) -> None:
    """The part runs to its end with the tiny model, each case in a process of its own."""
    rows = benchmark_module("gpu").measure(1, 200, device="cpu", tiny=True)

    assert rows[0].measured == "a tiny GPT"
    assert len(rows) == 1 + 3 * 8
    assert not Path("mlruns").exists()
