"""Imports Ultralytics before the tests do, where it is installed."""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from importlib.util import find_spec

import torch

#: Keeps torch's libraries of operators alive.
_OPERATORS: list[torch.library.Library] = []
#: Where Ultralytics keeps its settings.
_SETTINGS = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def _declare_operators() -> None:
    """Declare the operators without which torchvision cannot be imported.

    The torchvision on PyPI is built for CUDA and registers none beside a torch without it. These
    trainings use its data transforms at most.
    """
    for name in ("nms", "qnms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _OPERATORS.append(library)


if find_spec("ultralytics") is not None:
    # It would ask its server, install packages, and write to the home directory.
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
    os.environ.setdefault("YOLO_CONFIG_DIR", _SETTINGS.name)
    with warnings.catch_warnings(), contextlib.suppress(ModuleNotFoundError):
        warnings.simplefilter("ignore")
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            _declare_operators()
        import ultralytics  # noqa: F401
