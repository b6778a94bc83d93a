"""Trainings that go on, for people who watch them.

live_run.py   `LiveRun`: one training as far as it is known
screen.py     all of them on a terminal, drawn again and again
lines.py      what has changed, one line each, for pipes and files
"""

from lrtrack.reports.live.live_run import LiveRun, Points

__all__ = ["LiveRun", "Points"]
