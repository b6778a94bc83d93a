"""Ignite, imported before the tests do it."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, in what Ignite imports of it
    import ignite.handlers  # noqa: F401
