"""CUDA graphs that capture a step: it is not made then, and replays of it run no Python.

While a graph is captured, the thread's calls are no training. Other threads must not use CUDA in
ways that would make the capture invalid, so device scalars are fetched afterwards.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from lrtrack.capture.device_scalars import pause, resume
from lrtrack.capture.patching import replace_method
from lrtrack.capture.thread_state import Counting, current_notes, period

#: Graphs that have captured steps, with the captures of those optimizers.
_graphs: weakref.WeakKeyDictionary[Any, list[Counting]] = weakref.WeakKeyDictionary()


def around_begin(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `CUDAGraph.capture_begin` with the thread's notes suspended from then on."""
    own_period = period()

    def capture_begin(*args: Any, **kwargs: Any) -> Any:
        here = current_notes()
        if here.away or own_period != period():
            return original(*args, **kwargs)
        pause()
        here.away, here.capturing = True, []
        try:
            return original(*args, **kwargs)
        except BaseException:
            here.away, here.capturing = False, None
            resume()
            raise

    return capture_begin


def around_end(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `CUDAGraph.capture_end`, which ends what `around_begin` has begun.

    Replays are watched from the first graph on that has captured a step: other ones cost no time.
    """

    def capture_end(*args: Any, **kwargs: Any) -> Any:
        here = current_notes()
        captured, here.capturing = here.capturing, None
        try:
            return original(*args, **kwargs)
        finally:
            if captured is not None:
                here.away = False
                resume()
            if captured:
                _graphs[args[0]] = captured
                replace_method(type(args[0]), "replay", _around_replay)

    return capture_end


def _around_replay(original: Callable[..., Any]) -> Callable[..., Any]:
    def replay(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        for capture in _graphs.get(args[0], ()) if args else ():
            capture.hidden.replay(capture.made)
        return result

    return replay
