"""The gradient norm after clipping, computed without reading the gradients a second time."""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Any

import torch

from lrtrack.capture.device_scalars import ClippedScalar, DeviceScalar, Scalar, after_clipping
from lrtrack.capture.norms import EXACT


class Clipped:
    """Gradients as `clip_grad_norm_` left them.

    `clip_grad_norm_` multiplies the gradients, and therefore their norm, by
    min(1, max_norm / (total + 1e-6)) (`torch.nn.utils.clip_grad`). The result holds until somebody
    changes the gradients. An in-place change increments a tensor's version, but a change through
    `.data` cannot be detected.

    Args:
        gradients: the clipped gradients, in order.
        total: their L2 norm before clipping.
        max_norm: the limit.
    """

    __slots__ = ("_gradients", "_max_norm", "_total", "_versions")

    def __init__(self, gradients: list[torch.Tensor], total: Scalar, max_norm: float) -> None:
        # Weak references, so that the gradients of a skipped step can be freed.
        self._gradients = [weakref.ref(gradient) for gradient in gradients]
        self._versions = [gradient._version for gradient in gradients]
        self._total = total
        self._max_norm = max_norm

    def norm(self, groups: Sequence[dict[str, Any]]) -> Scalar | None:
        """Return the L2 norm of these groups' gradients; None if it is not known."""
        at, gradients, versions = 0, self._gradients, self._versions
        for group in groups:
            for parameter in group["params"]:
                gradient: torch.Tensor | None = parameter.grad
                if gradient is None:
                    continue
                if (
                    at == len(gradients)
                    or gradients[at]() is not gradient
                    or gradient._version != versions[at]
                    or gradient.dtype not in EXACT
                ):
                    return None
                at += 1
        if not at or at < len(gradients):
            return None
        if isinstance(self._total, DeviceScalar):
            return ClippedScalar(self._total, self._max_norm)
        if not isinstance(self._total, float) or not math.isfinite(self._total):
            return None
        return after_clipping(self._total, self._max_norm)
