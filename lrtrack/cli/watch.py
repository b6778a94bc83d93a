"""`lrtrack watch`: shows running trainings while they go on."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from lrtrack.cli import _options

if TYPE_CHECKING:
    from lrtrack.watching.watch import Watch

#: Seconds between two looks at the journals, and between two lines on the same run.
_REFRESH, _LINES = 0.5, 10.0
_KEYS = "q quit   m next metric   up/down scroll"


@click.command(short_help="Show running trainings live.")
@_options.experiments_option
@_options.tracker_option
@_options.uri_option
@click.option("--metric", metavar="NAME", help="Metric beside the learning rate. Default: loss.")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=_LINES,
    show_default=True,
    metavar="SECONDS",
    help="Without a terminal: time between two lines about a run.",
)
@click.option("--once", is_flag=True, help="Print one line about each running training, and end.")
def command(metric: str | None, interval: float, once: bool, **options: Any) -> None:
    """Show trainings while they run: step, remaining time, rate, loss and diagnoses.

    Trainings of this machine are read from their journals, all others from the tracker. On a
    terminal, q quits and m changes the metric. Elsewhere each change is a line, and the command
    ends with the last training.
    """
    from lrtrack.watching.watch import Watch

    watch = Watch(metric=metric, **options)
    try:
        if once:
            _print_once(watch)
        elif sys.stdout.isatty():
            _on_a_terminal(watch)
        else:
            _in_lines(watch, interval)
    except KeyboardInterrupt:  # the usual end
        pass
    finally:
        watch.close()


def _print_once(watch: Watch) -> None:
    from lrtrack.reports.live.lines import present

    for line in present(watch.once(), watch.metric):
        click.echo(line)
    if watch.trouble:
        click.echo(f"Warning: {watch.trouble}", err=True)


def _on_a_terminal(watch: Watch) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from lrtrack.cli._keys import keyboard
    from lrtrack.reports.live.screen import Screen, lines_of

    console = Console()
    unicode = console.encoding.startswith("utf")
    dotted = unicode and console.color_system is not None and not console.no_color
    first = 0
    with keyboard() as next_key, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            runs = watch.look()
            first = max(0, min(first, len(runs) - 1))
            screen = Screen(
                console.width, console.height, watch.metric, first, unicode, dotted, time.time(),
                _KEYS if next_key else "", watch.trouble,
            )  # fmt: skip
            live.update(Text("\n").join(lines_of(runs, screen)), refresh=True)
            if next_key is None:
                time.sleep(_REFRESH)
                continue
            key = next_key(_REFRESH)
            if key in ("q", "Q"):
                return
            first += {"up": -1, "k": -1, "down": 1, "j": 1}.get(key, 0)
            if key == "m":
                watch.next_metric()


def _in_lines(watch: Watch, interval: float) -> None:
    from lrtrack.reports.live.lines import changes

    before, due = watch.begin(), time.monotonic()
    while True:
        runs = watch.look()
        is_due = time.monotonic() >= due
        for line in changes(before, runs, watch.metric, progress=is_due):
            click.echo(line)
        sys.stdout.flush()
        before = {run.id: run for run in runs}
        due = time.monotonic() + interval if is_due else due
        if watch.is_over():
            return
        time.sleep(_REFRESH)
