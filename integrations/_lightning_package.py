"""Finds the package of Lightning that is in use, of the two that there are."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from lrtrack._optional import load
from lrtrack.errors import MissingPackage

AT_LEAST = "2.5"
_PACKAGES = {"lightning.pytorch": "lightning", "pytorch_lightning": "pytorch-lightning"}


def callback_classes() -> list[Any]:
    """The base class of the package in use; both base classes if either may be used.

    A Trainer rejects a callback with a state that is not derived from its own package's class.
    """
    bases, missing = [], None
    loaded = [module for module in _PACKAGES if module in sys.modules]
    installed = [module for module in _PACKAGES if find_spec(module.partition(".")[0]) is not None]
    for module in loaded or installed or _PACKAGES:
        package = _PACKAGES[module]
        try:
            bases.append(load(module, "lightning", package, at_least=AT_LEAST).Callback)
        except MissingPackage as error:
            missing = missing or error
    if not bases and missing is not None:
        raise missing
    return bases
