"""What all callbacks share: blocks of `track()` that a framework begins and ends for its user."""

from __future__ import annotations

import atexit
import inspect
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from typing import Any

from lrtrack.capture.accumulation import Weight
from lrtrack.errors import LRTrackError, unknown, warn
from lrtrack.trackers import registry
from lrtrack.tracking import TrackedRun, track
from lrtrack.tracking.context import Block
from lrtrack.tracking.options import Options, as_mapping, check_values

#: What the user of a callback may say: all of `track()`, but what the framework knows itself.
_SIGNATURE = inspect.signature(track).parameters.values()
DEFAULTS: Mapping[str, Any] = {
    parameter.name: parameter.default
    for parameter in _SIGNATURE
    if parameter.kind is parameter.KEYWORD_ONLY
}


def told_apart(names: Iterable[str]) -> list[str]:
    """Prefixes of metrics out of names: of equal ones, all but the first have a number.

    As Lightning's LearningRateMonitor has it: `Adam/`, `Adam-1/`.
    """
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(f"{name}-{seen[name]}/" if seen[name] else f"{name}/")
        seen[name] += 1
    return found


class Blocks:
    """The blocks of one training: begun together, and ended together however it ends.

    A framework may leave its loop without a word, by an exception of which its callbacks do not
    hear. Then the runs end, as FAILED, when the same callback begins again, or with the program.

    Attributes:
        runs: the open runs, in the order of their optimizers.

    Args:
        who: the callback's name, for messages.
        options: what its user has said, as for `track()`.

    Raises:
        TypeError: an option that does not exist.
        UsageError: a value that does not exist.
    """

    def __init__(self, who: str, options: Mapping[str, Any]) -> None:
        for name in options:
            if name not in DEFAULTS:
                raise TypeError(f"{who}(): {unknown('option', name, DEFAULTS)}")
        if options.get("tracker") is not None:
            registry.resolve(options["tracker"])
        check_values(Options(None, None, **{**DEFAULTS, **options}))
        self.runs: list[TrackedRun] = []
        self._who = who
        self._blocks: list[Block] = []
        # None is the same as nothing said.
        self._options = {name: given for name, given in options.items() if given is not None}
        self._stack = ExitStack()

    def enter(
        self,
        pairs: Iterable[tuple[Any, Any, str]],
        resume: Sequence[str | None] = (),
        **found: Any,
    ) -> list[TrackedRun]:
        """Begin a block for each optimizer.

        Args:
            pairs: optimizer, its scheduler or None, and what is put before its metrics' names,
                after the user's own prefix.
            resume: for each of them the run to go on with; empty: none.
            **found: what the framework knows; what its user has said comes first, in `config` key
                by key.

        Returns:
            The open runs; none, with a warning, where something broke that is no user's mistake.

        Raises:
            TypeError, LRTrackError: as `track()` raises them.
        """
        self.leave(failed=True)
        options = {**found, **self._options}
        if "config" in found:
            options["config"] = {**found["config"], **as_mapping(self._options.get("config"))}
        prefix = options.pop("prefix", "")
        try:
            blocks = [
                track(optimizer, scheduler, prefix=prefix + own, **{"resume": before, **options})
                for (optimizer, scheduler, own), before in zip_longest(pairs, resume)
            ]
            with ExitStack() as stack:
                opened = [stack.enter_context(block) for block in blocks]
                self._stack, self.runs, self._blocks = stack.pop_all(), opened, blocks
        except (LRTrackError, TypeError):
            raise
        except Exception as error:
            warn(f"{self._who} does not observe this training, which goes on: {error!r}")
        atexit.register(self._at_exit)
        return self.runs

    def accumulate(self, accumulates: bool) -> None:
        """As `Block.accumulate`, of all that are open."""
        for block in self._blocks:
            block.accumulate(accumulates)

    def weight_losses(self, weight: Weight) -> None:
        """As `Block.weight_losses`, of all that are open."""
        for block in self._blocks:
            block.weight_losses(weight)

    def leave(self, failed: bool = False) -> None:
        """End what is open, FINISHED or FAILED; nothing where nothing is. Idempotent."""
        error = sys.exception() or RuntimeError("the training did not come to its end")
        self._end(error if failed else None)

    def _end(self, error: BaseException | None) -> None:
        blocks, self.runs, self._blocks = self._blocks, [], []
        try:
            self._stack.__exit__(type(error) if error else None, error, None)
        finally:
            for block in blocks:
                block.let_go(failed=True)  # of those whose exit was interrupted
        atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        # Python keeps what ended the program: who has pressed Ctrl-C is not kept waiting.
        self._end(getattr(sys, "last_value", None) or RuntimeError("the program ended"))
