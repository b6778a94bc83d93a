"""MLflow plugin: tags about the machine on each run that `mlflow.start_run()` begins, if asked for.

Asked for by `LRTRACK_MLFLOW_TAGS=1`, or `mlflow_tags = true` under `[tool.lrtrack]` in the nearest
`pyproject.toml`. Nothing is to be imported: MLflow finds it by its entry point, and so loads this
file at every `import mlflow`, wherever lrtrack is installed. Hence no imports that take time.

Of what else MLflow lets a plugin do (experiments by default, request headers, stores, …) nothing
is lrtrack's business.
"""

from __future__ import annotations

import os
import sys
from typing import Any


class MachineTags:
    """An `mlflow.run_context_provider`.

    Tags: `lrtrack.machine.torch` (version), `.cuda` (that torch was built for; `.rocm` likewise),
    `.cpu` (model), `.cpus` (that this process may use), `.gpu` (models, `2 × …` where there are
    several alike). What a training is on, lrtrack says of its own runs in `lrtrack.device.type`
    and `.name`.
    """

    def in_context(self) -> bool:
        """Whether torch is loaded already and the tags are asked for; never an exception."""
        if sys.modules.get("torch") is None:
            return False
        try:
            from lrtrack.settings import read

            return read().mlflow_tags
        except Exception:  # a setting that cannot be read: `track()` tells its user
            return False

    def tags(self) -> dict[str, str]:
        """As many of the tags as can be found out without starting a GPU; never an exception."""
        torch: Any = sys.modules.get("torch")
        found: dict[str, str] = {}
        for name, look in _LOOKS.items():
            try:
                value = look(torch)
            except Exception:  # a platform that has no such thing
                value = None
            if value:
                found[f"lrtrack.machine.{name}"] = str(value)
        return found


def _cpu(torch: Any) -> str:
    from lrtrack.capture.optimizers import cpu_name

    return cpu_name()


def _cpus(torch: Any) -> int | None:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count()


def _gpu(torch: Any) -> str:
    names = _models() or _known(torch)
    counts = {name: names.count(name) for name in names}
    return ", ".join(f"{count} × {name}" if count > 1 else name for name, count in counts.items())


def _models() -> list[str]:
    """What NVIDIA's driver says of all it has: asking CUDA would start it, and break forks."""
    from pathlib import Path

    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                found.append(line.partition(":")[2].strip())
    return found


def _known(torch: Any) -> list[str]:
    """GPUs that this process uses already, and Apple's, which needs no start."""
    for backend in (torch.cuda, torch.xpu):
        if backend.is_initialized():
            return [backend.get_device_name(index) for index in range(backend.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else []


_LOOKS = {
    "torch": lambda torch: torch.__version__,
    "cuda": lambda torch: torch.version.cuda,
    "rocm": lambda torch: torch.version.hip,
    "cpu": _cpu,
    "cpus": _cpus,
    "gpu": _gpu,
}
