"""`LRFinderResult`: the result of a range test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.records import METHOD
from lrtrack.reports.matplotlib_setup import use_log_scale

#: Why a range test ended: the loss rose, or the last rate was reached.
Stopped = Literal["diverged", "end"]


@dataclass(frozen=True, eq=False)
class LRFinderResult:
    """The curve of a range test, and the learning rates it suggests.

    Attributes:
        lrs: shape (n,), float64: the rates that were tried, of param group 0.
        losses: shape (n,), float64: what `step()` returned before the step with that rate.
        smoothed: shape (n,), float64: exponential moving average of the losses, bias-corrected.
        suggestions: method to learning rate, for `steepest`, `valley`, `minimum` and `slide`; empty
            if the loss never fell.
        stopped: `"diverged"` or `"end"`.
    """

    lrs: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestions: Mapping[str, float]
    stopped: Stopped

    @property
    def suggestion(self) -> float | None:
        """A tenth of the rate with the smallest loss; None if the loss never fell.

        On the handwritten digits under SGD (with and without momentum) and Adam, this method
        varied least from seed to seed and was nearest to the best rate of the four methods.
        """
        return self.suggestions.get(METHOD)

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve and the suggestions with matplotlib.

        Args:
            ax: the matplotlib `Axes` to draw on; None: a new figure.

        Returns:
            The `Axes`.

        Raises:
            UsageError: matplotlib is not installed.
        """
        if ax is None:
            _, ax = load("matplotlib.pyplot").subplots()
        ax.plot(self.lrs, self.losses, color="0.75", linewidth=1, label="loss")
        ax.plot(self.lrs, self.smoothed, color="black", label="smoothed")
        for index, (method, rate) in enumerate(sorted(self.suggestions.items())):
            width = 2.0 if method == METHOD else 1.0
            label = f"{method}: {rate:.3g}"
            ax.axvline(rate, color=f"C{index}", linestyle="--", linewidth=width, label=label)
        finite = self.smoothed[np.isfinite(self.smoothed)]
        if len(finite):  # the first smoothed loss is a raw one; diverged losses are not shown
            low, high = float(finite.min()), float(finite[0])
            ax.set_ylim(low - 0.1 * (high - low or 1.0), high + 0.5 * (high - low or 1.0))
        use_log_scale(ax, "x")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend()
        return ax
