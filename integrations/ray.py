"""Ray Tune and Ray Train: sweeps over schedules on a cluster, every trial a run.

    def train(config):                       # an ordinary function of Ray Tune
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        sched = lrtrack.scheduler(opt, config, total_steps=1000)
        with track(opt, sched, checkpoint={"model": model, "opt": opt, "sched": sched}) as run:
            for step in range(run.step + 1, 1000):
                ...
                report(run, every=50)

    results = sweep(train, ["onecycle(max_lr={0.1, 0.3})", "cosine"], seeds=3, name="first")
    results.get_best_result("loss_final", "min").config["schedule"]

`sweep` is short for `tune.Tuner(with_tracking(train), param_space=search_space(…)).fit()`, which
you can call yourself. Under Ray Train, use `TorchTrainer(with_tracking(train), …)`.

Runs go where those of the program that starts the sweep would go: on the same machine to the
journals and stores of its directory, on others to `MLFLOW_TRACKING_URI` and the like, unless the
`runtime_env` of `ray.init` has other variables for the workers. Credentials are never passed on,
also not as a part of an address: set them where Ray is started, or in `runtime_env`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from lrtrack._optional import load
from lrtrack.errors import UsageError, unknown
from lrtrack.integrations._ray_worker import report, track, with_tracking
from lrtrack.schedules.catalogue import stages_of
from lrtrack.schedules.spec import Choice, Range
from lrtrack.stats import mode_of
from lrtrack.sweeps import check_names, expand, open_parameters, read_params

__all__ = ["Lines", "report", "search_space", "sweep", "track", "with_tracking"]

ray: Any = load("ray", extra="ray", at_least="2.43")
tune: Any = load("ray.tune", extra="ray", at_least="2.43")

METHODS = ("grid", "random")
#: Where Ray stores sweeps by default.
_STORAGE = "~/ray_results"
#: By default Ray fails a trial whose report lacks the metric, although a later report may have it,
#: and saves the progress of trials only every ten seconds: one killed before would start over.
_VARIABLES = {"TUNE_DISABLE_STRICT_METRIC_CHECKING": "1", "TUNE_GLOBAL_CHECKPOINT_S": "2"}
#: Switches off the tables that Ray prints even with `verbose=0`.
_SILENT = {"RAY_AIR_NEW_OUTPUT": "0"}


def search_space(
    schedules: Sequence[str],
    *,
    seeds: int = 3,
    params: Mapping[str, Any] | None = None,
    method: str = "grid",
) -> dict[str, Any]:
    """A `param_space` over schedules × seeds × further parameters, for `tune.Tuner`.

    Its trials' configs have `schedule`, `seed` and the further parameters; with `random` also the
    open parameters of their schedules, such as `config["onecycle"]["max_lr"]`.
    `lrtrack.scheduler(opt, config)` reads all of them.

    Args:
        schedules: specs, possibly with ranges (`0.01..0.3 log`) or alternatives (`{0.1, 0.3}`).
        seeds: each configuration runs with the seeds 0 … seeds - 1. With `random` this needs
            `search_alg=tune.search.BasicVariantGenerator(constant_grid_search=True)`.
        params: further parameters: text as in specs, such as `{"lr": "{0.1, 0.3}"}`, or Ray's own
            domains, such as `tune.loguniform(0.01, 1)`.
        method: `"grid"`: all alternatives; `"random"`: random values of ranges and alternatives.

    Raises:
        UsageError: a spec cannot be parsed, a grid has a range, or the method is unknown.
    """
    if method not in METHODS:
        raise UsageError(unknown("method", method, METHODS))
    if not schedules or seeds < 1:
        raise UsageError("A sweep needs at least one schedule and one seed.")
    specs = [(text, stages_of(text)) for text in schedules]
    texts = {name: value for name, value in (params or {}).items() if isinstance(value, str)}
    extra_params = {**(params or {}), **read_params(texts)}
    space: dict[str, Any] = {"seed": tune.grid_search(list(range(seeds)))}
    if method == "grid":
        space["schedule"] = tune.grid_search(expand(specs))
    else:
        space["schedule"] = tune.choice([text for text, _ in specs])
        for parameter in open_parameters(specs):
            domain = _domain(parameter.value, parameter.name, method)
            space.setdefault(parameter.group, {})[parameter.name] = domain
    check_names(space, extra_params)
    return space | {name: _domain(value, name, method) for name, value in extra_params.items()}


def _domain(value: Any, name: str, method: str) -> Any:
    if isinstance(value, Choice):
        return (tune.grid_search if method == "grid" else tune.choice)(list(value.values))
    if not isinstance(value, Range):
        return value
    if method == "grid":
        raise UsageError(
            f"A grid cannot use a range for {name}. Fix: list values, as in {{0.1, 0.3}}."
        )
    if isinstance(value.low, int) and isinstance(value.high, int):  # Ray excludes the end
        return (tune.lograndint if value.log else tune.randint)(value.low, value.high + 1)
    return (tune.loguniform if value.log else tune.uniform)(value.low, value.high)


class Lines(tune.Callback):  # type: ignore[misc]  # Ray has no types here
    """Prints a line of text for each finished trial, for `sweep(callbacks=[…])`.

    Args:
        write: takes the line.
        metric: the metric of the trial's result to print.
    """

    def __init__(self, write: Callable[[str], None], metric: str) -> None:
        self._write = write
        self._metric = metric

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Print the result."""
        value = trial.last_result.get(self._metric)
        text = f"{value:.6g}" if isinstance(value, float) else "not reported"
        self._write_line(trials, trial, f"{self._metric} {text}")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Print the error."""
        path = Path(trial.error_file or os.devnull)  # a path on this machine, not in the storage
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = text.strip().splitlines() or ["no error message"]
        self._write_line(trials, trial, f"failed: {lines[-1].strip()}")

    def _write_line(self, trials: Any, trial: Any, outcome: str) -> None:
        finished = 1 + sum(other.is_finished() for other in trials if other is not trial)
        label = f"{trial.config.get('schedule')}, seed {trial.config.get('seed')}"
        self._write(f"[{finished}/{len(trials)}] {label}: {outcome}")


def sweep(
    train: Callable[..., Any],
    schedules: Sequence[str],
    *,
    seeds: int = 3,
    params: Mapping[str, Any] | None = None,
    method: str = "grid",
    samples: int = 10,
    metric: str = "loss_final",
    mode: Literal["min", "max"] | None = None,
    name: str | None = None,
    storage_path: str | os.PathLike[str] | None = None,
    resources: Mapping[str, float] | None = None,
    scheduler: Any = None,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    verbose: int = 1,
    **options: Any,
) -> Any:
    """Run a sweep over schedules × seeds × further parameters on the cluster, or on this machine.

    Args:
        train: a function that takes a trial's config and trains inside `track` of this module.
        schedules, seeds, params, method: as for `search_space`.
        samples: number of configurations that `random` draws; each runs with all seeds.
        metric: the metric that `scheduler` and `get_best_result()` use.
        mode: whether to minimize or maximize it; None: derived from its name.
        name: the name of the sweep, of its runs' group and of its folder; None: Ray's choice.
        storage_path: the parent of that folder; None: `~/ray_results`. A cluster of several
            machines needs a path that all can reach.
        resources: the resources of one trial, such as `{"cpu": 2, "gpu": 1}`.
        scheduler: a scheduler of `ray.tune.schedulers`, such as `ASHAScheduler(time_attr="step")`.
        resume: resume the sweep of this name, or begin it: finished trials are not repeated, and
            others resume from their checkpoints. Trials without a checkpoint older than two seconds
            start over, as new runs.
        callbacks, verbose: as for `tune.RunConfig`; 0: Ray prints nothing.
        **options: options of `lrtrack.track()`, for all trials.

    Returns:
        Ray's `ResultGrid`.

    Raises:
        UsageError: as for `search_space`; or a sweep of this name exists and `resume` is False.
    """
    space = search_space(schedules, seeds=seeds, params=params, method=method)
    mode = mode or mode_of(metric)
    trainable = with_tracking(train, **options)
    if resources is not None:
        trainable = tune.with_resources(trainable, dict(resources))
    previous = _previous_sweep(name, storage_path, resume)
    _connect(verbose)
    if previous is not None:
        tuner = tune.Tuner.restore(
            previous, trainable=trainable, resume_unfinished=True, resume_errored=True
        )
    else:
        variants = tune.search.BasicVariantGenerator(constant_grid_search=True)
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric=metric,
                mode=mode,
                num_samples=1 if method == "grid" else samples,
                search_alg=variants,
                scheduler=scheduler,
                trial_dirname_creator=str,  # by default it is made of the spec
            ),
            run_config=tune.RunConfig(
                name=name,
                storage_path=_folder(storage_path),
                callbacks=list(callbacks),
                verbose=verbose,
            ),
        )
    with _environment(_VARIABLES if verbose else {**_VARIABLES, **_SILENT}):
        return tuner.fit()


def _connect(verbose: int) -> None:
    """Connect to the cluster, or start one here, as Ray would."""
    quiet = {} if verbose else {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not ray.is_initialized():
        ray.init(**quiet)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set these variables temporarily, unless the user has set them."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _folder(storage_path: str | os.PathLike[str] | None) -> str:
    text = os.fspath(storage_path or _STORAGE)
    return text if "://" in text else str((Path.cwd() / Path(text).expanduser()).absolute())


def _previous_sweep(
    name: str | None, storage_path: str | os.PathLike[str] | None, resume: bool
) -> str | None:
    """The folder of the sweep to resume; None if there is none."""
    if name is None:
        if resume:
            raise UsageError("resume=True needs the name of the sweep. Fix: pass name=….")
        return None
    path = f"{_folder(storage_path)}/{name}"
    if not tune.Tuner.can_restore(path):
        return None
    if not resume:
        raise UsageError(
            f"There is already a sweep in {path}. Fix: resume it (resume), or choose another name."
        )
    return path
