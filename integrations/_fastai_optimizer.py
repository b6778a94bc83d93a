"""Steps of fastai's own optimizers, made as torch's make theirs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch

#: What torch calls the hyper-parameters that fastai renames.
_TORCH_NAMES = {"mom": "momentum", "wd": "weight_decay"}


class StandIn(torch.optim.Optimizer):
    """Makes the steps of one of fastai's own optimizers, which have no hooks, as torch's do.

    While anyone uses it, it takes the place of the `step` of that optimizer, and calls it.

    Args:
        own: fastai's optimizer.
    """

    def __init__(self, own: Any) -> None:
        groups = [
            {"params": list(params), **_named(hyper)}
            for params, hyper in zip(own.param_lists, own.hypers, strict=True)
        ]
        super().__init__(groups, dict(_named(own.hypers[0])))
        self._users = 0
        self._stand_for(own)

    @classmethod
    def of(cls, own: Any, make: Any) -> StandIn:
        """Stand in for an optimizer, or use what stands in for it.

        Args:
            own: fastai's optimizer.
            make: the function that has made it, which gives the name.
        """
        step = vars(own).get("step")
        if isinstance(step, _Step):
            found = step.stand_in
        else:
            while isinstance(make, functools.partial):
                make = make.func
            name = getattr(make, "__name__", "")
            name = name if name.isidentifier() else type(own).__name__
            renamed: type[StandIn] = type(name, (cls,), {})
            found = renamed(own)
        found._users += 1
        return found

    def move(self, own: Any) -> bool:
        """Stand for another optimizer of the same parameters from now on.

        Args:
            own: fastai's optimizer.

        Returns:
            Whether its groups are the same.
        """
        if own is self._own:  # another user has moved it
            return True
        groups = [list(map(id, group["params"])) for group in self.param_groups]
        if [list(map(id, params)) for params in getattr(own, "param_lists", ())] != groups:
            return False
        self._restore()
        self._stand_for(own)
        return True

    def dismiss(self) -> None:
        """Note that a user is done; after the last one the optimizer has its own `step` back."""
        self._users -= 1
        if not self._users:
            self._restore()

    def _stand_for(self, own: Any) -> None:
        self._own, self._step = own, own.step
        self._replaced = vars(own).get("step")
        own.step = _Step(own, self)

    def _restore(self) -> None:
        if self._replaced is None:
            vars(self._own).pop("step", None)
        else:
            self._own.step = self._replaced

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make the step; hooks run around it."""
        return self._step() if closure is None else self._step(closure)

    def follow(self, *args: Any) -> Any:
        """Take over the current rates, and make a step."""
        for group, hyper in zip(self.param_groups, self._own.hypers, strict=True):
            group.update(_named(hyper))
        return self.step(*args)


class _Step:
    """In the place of an optimizer's `step`; a copy of the optimizer, also a pickled one, has none.

    Args:
        own: fastai's optimizer.
        stand_in: what makes its steps.
    """

    def __init__(self, own: Any, stand_in: StandIn) -> None:
        self._own = own
        self.stand_in = stand_in

    def __call__(self, *args: Any) -> Any:
        """Make a step."""
        return self.stand_in.follow(*args)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._own, "step")  # of the copy, where it is that of its class


def _named(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters under torch's names."""
    return {
        _TORCH_NAMES.get(name, name): float(value) if isinstance(value, float) else value
        for name, value in hyper.items()
    }
