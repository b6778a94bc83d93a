"""Chooses the run that a block writes to: its own, the user's open run, or a child of that.

The first block in a run that the user has open joins it. A block with another prefix joins it,
too, beside the first. A later block with the same prefix

- continues it as the next phase, if the earlier block has ended and `seed` and `name` are the same
  or omitted: its steps follow those of the earlier block;
- gets a child run if its seed or name differs, if the earlier block is still open (in another
  thread or process), or if it is a trial of a study. Phases with the same seed and name follow
  each other in that child.

A run that was resumed by its id is the same open run in every process. Earlier blocks are known
from the journal directory; the tracker reports others at the upload.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from lrtrack.errors import JournalError, UsageError, notice, warn
from lrtrack.journal.layout import Layout
from lrtrack.journal.open_runs import Member, OpenRun, open_run
from lrtrack.journal.reader import Ending, JournalReader
from lrtrack.records import TRAIN, Target
from lrtrack.settings import owns_process, working_directory
from lrtrack.shipping.cursor import Cursor
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker
from lrtrack.trackers.hooks import (
    HintsAtOpenRuns,
    KnowsPhases,
    OpensChildRuns,
    OpensSeparateRuns,
)
from lrtrack.trackers.shared_runs import listed, phase_of

if TYPE_CHECKING:
    from lrtrack.tracking.options import Options

_as_child: ContextVar[bool] = ContextVar("lrtrack_apart", default=False)
#: Open runs and sentences that this process has already reported.
_reported: set[str | None] = set()


@contextmanager
def as_child() -> Iterator[None]:
    """Give each block that is entered meanwhile a child of the open run, even the first one."""
    token = _as_child.set(True)
    try:
        yield
    finally:
        _as_child.reset(token)


def place(options: Options, tracker: Tracker, layout: Layout, run_id: str, default: str) -> Target:
    """Choose where the run of a block goes in one tracker.

    Args:
        options: the options of the block.
        tracker: the tracker.
        layout: the journal directory.
        run_id: lrtrack's id of the block.
        default: the experiment by default.

    Raises:
        UsageError: the block needs a run of its own, which the tracker cannot open.
    """
    if options.kind != TRAIN:
        return _place_range_test(options, tracker, default)
    target = dataclasses.replace(
        tracker.target(options.experiment, default), portable=tracker.portable
    )
    if not target.joined:
        resumes = options.resume is not None
        return dataclasses.replace(target, run_id=options.resume) if resumes else target
    if options.resume is not None:  # continues at its own step count
        return target
    try:
        layout.create()
        path = layout.joined(tracker.name, target.uri, target.run_id, options.prefix)
        with open_run(path) as run:
            return _place_in_open_run(run, options, tracker, layout, target, run_id)
    except (OSError, JournalError):  # the journal cannot be opened either, which is reported then
        return target


def _place_range_test(options: Options, tracker: Tracker, default: str) -> Target:
    # Joining a training's run would mix the values of a range test with its metrics.
    decide = tracker.separate_target if isinstance(tracker, OpensSeparateRuns) else tracker.target
    target = decide(options.experiment, default)
    if target.joined:
        raise UsageError(
            f"The tracker {tracker.name!r} has a run of yours open and cannot open another one. "
            "Fix: end that run first, or use another tracker."
        )
    target = dataclasses.replace(target, portable=tracker.portable)
    resumes = options.resume is not None
    return dataclasses.replace(target, run_id=options.resume) if resumes else target


def _place_in_open_run(
    run: OpenRun, options: Options, tracker: Tracker, layout: Layout, target: Target, run_id: str
) -> Target:
    """Place a block among those of an open run, and add it to their list."""
    members = [m for m in run.members if m.recorded(layout) or m.is_open(layout)]
    make_child = tracker.child_target if isinstance(tracker, OpensChildRuns) else None
    is_trial = _as_child.get()
    head = None if is_trial and make_child else _block_to_continue(members, options, layout)
    if head is None and make_child is None and members:  # a tracker without child runs
        head = members[0]
    child = head.child if head is not None else bool(members) or is_trial
    child = child and make_child is not None
    if child and make_child is not None:
        _report_child(options, tracker, target, members, is_trial)
        target = dataclasses.replace(make_child(target), portable=tracker.portable)
    if head is None and not child and isinstance(tracker, KnowsPhases):
        first, phases = tracker.earlier_phases(options.prefix)
        target = dataclasses.replace(target, first=first, phases=tuple(phases))
    if head is not None:
        chain = [member for member in members if member.head == head.head]
        target = _after(chain, layout, target)
    if not is_trial:  # no block continues a trial
        head_id = head.head if head is not None else run_id
        run.add(Member(run_id, head_id, child, options.seed, options.name))
    return target


def _block_to_continue(members: list[Member], options: Options, layout: Layout) -> Member | None:
    """The first block of the run that a block continues; None if it continues none."""
    for first in (member for member in members if member.id == member.head):
        chain = [member for member in members if member.head == first.head]
        fits = all(
            getattr(options, field) is None
            or getattr(member, field) in (None, getattr(options, field))
            for member in chain
            for field in ("seed", "name")
        )
        if fits and not any(member.is_open(layout) for member in chain):
            return first
    return None


def _after(chain: list[Member], layout: Layout, target: Target) -> Target:
    """`target`, for a block that continues after the blocks of `chain`."""
    for member in reversed(chain):
        try:
            earlier, last, ending = _read_block(JournalReader(layout.journal(member.id)))
        except (JournalError, OSError) as error:
            warn(f"{error}; the steps of that block are not counted.")
            continue
        targets = [t for t in earlier.targets if t.tracker == target.tracker]
        if not targets:
            continue
        previous = targets[0]
        if last < 0:  # a block without a step is not a phase
            return dataclasses.replace(target, first=previous.first, phases=previous.phases)
        uploaded_first = Cursor.load(layout.cursor(member.id, target.tracker)).first
        first = previous.first if uploaded_first is None else uploaded_first
        completed = ending.completed(earlier) if ending is not None else earlier
        phases = listed((*previous.phases, phase_of(completed, first)))
        return dataclasses.replace(target, first=first + last + 1, phases=phases)
    return target


def _read_block(reader: JournalReader) -> tuple[Any, int, Ending | None]:
    """The run of a journal, its last step by its own count (-1 without one), and its ending."""
    course = reader.course()
    return reader.run, course.last, course.ending


def announce(trackers: Sequence[Tracker], targets: Sequence[Target]) -> None:
    """Report once per process where runs go if no tracker was chosen.

    Not in lrtrack's own processes, such as `lrtrack demo`.
    """
    if owns_process() or any(target.joined or target.parent for target in targets):
        return
    installed = (registry.get(name) for name in registry.names())
    hints = [
        hint
        for tracker in installed
        if isinstance(tracker, HintsAtOpenRuns) and (hint := tracker.open_run_hint())
    ]
    places = [
        f"{tracker.name} ({target.uri or f'its default store in {working_directory()}'})"
        for tracker, target in zip(trackers, targets, strict=True)
    ]
    how = "To choose: track(tracker=…), LRTRACK_TRACKER, or [tool.lrtrack] in pyproject.toml."
    where = f"No tracker is chosen and no run is open, so runs go to {' and '.join(places)}. {how}"
    fresh = [sentence for sentence in (where, *hints) if sentence not in _reported]
    if fresh:
        _reported.update(fresh)
        notice(" ".join(fresh))


def _report_child(
    options: Options, tracker: Tracker, target: Target, members: list[Member], is_trial: bool
) -> None:
    """Report once per open run that blocks in it get child runs."""
    if target.run_id in _reported:
        return
    _reported.add(target.run_id)
    seeds = [str(member.seed) for member in members if member.seed is not None]
    if is_trial:
        why = "each trial"
    elif options.seed is not None and seeds and str(options.seed) not in seeds:
        why = f"seed {options.seed} follows seed {seeds[-1]}, so it"
    elif options.name is not None and options.name not in [member.name for member in members]:
        why = f"the name {options.name!r} differs from that of the earlier block, so it"
    else:
        why = "another block is still recording there, so this one"
    notice(
        f"In the open {tracker.name} run {target.run_id}: {why} is recorded in a child run of its "
        "own. To record blocks side by side in one run, give each a prefix."
    )
