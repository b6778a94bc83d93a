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

`sweep` is `tune.Tuner(with_tracking(train), param_space=search_space(…)).fit()`, for whoever has a
tuner of his own. Under Ray Train it is `TorchTrainer(with_tracking(train), …)`.

Runs go where those of the program that starts the sweep would go: its directory's journals and
stores on one machine, and where `MLFLOW_TRACKING_URI` and the like say on others. Credentials are
never handed on: give them to the cluster's machines in their own environment.
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
#: Where Ray keeps what it knows of a sweep, if nobody says otherwise.
_STORAGE = "~/ray_results"
#: Ray fails a trial whose report lacks the metric, though it may come with a later one. And it
#: notes how far trials are every ten seconds only: one killed before would begin anew.
_VARIABLES = {"TUNE_DISABLE_STRICT_METRIC_CHECKING": "1", "TUNE_GLOBAL_CHECKPOINT_S": "2"}
#: Where `verbose=0` would still print tables.
_SILENT = {"RAY_AIR_NEW_OUTPUT": "0"}


def search_space(
    schedules: Sequence[str],
    *,
    seeds: int = 3,
    params: Mapping[str, Any] | None = None,
    method: str = "grid",
) -> dict[str, Any]:
    """A `param_space` over schedules × seeds × further parameters, for `tune.Tuner`.

    Its trials' configs have `schedule`, `seed` and the further parameters; under `random` also
    what their schedules leave open, such as `config["onecycle"]["max_lr"]`.
    `lrtrack.scheduler(opt, config)` takes all of that.

    Args:
        schedules: specs; ranges (`0.01..0.3 log`) and alternatives (`{0.1, 0.3}`) are open.
        seeds: each configuration runs with the seeds 0 … seeds - 1. Under `random` that takes
            `search_alg=tune.search.BasicVariantGenerator(constant_grid_search=True)`.
        params: further parameters: text as in specs, such as `{"lr": "{0.1, 0.3}"}`, or what Ray
            itself takes, such as `tune.loguniform(0.01, 1)`.
        method: `"grid"`: all alternatives; `"random"`: values out of ranges and alternatives.

    Raises:
        UsageError: a spec cannot be read, a grid is given a range, or there is no such method.
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
        raise UsageError(f"A grid cannot hold a range for {name}: list values as {{0.1, 0.3}}.")
    if isinstance(value.low, int) and isinstance(value.high, int):  # Ray leaves the end out
        return (tune.lograndint if value.log else tune.randint)(value.low, value.high + 1)
    return (tune.loguniform if value.log else tune.uniform)(value.low, value.high)


class Lines(tune.Callback):  # type: ignore[misc]  # Ray has no types here
    """A line of text for each trial that is over, for `sweep(callbacks=[…])`.

    Args:
        say: takes it.
        metric: what it tells of the trial's result.
    """

    def __init__(self, say: Callable[[str], None], metric: str) -> None:
        self._say = say
        self._metric = metric

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Tell the result."""
        value = trial.last_result.get(self._metric)
        told = f"{value:.6g}" if isinstance(value, float) else "not reported"
        self._tell(trials, trial, f"{self._metric} {told}")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """Tell the error."""
        path = Path(trial.error_file or os.devnull)  # of this machine, not of the storage
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = text.strip().splitlines() or ["without a word"]
        self._tell(trials, trial, f"failed: {lines[-1].strip()}")

    def _tell(self, trials: Any, trial: Any, told: str) -> None:
        over = 1 + sum(each.is_finished() for each in trials if each is not trial)
        named = f"{trial.config.get('schedule')}, seed {trial.config.get('seed')}"
        self._say(f"[{over}/{len(trials)}] {named}: {told}")


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
        train: takes a trial's config and trains with `track`, above.
        schedules, seeds, params, method: as for `search_space`.
        samples: configurations that `random` draws; each runs with all seeds.
        metric: what `scheduler` and `get_best_result()` look at.
        mode: whether it should be small or large; None: by its name.
        name: the sweep's, which is its runs' group and its folder; None: Ray's choice.
        storage_path: where that folder is; None: `~/ray_results`. For a cluster of several
            machines something that all reach, as Ray says.
        resources: of one trial, such as `{"cpu": 2, "gpu": 1}`.
        scheduler: one of `ray.tune.schedulers`, such as `ASHAScheduler(time_attr="step")`.
        resume: go on with the sweep of this name, or begin it: finished trials are not made again,
            others go on from their checkpoints, or begin anew, as runs of their own, where they
            have none that is older than two seconds.
        callbacks, verbose: as for `tune.RunConfig`; 0: Ray says nothing.
        **options: of `lrtrack.track()`, for all trials.

    Returns:
        Ray's `ResultGrid`.

    Raises:
        UsageError: as for `search_space`; or a sweep of this name is there, and `resume` is not
            said.
    """
    space = search_space(schedules, seeds=seeds, params=params, method=method)
    mode = mode or mode_of(metric)
    trainable = with_tracking(train, **options)
    if resources is not None:
        trainable = tune.with_resources(trainable, dict(resources))
    before = _going_on(name, storage_path, resume)
    _connect(verbose)
    if before is not None:
        tuner = tune.Tuner.restore(
            before, trainable=trainable, resume_unfinished=True, resume_errored=True
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
                trial_dirname_creator=str,  # else it is made of the spec
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
    """Connect to the cluster, or start one here, as Ray would; quietly if asked to."""
    quiet = {} if verbose else {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if not ray.is_initialized():
        ray.init(**quiet)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have these variables, unless the user has set them."""
    mine = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


def _folder(storage_path: str | os.PathLike[str] | None) -> str:
    text = os.fspath(storage_path or _STORAGE)
    return text if "://" in text else str((Path.cwd() / Path(text).expanduser()).absolute())


def _going_on(
    name: str | None, storage_path: str | os.PathLike[str] | None, resume: bool
) -> str | None:
    """Where the sweep is that is to be gone on with; None without one."""
    if name is None:
        if resume:
            raise UsageError("resume=True needs the sweep's name=…")
        return None
    path = f"{_folder(storage_path)}/{name}"
    if not tune.Tuner.can_restore(path):
        return None
    if not resume:
        raise UsageError(
            f"There is a sweep in {path} already: go on with it (resume), or give another name."
        )
    return path
