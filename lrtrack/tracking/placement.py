"""Where the run of a block goes: a run of its own, the user's open run, or a child of that.

The first block in a run that the user has open joins it. A block with another prefix joins it,
too, and stands beside the first. A later block with the same prefix

- continues, as the next phase, where the block before has ended and neither `seed` nor `name` is
  another one (what a block leaves out is not another one): its steps come after those there;
- gets a child run where its seed or name is another one, where the block before goes on at the
  same time (in another thread or process), or where it is a trial of a study. Phases of the same
  seed and name follow each other in that child.

A run that was resumed by its id is the same open run, in whichever process. What was recorded is
known from the journal directory; of blocks that it does not know, the tracker tells at delivery.
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
from lrtrack.journal.reader import Ending, JournalReader, ending_of
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

_apart: ContextVar[bool] = ContextVar("lrtrack_apart", default=False)
#: Of which open runs, and of which destination, their user has heard in this process.
_said: set[str | None] = set()


@contextmanager
def as_child() -> Iterator[None]:
    """Have blocks that are entered meanwhile get children of an open run, the first one too."""
    token = _apart.set(True)
    try:
        yield
    finally:
        _apart.reset(token)


def place(options: Options, tracker: Tracker, layout: Layout, run_id: str, default: str) -> Target:
    """Decide where the run of a block goes in one tracker.

    Args:
        options: of the block.
        tracker: the tracker.
        layout: the journal directory.
        run_id: lrtrack's id of the block.
        default: the experiment where nobody has named one.

    Raises:
        UsageError: the block needs a run of its own, and the tracker cannot have one.
    """
    if options.kind != TRAIN:
        return _other_kind(options, tracker, default)
    target = dataclasses.replace(
        tracker.target(options.experiment, default), portable=tracker.portable
    )
    if not target.joined:
        resumes = options.resume is not None
        return dataclasses.replace(target, run_id=options.resume) if resumes else target
    if options.resume is not None:  # goes on counting where it was, if it is this run's
        return target
    try:
        layout.create()
        path = layout.joined(tracker.name, target.uri, target.run_id, options.prefix)
        with open_run(path) as run:
            return _seat(run, options, tracker, layout, target, run_id)
    except (OSError, JournalError):  # no journal either, of which the user will hear
        return target


def _other_kind(options: Options, tracker: Tracker, default: str) -> Target:
    # A run of another kind would mix its figures with those of a training that is joined.
    decide = tracker.separate_target if isinstance(tracker, OpensSeparateRuns) else tracker.target
    target = decide(options.experiment, default)
    if target.joined:
        raise UsageError(
            f"The tracker {tracker.name!r} has a run of yours open and no room for another one: "
            "end that run before, or give another tracker"
        )
    target = dataclasses.replace(target, portable=tracker.portable)
    resumes = options.resume is not None
    return dataclasses.replace(target, run_id=options.resume) if resumes else target


def _seat(
    run: OpenRun, options: Options, tracker: Tracker, layout: Layout, target: Target, run_id: str
) -> Target:
    """The place of a block among those that are in an open run, and its entry in their list."""
    members = [each for each in run.members if each.recorded(layout) or each.is_open(layout)]
    make_child = tracker.child_target if isinstance(tracker, OpensChildRuns) else None
    trial = _apart.get()
    head = None if trial and make_child else _continued(members, options, layout)
    if head is None and make_child is None and members:  # a tracker that has no children
        head = members[0]
    child = head.child if head is not None else bool(members) or trial
    child = child and make_child is not None
    if child and make_child is not None:
        _say(options, tracker, target, members, trial)
        target = dataclasses.replace(make_child(target), portable=tracker.portable)
    if head is None and not child and isinstance(tracker, KnowsPhases):
        first, phases = tracker.earlier_phases(options.prefix)
        target = dataclasses.replace(target, first=first, phases=tuple(phases))
    if head is not None:
        chain = [each for each in members if each.head == head.head]
        target = _after(chain, layout, target)
    if not trial:  # nothing ever goes on with a trial
        found = head.head if head is not None else run_id
        run.add(Member(run_id, found, child, options.seed, options.name))
    return target


def _continued(members: list[Member], options: Options, layout: Layout) -> Member | None:
    """The first block of the run that a block goes on with; None where there is none."""
    for first in (each for each in members if each.id == each.head):
        chain = [each for each in members if each.head == first.head]
        fits = all(
            getattr(each, said) in (None, getattr(options, said)) or getattr(options, said) is None
            for each in chain
            for said in ("seed", "name")
        )
        if fits and not any(each.is_open(layout) for each in chain):
            return first
    return None


def _after(chain: list[Member], layout: Layout, target: Target) -> Target:
    """`target`, for a block that goes on after the blocks of `chain`."""
    for member in reversed(chain):
        try:
            earlier, last, ending = _course(JournalReader(layout.journal(member.id)))
        except (JournalError, OSError) as error:
            warn(f"{error}; the steps of that block are not counted")
            continue
        known = [each for each in earlier.targets if each.tracker == target.tracker]
        if not known:
            continue
        there = known[0]
        if last < 0:  # without a step it is no phase
            return dataclasses.replace(target, first=there.first, phases=there.phases)
        told = Cursor.load(layout.cursor(member.id, target.tracker)).first
        first = there.first if told is None else told
        whole = ending.completed(earlier) if ending is not None else earlier
        phases = listed((*there.phases, phase_of(whole, first)))
        return dataclasses.replace(target, first=first + last + 1, phases=phases)
    return target


def _course(reader: JournalReader) -> tuple[Any, int, Ending | None]:
    """The run of a journal, its last step by its own count (-1 without one), and its ending."""
    last, ending = -1, None
    for entry in reader.entries():
        if entry.rows is not None and len(entry.rows):
            last = max(last, entry.rows["step"][-1].as_py())
        elif entry.event is not None:
            ending = ending_of(entry.event) or ending
    return reader.run, last, ending


def announce(trackers: Sequence[Tracker], targets: Sequence[Target]) -> None:
    """Say once a process where runs go that nobody has named a tracker for.

    Not in lrtrack's own processes: whoever runs `lrtrack demo` has asked for just that.
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
    where = f"No tracker is named and no run joined, so runs go to {' and '.join(places)}. {how}"
    fresh = [sentence for sentence in (where, *hints) if sentence not in _said]
    if fresh:
        _said.update(fresh)
        notice(" ".join(fresh))


def _say(
    options: Options, tracker: Tracker, target: Target, members: list[Member], trial: bool
) -> None:
    """Say once of an open run that blocks in it get runs of their own."""
    if target.run_id in _said:
        return
    _said.add(target.run_id)
    known = [str(each.seed) for each in members if each.seed is not None]
    if trial:
        why = "each trial"
    elif options.seed is not None and known and str(options.seed) not in known:
        why = f"seed {options.seed} follows seed {known[-1]}, so it"
    elif options.name is not None and options.name not in [each.name for each in members]:
        why = f"{options.name!r} is another name than the block before has, so it"
    else:
        why = "another block is still recording there, so this one"
    notice(
        f"In the open {tracker.name} run {target.run_id}: {why} is recorded in a child run of its "
        "own. To record blocks side by side in one run, give each a prefix."
    )
