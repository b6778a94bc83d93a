"""The options of a framework's callback, which are those of `track()`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, get_type_hints

from lrtrack.errors import unknown
from lrtrack.tracking import track
from lrtrack.tracking.options import Options

#: The options of a callback: all of `track()`, but for optimizer and scheduler.
_SIGNATURE = inspect.signature(track).parameters.values()
DEFAULTS: Mapping[str, Any] = {
    parameter.name: parameter.default
    for parameter in _SIGNATURE
    if parameter.kind is parameter.KEYWORD_ONLY
}


Constructor = TypeVar("Constructor", bound=Callable[..., None])


def with_signature(**defaults: Any) -> Callable[[Constructor], Constructor]:
    """Give a callback's constructor the signature that its `**options` stand for.

    Command lines that are made from signatures, as LightningCLI's, and `help()` then know them.

    Args:
        **defaults: those that differ from `track()`'s.
    """

    def sign(init: Constructor) -> Constructor:
        own = inspect.signature(init).parameters.values()
        hints = get_type_hints(track)
        options = [
            parameter.replace(
                annotation=hints[parameter.name],
                default=defaults.get(parameter.name, parameter.default),
            )
            for parameter in _SIGNATURE
            if parameter.name in DEFAULTS
        ]
        named = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
        init.__signature__ = inspect.Signature([*named, *options])  # type: ignore[attr-defined]
        return init

    return sign


class Copied:
    """A callback whose copies, also pickled ones, have its options but none of its runs.

    Frameworks copy their objects at any time, and an open run holds files and threads.

    Attributes:
        OF_RUNS: the attributes that belong to its runs, with their values in a copy.
    """

    OF_RUNS: ClassVar[Mapping[str, Any]] = {"run": None}

    def __getstate__(self) -> dict[str, Any]:
        """What a copy gets."""
        attributes = {**vars(self), **self.OF_RUNS}
        return {**attributes, "_blocks": attributes["_blocks"].copy()}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Become a copy, possibly in another process."""
        vars(self).update(state)
        self._wrap()

    def _wrap(self) -> None:
        """Wrap what tells callbacks too little, in this process; called for each callback."""


def options_of(callback: str, options: Mapping[str, Any]) -> Options:
    """The options of `track()` as a callback's user gave them, with the defaults of the others.

    Args:
        callback: the callback's name, for messages.
        options: the user's keyword arguments.

    Raises:
        TypeError: an option does not exist.
    """
    for name in options:
        if name not in DEFAULTS:
            raise TypeError(f"{callback}(): {unknown('option', name, DEFAULTS)}")
    return Options(optimizer=None, scheduler=None, **{**DEFAULTS, **options})


#: The options that tell several callbacks of one training apart.
_OF_KEY = ("tracker", "experiment", "name", "group", "prefix")


def key_of(name: str, options: Mapping[str, Any]) -> str:
    """The key of a callback's state in checkpoints, which others of the training do not have.

    Args:
        name: the key without such options.
        options: the user's.
    """
    own = {n: v for n, v in options.items() if n in _OF_KEY and isinstance(v, str) and v}
    return f"{name}{own}" if own else name


def state_in(states: Mapping[str, Any], name: str, key: str) -> Any:
    """A callback's state in a checkpoint; that of the only one if its options have changed.

    Args:
        states: what the checkpoint holds, by key.
        name: the beginning of the keys.
        key: the callback's own.

    Returns:
        None if it is not there.
    """
    others = [other for other in states if str(other).startswith(name)]
    return states.get(key, states[others[0]] if len(others) == 1 else None)
