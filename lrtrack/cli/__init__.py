"""The `lrtrack` command line; a subcommand's module is imported only when it is used."""

from __future__ import annotations

import click

from lrtrack import __version__
from lrtrack.cli._group import LazyGroup

_COMMANDS = {
    "compare": "Compare the schedules of an experiment's runs.",
    "demo": "Train on handwritten digits under six schedules and compare them.",
    "doctor": "Show trackers, devices, journals and undelivered runs.",
    "preview": "Draw schedules before any training.",
    "runs": "List an experiment's runs.",
    "sweep": "Sweep over schedules, with W&B or Ray.",
    "sync": "Upload runs that are still only in local journals.",
    "watch": "Show running trainings live.",
}


@click.group(
    cls=LazyGroup,
    commands={name: ("lrtrack.cli." + name, text) for name, text in _COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lrtrack")
def main() -> None:
    """Record learning-rate schedules and compare how well they train."""
