"""`LRFinderResult`: the result of a range test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lrtrack._optional import load
from lrtrack.records import METHOD
from lrtrack.reports.matplotlib_setup import tick_text, use_log_scale, use_plain_ticks

#: What the line of each method is at, in words, and its dashes.
_LINES: Mapping[str, tuple[str, str]] = {
    "minimum": ("a tenth of the smallest loss's rate", "-"),
    "steepest": ("steepest descent", "--"),
    "valley": ("middle of the longest descent (valley)", "-."),
    "slide": ("before the curve bends (slide)", ":"),
}
#: After Okabe & Ito, "Color Universal Design", 2008.
_BLUE = "#0072B2"
#: Why a range test ended: the loss rose, or the last rate was reached.
Stopped = Literal["diverged", "end"]


@dataclass(frozen=True, eq=False, repr=False)
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
        """A tenth of the rate with the smallest smoothed loss; None if the loss never fell.

        The rate of the smallest loss is nearly too large, as the loss rises right after it (Smith,
        "A disciplined approach to neural network hyper-parameters: part 1", 2018); a tenth of it is
        the practice of fastai (Howard and Gugger, Information 2020, 11(2), 108). On the handwritten
        digits under SGD (with and without momentum) and Adam, this method varied least from seed to
        seed and was nearest to the best rate of the four methods.
        """
        return self.suggestions.get(METHOD)

    def __repr__(self) -> str:
        """Names what was found, without the curve."""
        suggestion = None if self.suggestion is None else _text(self.suggestion)
        return (
            f"{type(self).__name__}(suggestion={suggestion}, stopped={self.stopped!r}, "
            f"{len(self.lrs)} learning rates)"
        )

    def plot(self, ax: Any = None) -> Any:
        """Draw the curve, the recommended rate with its reason, and other suggestions faintly.

        A dot marks the smallest smoothed loss, of whose rate the recommended one is a tenth.

        Args:
            ax: the matplotlib `Axes` to draw on; None: a new figure; a path: a new figure, which is
                also saved there, in the format that its ending names.

        Returns:
            The `Axes`.

        Raises:
            UsageError: matplotlib is not installed.
            OSError: the file cannot be written.
            ValueError: matplotlib does not know the ending.
        """
        if isinstance(ax, str | PathLike):
            axes = self._draw(load("matplotlib.figure").Figure(layout="constrained").subplots())
            axes.figure.savefig(ax)
            return axes
        if ax is None:
            _, ax = load("matplotlib.pyplot").subplots()
        return self._draw(ax)

    def _draw(self, ax: Any) -> Any:
        use_plain_ticks(ax)
        use_log_scale(ax, "x")
        ax.plot(self.lrs, self.losses, color="0.8", linewidth=0.8, label="loss")
        ax.plot(self.lrs, self.smoothed, color="black", linewidth=1.5, label="smoothed loss")
        self._draw_suggestions(ax)
        finite = self.smoothed[np.isfinite(self.smoothed)]
        if len(finite):  # the first smoothed loss is a raw one; diverged losses are not shown
            low, high = float(finite.min()), float(finite[0])
            ax.set_ylim(low - 0.1 * (high - low or 1.0), high + 0.5 * (high - low or 1.0))
        ax.set_title(self._reason(), loc="left", fontsize="small")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize="small", edgecolor="none", framealpha=0.9)
        return ax

    def _draw_suggestions(self, ax: Any) -> None:
        """Draw a line at each suggestion, the recommended one first and strong."""
        for method in sorted(self.suggestions, key=lambda method: method != METHOD):
            rate = self.suggestions[method]
            name, dashes = _LINES[method]
            recommended = method == METHOD
            ax.axvline(
                rate,
                color=_BLUE if recommended else "0.6",
                linestyle=dashes,
                linewidth=2.0 if recommended else 1.0,
                label=f"{name}: {_text(rate)}",
            )
        if METHOD in self.suggestions:
            at = int(np.argmin(np.abs(self.lrs - 10 * self.suggestions[METHOD])))
            label = f"smallest smoothed loss: at {_text(self.lrs[at])}"
            ax.plot(self.lrs[at], self.smoothed[at], "o", color=_BLUE, label=label)

    def _reason(self) -> str:
        """What is recommended and why, in two lines."""
        if self.suggestion is None:
            return "No suggestion, because the loss never fell."
        return (
            f"Recommended: {_text(self.suggestion)}, a tenth of the rate with the smallest "
            "loss.\nAt that rate itself the loss is about to rise (Smith, 2018)."
        )


def _text(rate: float) -> str:
    return tick_text(float(f"{rate:.3g}"))
