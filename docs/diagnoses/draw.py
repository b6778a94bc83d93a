"""Draws the plots of the pages in this folder: `python docs/diagnoses/draw.py`.

Each page has one plot, in its first block of text: what the mistake looks like, and in most of them
the same training without it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrtrack.reports.text_plot import framed, plot, x_axis
from lrtrack.schedules.closed_form import rates

FOLDER = Path(__file__).parent
WIDTH, ROWS, STEPS = 60, 8, 300
_BLOCK = re.compile(r"```text\n.*?```", re.S)

Values = NDArray[np.float64]
STEP = np.arange(float(STEPS))


@dataclass(frozen=True)
class Plot:
    """What one page shows.

    Attributes:
        metric: what the y axis is.
        curves: the mistake, drawn with `*`; then the training without it, drawn with `+`.
        is_log: whether the y axis is logarithmic.
        steps: the number at the right end of the x axis.
    """

    metric: str
    curves: tuple[Values, ...]
    is_log: bool = False
    steps: int = STEPS


def _rates(spec: str, *, every: int = 1, lr: float = 0.1) -> Values:
    return rates(spec, np.arange(STEPS) // every, lr)


def _noisy(values: Any, size: float, seed: int = 0) -> Values:
    noise = np.random.default_rng(seed).normal(0.0, size, STEPS)
    return np.asarray(values * np.exp(noise), dtype=float)


def _falling(start: float = 2.3, end: float = 0.1, pace: float = 60.0) -> Values:
    return _noisy(end + (start - end) * np.exp(-STEP / pace), 0.04)


def _with(values: Values, at: slice, other: Any) -> Values:
    changed = values.copy()
    changed[at] = other
    return changed


_COSINE = _rates("cosine(steps=300)")
_LR, _NORM, _LOSS = "learning rate", "gradient norm", "loss"
_RANDOM = np.random.default_rng(1)

PLOTS: dict[str, Plot] = {
    "LR001": Plot(_LR, (np.full(STEPS, 0.1), _COSINE)),
    "LR002": Plot(_LR, (_rates("cosine(steps=300)", every=10), _COSINE)),
    "LR003": Plot(_LR, (_rates("cosine(steps=200)"), _COSINE)),
    "LR004": Plot(_LR, (_rates("linear(steps=100, end=0)"), _rates("linear(steps=300, end=0)"))),
    "LR005": Plot(
        _LR,
        (_rates("exponential(gamma=0.8)")[1:13], _rates("exponential(gamma=0.8)")[:12]),
        steps=12,
    ),
    "LR006": Plot(_LOSS, (_with(_falling(), slice(120, None), np.nan), _falling())),
    "LR007": Plot(
        _NORM + " after clipping",
        (np.minimum(_noisy(4.0, 0.5), 1.0), np.minimum(_noisy(0.5, 0.4), 1.0)),
    ),
    "LR008": Plot(_NORM + " of a param group", (np.zeros(STEPS), _noisy(1.0, 0.2))),
    "LR009": Plot(
        _NORM,
        (_with(_noisy(1.0, 0.2), slice(60, None, 80), [40.0, 25.0, 60.0]), _noisy(1.0, 0.2)),
        is_log=True,
    ),
    "LR010": Plot(_LOSS, (np.full(STEPS, np.nan), _falling())),
    "LR011": Plot(_LR, (np.full(STEPS, 0.1), _rates("step(steps=110)"))),
    "LR012": Plot(
        _LR, (_rates("cosine(steps=300, min_lr=0)")[np.minimum(np.arange(STEPS) * 4, 299)], _COSINE)
    ),
    "LR013": Plot(_LOSS, (_with(_falling(), slice(100, None), np.nan), _falling())),
    "LR014": Plot(_LR, (_rates("step(steps=30)"), _rates("step(steps=10)", every=10))),
    "LR015": Plot(_LR, (np.full(STEPS, 0.1), _COSINE)),
    "LR016": Plot(
        _LR,
        (_rates("onecycle(max_lr=1, steps=300)"), _rates("onecycle(max_lr=0.01, steps=300)")),
        is_log=True,
    ),
    "LR017": Plot(
        _LR,
        (
            _rates("cosine(steps=300, min_lr=0.01)", lr=0.001),
            _rates("cosine(steps=300, min_lr=0.00001)", lr=0.001),
        ),
        is_log=True,
    ),
    "LR018": Plot(_LR + " of a param group", (np.zeros(STEPS), _COSINE)),
    "LR019": Plot(_NORM, (0.5 * (STEP + 1.0) ** 0.9, _noisy(0.5, 0.2)), is_log=True),
    "LR020": Plot(_LOSS, (4.0 * _falling(), _falling())),
    "LR021": Plot(
        _LOSS,
        (_noisy(2.35 + 40.0 * np.exp(-np.abs(STEP - 6.0) / 9.0) * (STEP > 0), 0.02), _falling()),
        is_log=True,
    ),
    "LR022": Plot(_LOSS, (_noisy(2.3, 0.004), _falling())),
    "LR023": Plot(
        _NORM + " of the first layer", (_noisy(1e-9, 0.3), _noisy(1e-2, 0.3)), is_log=True
    ),
    "LR024": Plot(_NORM, (_with(_noisy(1.0, 0.2), slice(100, None, 3), np.nan), _noisy(1.0, 0.2))),
    "LR025": Plot(
        "seconds a step", (0.02 + 0.8 * (_RANDOM.random(STEPS) < 0.07), np.full(STEPS, 0.02))
    ),
    "LR026": Plot(
        "scale of the gradient scaler",
        (2.0 ** np.repeat(np.r_[9:0:-1, np.tile([0.0, 1.0], 26)][:60], 5), np.full(STEPS, 2.0**7)),
        is_log=True,
    ),
    "LR027": Plot(
        _LR,
        (
            _rates("warmup(start=0, steps=3000) -> cosine(steps=100)"),
            _rates("warmup(start=0, steps=30) -> cosine(steps=270)"),
        ),
    ),
    "LR028": Plot(_LR, (_with(_rates("cosine(steps=38)"), slice(38, None), 0.0), _COSINE)),
    "LR030": Plot(_LR, (np.concatenate((_COSINE[:180], _COSINE[:120])), _COSINE)),
    "LR031": Plot(_LR, (_COSINE * np.minimum(1.0, (STEP + 1.0) / 60.0), _COSINE)),
}


def drawn(shown: Plot) -> str:
    """Draw a plot as lines of text, below the name of its metric."""
    curves = list(reversed(shown.curves))  # the mistake is on top
    if shown.is_log:
        curves = [np.log10(curve) for curve in curves]
    known = np.concatenate(curves)
    known = known[np.isfinite(known)]
    low, high = (
        (float(known.min()), float(known.max())) if shown.is_log else (0.0, float(known.max()))
    )
    lines = plot(curves, low, high or 1.0, WIDTH, ROWS, dotted=False)
    labels = np.array([high, (low + high) / 2.0, low])
    scale = [f"{label:.3g}" for label in (10.0**labels if shown.is_log else labels)]
    middle = str(shown.steps // 2)
    below = x_axis("0", middle, f"step {shown.steps}", WIDTH)
    text = "\n".join(line.plain for line in framed(lines, scale, below, unicode=True))
    swapped = text.translate(str.maketrans("*+", "+*"))
    return f"{shown.metric}{' (logarithmic)' * shown.is_log}\n{swapped}\n"


def page_with_plot(code: str) -> str:
    """The text of a code's page with its plot as it is drawn now."""
    page = (FOLDER / f"{code}.md").read_text(encoding="utf-8")
    return _BLOCK.sub(lambda _: f"```text\n{drawn(PLOTS[code])}```", page, count=1)


if __name__ == "__main__":
    for name in PLOTS:
        (FOLDER / f"{name}.md").write_text(page_with_plot(name), encoding="utf-8")
