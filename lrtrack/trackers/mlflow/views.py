"""Tags of a new experiment, so that MLflow's pages show training runs with useful columns.

Only experiments that lrtrack itself creates get them; those of the user stay as they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from lrtrack.trackers.mlflow.metadata import SCHEDULE

#: The tag prefix of MLflow's saved views, which its runs page lists under "Views".
_VIEW = "mlflow.sharedViewState."
_SORTED: Mapping[str, Any] = {
    "orderByKey": "metrics.`loss_final`",
    "orderByAsc": True,
    "selectedColumns": [
        "metrics.`loss_final`",
        "params.`scheduler`",
        "params.`scheduler.max_lr`",
        "params.`seed`",
    ],
}
_GROUPED: Mapping[str, Any] = {
    **_SORTED,
    "groupBy": {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "tag", "groupByData": SCHEDULE}],
    },
}


def experiment_tags() -> dict[str, str]:
    """Tags of a new experiment: its kind and two saved views of its runs."""
    return {
        # Without this, some releases of MLflow 3 open the experiment as one of GenAI.
        "mlflow.experimentKind": "custom_model_development",
        **_view("lrtrack", "lrtrack: by final loss", _SORTED),
        **_view("lrtrack-groups", "lrtrack: grouped by schedule", _GROUPED),
    }


def _view(key: str, name: str, state: Mapping[str, Any]) -> dict[str, str]:
    now = int(time.time() * 1000)
    view = {"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)}
    return {_VIEW + key: json.dumps(view)}
