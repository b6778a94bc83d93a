"""The options about runs that lrtrack did not record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lrtrack.cli._options import add_all

F = TypeVar("F", bound=Callable[..., Any])

#: Each is the argument of `lrtrack.histories()` of the same name.
_OPTIONS = (
    click.option(
        "--runs",
        type=click.Choice(["lrtrack", "all"]),
        help="Runs that lrtrack recorded, or all. Default: lrtrack if there is one such run.",
    ),
    click.option(
        "--lr-metric", metavar="NAME", help="The learning rate in runs that others logged."
    ),
    click.option(
        "--seed-field", metavar="FIELD", help="The setting that is the seed in such runs."
    ),
)


def others_options(function: F) -> F:
    """Add `--runs`, `--lr-metric` and `--seed-field`."""
    return add_all(_OPTIONS, function)
