"""What `save_state` stores of the runs, and how `load_state` finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrtrack.errors import warn
from lrtrack.integrations._callback_options import state_in
from lrtrack.integrations._wrapping import wrap_once
from lrtrack.journal.layout import read_json, write_json

#: The file of a checkpoint that holds the runs, and what it says of each.
_FILE, _STATE = "lrtrack.json", ("id", "step")


def save(folder: str, key: str, states: list[dict[str, Any]]) -> None:
    """Store the runs of a tracker, beside those of others.

    Args:
        folder: the checkpoint.
        key: the tracker's own.
        states: what `TrackedRun.state_dict()` returned, for each of its runs.
    """
    path = Path(folder, _FILE)
    write_json(path, {**(read_json(path) or {}), key: states})


def saved(folder: str, name: str, key: str) -> list[tuple[str, int]]:
    """Id and step of each run in a checkpoint; empty if there are none, or they are damaged.

    Args:
        folder: the checkpoint.
        name: the beginning of all trackers' keys.
        key: the tracker's own.
    """
    runs = state_in(read_json(Path(folder, _FILE)) or {}, name, key)
    states = []
    for state in runs if isinstance(runs, list) else ():
        run_id, step = (state.get(name) if isinstance(state, dict) else None for name in _STATE)
        if not isinstance(run_id, str) or type(step) is not int or step < 0:
            return []
        states.append((run_id, step))
    return states


def register_before_loading(accelerator_class: Any, register: Callable[[Any], None]) -> None:
    """Have `load_state` call `register` with its Accelerator first, in this process and for good.

    Until `init_trackers` has been called, a tracker does not know its Accelerator.

    Args:
        accelerator_class: the class whose method is wrapped.
        register: has the Accelerator's trackers take part in what is loaded.
    """

    def wrap(load_state: Callable[..., Any]) -> Callable[..., Any]:
        def registering(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                register(self)
            except Exception as error:
                warn(f"lrtrack will not go on in the checkpoint's run: {error!r}.")
            return load_state(self, *args, **kwargs)

        return registering

    wrap_once(accelerator_class, "load_state", wrap)
