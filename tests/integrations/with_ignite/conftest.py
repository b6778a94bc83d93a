"""Imports Ignite before the tests do."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, in what Ignite imports
    import ignite.handlers  # noqa: F401
