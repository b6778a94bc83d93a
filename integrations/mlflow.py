"""MLflow plugin: adds tags about the machine to each run that `mlflow.start_run()` begins.

It is off by default. Switch it on with `LRTRACK_MLFLOW_TAGS=1`, or with `mlflow_tags = true` under
`[tool.lrtrack]` in the nearest `pyproject.toml`. You need not import it: MLflow finds it by its
entry point. So this file is loaded at every `import mlflow` where lrtrack is installed, and must
not import anything slow.
"""

from __future__ import annotations

import os
import sys
from typing import Any


class MachineTags:
    """An `mlflow.run_context_provider`.

    Tags: `lrtrack.machine.torch` (version), `.cuda` and `.rocm` (the version that torch was built
    for), `.cpu` (model), `.cpus` (number that this process may use), `.gpu` (models, `2 × …` for
    several equal ones). The device of a training is in the tags `lrtrack.device.type` and `.name`
    of lrtrack's own runs.
    """

    def in_context(self) -> bool:
        """Whether torch is loaded already and the tags are switched on; never raises."""
        if sys.modules.get("torch") is None:
            return False
        try:
            from lrtrack.settings import read

            return read().mlflow_tags
        except Exception:  # a setting that cannot be read; `track()` reports it
            return False

    def tags(self) -> dict[str, str]:
        """The tags that can be found without initializing a GPU; never raises."""
        torch: Any = sys.modules.get("torch")
        tags: dict[str, str] = {}
        for name, read_value in _READERS.items():
            try:
                value = read_value(torch)
            except Exception:  # not available on this platform
                value = None
            if value:
                tags[f"lrtrack.machine.{name}"] = str(value)
        return tags


def _cpu(torch: Any) -> str:
    from lrtrack.capture.cpu import cpu_name

    return cpu_name()


def _cpus(torch: Any) -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count()


def _gpu(torch: Any) -> str:
    names = _nvidia_models() or _initialized_gpus(torch)
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counts.items())


def _nvidia_models() -> list[str]:
    """All GPUs that NVIDIA's driver lists: asking CUDA would initialize it and break forks."""
    from pathlib import Path

    models = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                models.append(line.partition(":")[2].strip())
    return models


def _initialized_gpus(torch: Any) -> list[str]:
    """GPUs that this process already uses, and Apple's, which needs no initialization."""
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            return [backend.get_device_name(index) for index in range(backend.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else []


_READERS = {
    "torch": lambda torch: torch.__version__,
    "cuda": lambda torch: torch.version.cuda,
    "rocm": lambda torch: torch.version.hip,
    "cpu": _cpu,
    "cpus": _cpus,
    "gpu": _gpu,
}
