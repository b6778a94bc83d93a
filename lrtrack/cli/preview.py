"""`lrtrack preview`: draws schedules as a chart or a picture, before any training."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lrtrack.cli import _options
from lrtrack.reports.formats import SUFFIXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMATS = ("chart", "png", "svg", "html", "csv")
#: Suffixes that mean a table in a comparison mean a chart here: both are text.
_SUFFIXES: Mapping[str, str] = {
    suffix: "chart" if name == "table" else name
    for suffix, name in SUFFIXES.items()
    if name in ("table", *_FORMATS)
}


@click.command(short_help="Draw schedules before any training.")
@click.argument("specs", metavar="SPEC...", nargs=-1, required=True)
@click.option(
    "--steps",
    required=True,
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of optimizer steps; also fills in lengths that a SPEC omits.",
)
@click.option(
    "--lr",
    default=0.1,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="RATE",
    help="The optimizer's initial learning rate.",
)
@click.option(
    "--seconds-per-step",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="S",
    help="Duration of a step, for schedules that decay with time.",
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: chart.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE; its suffix selects the format.",
)
def command(
    specs: tuple[str, ...],
    steps: int,
    lr: float,
    seconds_per_step: float,
    form: str | None,
    output: Path | None,
) -> None:
    """Draw schedules before any training.

    A SPEC is text such as "warmup(steps=100) -> cosine(min_lr=1e-5)". Training with the same
    SPEC uses exactly these learning rates.
    """
    chosen = _format(form, output)
    if chosen == "png" and output is None and sys.stdout.isatty():
        raise click.UsageError(
            "A PNG cannot be printed on a terminal. Fix: write it to a file with -o."
        )
    from lrtrack.reports.preview import csvtext, page, picture, preview_of, terminal

    exact = chosen == "csv"
    rates = {spec: _rates(spec, steps, lr, seconds_per_step, exact=exact) for spec in specs}
    preview = preview_of(rates, lr, seconds_per_step)
    if chosen == "csv":
        _options.write_output(csvtext.render(preview), output)
    elif chosen == "html":
        _options.write_output(page.render(preview), output)
    elif chosen in ("png", "svg"):
        _options.write_output(picture.render(preview, "png" if chosen == "png" else "svg"), output)
    elif output is not None:
        _options.write_output(terminal.text(preview), output)
    else:
        terminal.write(preview, sys.stdout)


def _rates(spec: str, steps: int, lr: float, seconds: float, *, exact: bool) -> NDArray[Any]:
    """The learning rate of each step; unless `exact`, by formulas where torch is not needed."""
    from lrtrack.schedules.closed_form import curve

    drawn = None if exact else curve(spec, steps, lr)
    if drawn is not None:
        return drawn
    from lrtrack.capture.simulate import simulate

    return simulate(spec, steps, lr=lr, seconds_per_step=seconds)[:, 0]


def _format(form: str | None, path: Path | None) -> str:
    if form is not None or path is None:
        return form or "chart"
    return _options.format_by_suffix(path, _SUFFIXES)
