"""Imports fastai before the tests do."""

from __future__ import annotations

import contextlib
import warnings

with warnings.catch_warnings(), contextlib.suppress(ModuleNotFoundError):
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, in what fastai imports
    import fastai.callback.schedule
    import fastai.callback.training  # noqa: F401
