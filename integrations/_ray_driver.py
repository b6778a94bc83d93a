"""The program that starts Ray's workers, as they need to know it: where its own runs would go."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrtrack.errors import warn
from lrtrack.journal.layout import host
from lrtrack.redaction import bare_uri, holds_secret
from lrtrack.settings import work_from, working_directory
from lrtrack.shipping.spawn import detach_shippers
from lrtrack.tracking import report_hint

#: Variables that are addresses. They are passed on without the login that they may contain.
_ADDRESSES = ("MLFLOW_TRACKING_URI", "WANDB_BASE_URL")
#: Variables that say where runs go.
_PASSED_ON = (
    *("LRTRACK_DIR", "LRTRACK_TRACKER", "LRTRACK_WANDB_ROWS", "LRTRACK_SHIPPER_IDLE"),
    "XDG_STATE_HOME",  # holds the key that signs journals, which the driver must read
    *("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "WANDB_MODE", "WANDB_PROJECT"),
    *("WANDB_ENTITY", "WANDB_DIR", *_ADDRESSES),
)
#: Seconds that a worker which Ray ends leaves a stopped trial to end its run. Ray kills after ten.
GRACE = 5.0
#: How the names of a tracker's variables begin, by the tracker's name.
_PREFIXES = {"mlflow": ("MLFLOW_", "DATABRICKS_"), "wandb": ("WANDB_",)}


@dataclass(frozen=True)
class Driver:
    """The program that starts the workers; it is pickled, and Ray keeps it on disk.

    Attributes:
        directory: where it works.
        host: its machine.
        environment: its variables that say where runs go, without logins.
        secrets: the names of its variables that hold trackers' credentials.
    """

    directory: str
    host: str
    environment: Mapping[str, str]
    secrets: tuple[str, ...] = ()

    @classmethod
    def here(cls) -> Driver:
        """This program."""
        variables = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        for name in variables.keys() & set(_ADDRESSES):
            variables[name] = bare_uri(variables[name])
        prefixes = tuple(prefix for group in _PREFIXES.values() for prefix in group)
        named = (name for name in sorted(os.environ) if name.startswith(prefixes))
        secrets = tuple(name for name in named if holds_secret(name, os.environ[name]))
        return cls(str(working_directory()), host(), variables, secrets)

    def apply(self, tracker: Any = None) -> None:
        """Make this process, a Ray worker, use the driver's directories and settings.

        Variables that the user has set for Ray's workers (`runtime_env`) stay as they are, and so
        does an address that differs from the driver's by its login only.

        Args:
            tracker: the option of this name, for warnings.
        """
        detach_shippers()
        report_hint.silence()
        explicit = _runtime_variables()
        for name, value in self.environment.items():
            is_same = name in _ADDRESSES and bare_uri(os.environ.get(name, "")) == value
            if name not in explicit and not is_same:
                os.environ[name] = value
        directory = Path(self.directory)
        work_from(directory if os.access(directory, os.W_OK | os.X_OK) else Path.home())
        journals = Path(os.environ.get("LRTRACK_DIR", "")).expanduser()
        try:
            (working_directory() / journals).mkdir(parents=True, exist_ok=True)
        except OSError:  # the path only exists on the driver's machine
            os.environ.pop("LRTRACK_DIR", None)
        used = tracker or os.environ.get("LRTRACK_TRACKER") or "mlflow"
        names = used if isinstance(used, list | tuple) else [used]
        self._warn(" ".join(str(getattr(name, "name", name)) for name in names), explicit)

    def _warn(self, trackers: str, explicit: Mapping[str, str]) -> None:
        """Warn where runs would not arrive where the driver's do, unless the user wants that."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if host() != self.host and "mlflow" in trackers and not uri.startswith("http"):
            warn(
                f"This trial runs on {host()}, but the sweep was started on {self.host}: its run "
                "goes to a store on this machine. Fix: set MLFLOW_TRACKING_URI to a server that "
                "both can reach."
            )
        used = tuple(p for name, group in _PREFIXES.items() if name in trackers for p in group)
        of_trackers = [name for name in self.secrets if used and name.startswith(used)]
        missing = ", ".join(n for n in of_trackers if n not in explicit and self._is_missing(n))
        if missing:
            warn(
                f"This worker of Ray lacks credentials that its driver has in {missing}, and "
                "lrtrack does not pass them on, so the tracker may refuse this run. Fix: set them "
                "where Ray is started, or with `ray.init(runtime_env={'env_vars': {…}})`. Where "
                "they are set, `lrtrack sync` uploads runs that were refused."
            )

    def _is_missing(self, name: str) -> bool:
        """Whether this worker has no credentials in a variable in which the driver has some."""
        value = os.environ.get(name, "")
        return not (holds_secret(name, value) if name in _ADDRESSES else value)


def _runtime_variables() -> Mapping[str, str]:
    """The variables that the user has set for the workers of this cluster or job."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return {}
    return dict(ray.get_runtime_context().runtime_env.get("env_vars") or {})


def tune_context() -> Any:
    """The context of the trial of Ray Tune whose worker this is; None elsewhere.

    That is also a worker of Ray Train: in older releases they are part of a trial, but have ranks.
    """
    # Releases before 2.43 have none.
    get_context = getattr(sys.modules.get("ray.tune"), "get_context", None)
    if get_context is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context = get_context()
        is_tune = context.get_trial_id() is not None and context.get_world_rank() is None
    return context if is_tune else None


def options_of(context: Any) -> dict[str, Any]:
    """The options of `lrtrack.track()` for a trial of Ray Tune, from its context."""
    return {
        "name": context.get_trial_name(),
        "group": context.get_experiment_name(),
        "tags": {"ray.trial_id": context.get_trial_id()},
    }
