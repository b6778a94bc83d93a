"""One way to train a GPT on a GPU, with and without lrtrack in turn; prints figures as JSON.

    python gpu_loop.py CASE STEPS ROUNDS cuda|cpu full|tiny

Both ways run in one process on one model, because a fresh process would compile and warm up again,
which varies more than the 1 % that is to be seen.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpt
import torch

#: Steps under the profiler, and steps before anything is measured.
PROFILED, WARM = 8, 5
_STEPS = "measured steps"
#: Calls of the runtime in which the host waits for the device.
WAITS = {
    f"{prefix}{name}"
    for prefix in ("cuda", "hip")
    for name in ("DeviceSynchronize", "StreamSynchronize", "EventSynchronize", "Memcpy")
} | {"cuCtxSynchronize", "cuStreamSynchronize", "cuEventSynchronize", "hipMemcpyWithStream"}


@dataclass(frozen=True)
class Case:
    """A way to train.

    Attributes:
        words: how it is called in the table.
        clip: whether gradients are clipped at 1.
        scaler: whether a GradScaler scales the loss, in float16 instead of bfloat16.
        accumulate: batches of a step.
        compiled: whether the model is compiled.
        two_streams: whether batches are copied on a stream of their own while another one trains.
        options: options of `lrtrack.track`.
    """

    words: str
    clip: bool = False
    scaler: bool = False
    accumulate: int = 1
    compiled: bool = False
    two_streams: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "plain": Case("AdamW fused, bfloat16"),
    "clip": Case("the same with clipping", clip=True),
    "scaler": Case("the same with clipping and a GradScaler, float16", clip=True, scaler=True),
    "accumulation": Case("the same with 4 accumulated batches", accumulate=4),
    "layer": Case('the same with `norms="layer"`', options={"norms": "layer"}),
    "updates": Case("the same with `updates=100`", options={"updates": 100}),
    "compiled": Case("the same with a compiled model", compiled=True),
    "streams": Case("the same with copies on a second stream", two_streams=True),
}


class Training:
    """A model, its optimizer and what one step does."""

    def __init__(self, case: Case, device: str, size: gpt.Size) -> None:
        torch.manual_seed(0)
        self.case, self.device = case, torch.device(device)
        self.model = gpt.GPT(size).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 10**6)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=case.scaler)
        on_gpu = self.device.type == "cuda"
        compiler = "inductor" if on_gpu else "aot_eager"  # which needs no C++ compiler
        self._call: Any = self.model
        if case.compiled:
            self._call = torch.compile(self.model, backend=compiler)
        shape = (size.batch, size.context + 1)
        self._batches = [torch.randint(size.vocabulary, shape) for _ in range(8)]
        if on_gpu:
            self._batches = [batch.pin_memory() for batch in self._batches]
        several = case.two_streams and on_gpu
        self._train_stream = torch.cuda.Stream() if several else None
        self._copy_stream = torch.cuda.Stream() if several else None
        self._taken = 0

    def step(self) -> None:
        """Makes one optimizer step."""
        train = torch.cuda.stream(self._train_stream) if self._train_stream else nullcontext()
        with train:
            self.optimizer.zero_grad()
            for _ in range(self.case.accumulate):
                tokens = self._next()
                kind = torch.float16 if self.case.scaler else torch.bfloat16
                with torch.autocast(self.device.type, dtype=kind):
                    loss = self._call(tokens) / self.case.accumulate
                self.scaler.scale(loss).backward()
            if self.case.clip:
                self.scaler.unscale_(self.optimizer)
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.scheduler.step()

    def _next(self) -> torch.Tensor:
        batch = self._batches[self._taken % len(self._batches)]
        self._taken += 1
        if self._copy_stream is None or self._train_stream is None:
            return batch.to(self.device, non_blocking=True)
        with torch.cuda.stream(self._copy_stream):
            tokens = batch.to(self.device, non_blocking=True)
        self._train_stream.wait_stream(self._copy_stream)
        tokens.record_stream(self._train_stream)
        return tokens

    def finish(self) -> None:
        """Waits until the device has nothing left to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def segment(training: Training, steps: int, tracked: bool) -> dict[str, float]:
    """Trains for some steps; returns their seconds and the most memory on the device, in bytes."""
    on_gpu = training.device.type == "cuda"
    with ExitStack() as stack:
        if tracked:
            stack.enter_context(block(training, steps))
        training.finish()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        for _ in range(steps):
            training.step()
        training.finish()
        took = time.perf_counter() - begun
        most = torch.cuda.max_memory_allocated() if on_gpu else 0
    return {"loop": took, "memory": float(most)}


def block(training: Training, steps: int) -> Any:
    """Returns lrtrack's block; in fewer steps it measures updates more often, so that it does."""
    import lrtrack

    options = dict(training.case.options)
    if "updates" in options:
        options["updates"] = min(options["updates"], max(1, steps // 2))
    return lrtrack.track(training.optimizer, training.scheduler, model=training.model,
                         experiment="bench", flush_timeout=120, **options)  # fmt: skip


def waits(training: Training, tracked: bool) -> dict[str, float]:
    """Counts the waits of a step under the profiler; see `count_waits`."""
    from torch.profiler import ProfilerActivity, profile, record_function

    activities = [ProfilerActivity.CPU]
    if training.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        if tracked:
            stack.enter_context(block(training, PROFILED))
        training.step()
        training.finish()
        with profile(activities=activities) as profiler, record_function(_STEPS):
            for _ in range(PROFILED):
                training.step()
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    return {name: count / PROFILED for name, count in count_waits(events).items()}


def count_waits(events: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Counts the calls in which a thread waits for the device, in a profiler's trace.

    Only those between the start and the end of the measured steps count: the profiler itself waits
    for the device when it stops.

    Args:
        events: what `export_chrome_trace` writes as `traceEvents`.

    Returns:
        The waits of the training's thread, `training`, and of all others, `others`.

    Raises:
        ValueError: the trace does not have the steps.
    """
    events = list(events)
    steps = [each for each in events
             if each.get("name") == _STEPS and each.get("cat") == "user_annotation"]  # fmt: skip
    if len(steps) != 1:
        raise ValueError(f"the trace has {len(steps)} times “{_STEPS}” instead of once")
    (whole,) = steps
    found = {"training": 0, "others": 0}
    for each in events:
        inside = 0 <= each.get("ts", -1.0) - whole["ts"] <= whole["dur"]
        if each.get("name") in WAITS and inside:
            found["training" if each["tid"] == whole["tid"] else "others"] += 1
    return found


def main(name: str, steps: int, rounds: int, device: str, size: str) -> dict[str, Any]:
    """Measures one case.

    Returns:
        By round: seconds and bytes of the bare loop, of the bare loop once more, and of the loop
        with lrtrack, in a random order; and the waits of both per step.
    """
    training = Training(CASES[name], device, gpt.TINY if size == "tiny" else gpt.FULL)
    for tracked in (False, True):
        segment(training, WARM, tracked)
    found = []
    for _ in range(rounds):
        ways = random.sample(("bare", "bare-again", "lrtrack"), 3)
        found.append({way: segment(training, steps, way == "lrtrack") for way in ways})
    counted = {way: waits(training, way == "lrtrack") for way in ("bare", "lrtrack")}
    return {"rounds": found, "waits": counted}


if __name__ == "__main__":
    case, steps, rounds, device, size = sys.argv[1:]
    print(json.dumps(main(case, int(steps), int(rounds), device, size)))
