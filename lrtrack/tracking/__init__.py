"""`track()` and `start()`: record a training and have it uploaded.

context.py           `track()` and its `with` block
starting.py          `start()`: the same without a block
unended.py           ends runs that nobody has ended when the program ends
program_end.py       how a program ended
options.py           the options of `track()`, checked before any training
arguments.py         conversion of single arguments
placement.py         which tracker run a block writes to
resume.py            finds the journal of a run that is resumed
journal_location.py  opens the journal, on another disk if the first one is full
recording.py         one run while it is recorded: capture, journal, courier
upload_monitor.py    how far the upload is, and warnings about it
run.py               `TrackedRun`: what users call
manual_steps.py      steps that users record, because no hook sees them
user_metrics.py      metrics that users log
live_summary.py      the run's summary so far
live_diagnoses.py    the run's diagnoses
live_schedule.py     the schedule that its learning rates show
rate_curve.py        these rates, in bounded memory
schedule_events.py   that schedule in the journal
returns.py           returns to earlier steps
captures.py          the capture of a block
open_run_guards.py   notices that the user ends a run that this one was joined to
report_hint.py       names the command for a report at the end
exit_guard.py        notices that a block was left even if its exit was interrupted
"""

from lrtrack.tracking.context import track
from lrtrack.tracking.run import TrackedRun
from lrtrack.tracking.starting import start

__all__ = ["TrackedRun", "start", "track"]
