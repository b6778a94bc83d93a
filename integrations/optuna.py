"""Optuna: schedules as suggestions, trials as runs, and pruning on the tracked loss.

    def objective(trial):
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        spec = suggest_schedule(trial, ["onecycle(max_lr=0.01..0.3 log)", "cosine"])
        sched = lrtrack.scheduler(opt, spec, total_steps=1000)
        with track(trial, opt, sched) as run:
            for step in range(1000):
                ...
                prune(trial, run, every=50)
        return run.loss()

For a study on several machines, run this on each: Optuna's storage distributes the trials, and all
runs are in one group with the study's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import lrtrack
from lrtrack._optional import load
from lrtrack.errors import UsageError
from lrtrack.schedules.catalogue import stages_of
from lrtrack.schedules.spec import Choice, Range, write_value
from lrtrack.sweeps import fill_in, open_parameters
from lrtrack.tracking import TrackedRun
from lrtrack.tracking.placement import as_child

optuna: Any = load("optuna", extra="optuna", at_least="4.0")

#: The user attribute of a trial that holds the id of its run.
RUN_ID = "lrtrack_run_id"

#: The attribute of a trial object that holds the names of its schedules' parameters: not all
#: kinds of trials are hashable.
_OF_SCHEDULES = "_lrtrack_of_schedules"


def suggest_schedule(trial: Any, schedules: Sequence[str] | str, name: str = "schedule") -> str:
    """Suggest one of several schedules, with values for its open parameters.

    The study has the parameter `schedule` (the spec) and parameters such as `onecycle.max_lr`, of
    which only those of the chosen schedule are suggested. If several specs have open parameters
    for the same kind of schedule, four hex digits of the spec's hash follow the name.

    Args:
        trial: the Optuna trial.
        schedules: specs, possibly with ranges (`0.01..0.3 log`, of integers if both ends are) and
            alternatives (`{0.1, 0.3}`). Keep the list the same for a whole study.
        name: the name of the parameter `schedule`. Any other name is also put before the names of
            the schedule's parameters, so that a trial can have several schedules.

    Returns:
        A spec without open parameters, for `lrtrack.scheduler(opt, spec, total_steps=…)`.

    Raises:
        UsageError: a spec cannot be parsed, or the list is empty.
    """
    texts = [schedules] if isinstance(schedules, str) else list(schedules)
    if not texts:
        raise UsageError("suggest_schedule() needs at least one spec.")
    specs = [(text, stages_of(text)) for text in dict.fromkeys(texts)]
    schedule_params = vars(trial).setdefault(_OF_SCHEDULES, set())
    schedule_params.add(name)
    text = trial.suggest_categorical(name, [text for text, _ in specs])
    param_prefix = "" if name == "schedule" else f"{name}."
    chosen: dict[tuple[int, str], Any] = {}
    for parameter in open_parameters(specs):
        if parameter.text == text:
            param_name = f"{param_prefix}{parameter.group}.{parameter.name}"
            schedule_params.add(param_name)
            value = _suggest_value(trial, param_name, parameter.value)
            chosen[parameter.stage.at, parameter.name] = value
    return fill_in(dict(specs)[text], chosen)


def _suggest_value(trial: Any, name: str, value: Range | Choice) -> Any:
    if isinstance(value, Choice):
        # Optuna's storages hold plain values only, so lists are stored as text.
        values = {_plain(choice): choice for choice in value.values}
        return values[trial.suggest_categorical(name, list(values))]
    if isinstance(value.low, int) and isinstance(value.high, int):
        return trial.suggest_int(name, value.low, value.high, log=value.log)
    return trial.suggest_float(name, value.low, value.high, log=value.log)


def _plain(value: Any) -> Any:
    return write_value(value) if isinstance(value, list) else value


@contextmanager
def track(
    trial: Any, optimizer: Any, scheduler: Any = None, **options: Any
) -> Iterator[TrackedRun]:
    """`lrtrack.track()` for a trial: the run has the trial's number, parameters and study.

    By default the run's name is `trial-<number>`, its group the study's name, its seed the trial's
    parameter `seed`, if any, and its config the other parameters, except those suggested by
    `suggest_schedule`, which the schedule itself contains. At the end the trial has the user
    attribute `lrtrack_run_id`. The run of a pruned trial is FAILED; reports show it as unfinished.

    Args:
        trial: the Optuna trial.
        optimizer, scheduler: as for `lrtrack.track()`.
        **options: as for `lrtrack.track()`.

    Raises:
        TypeError, UsageError: as `lrtrack.track()`.
    """
    study = getattr(trial, "study", None)
    params = {k: v for k, v in trial.params.items() if k not in vars(trial).get(_OF_SCHEDULES, ())}
    seed = params.pop("seed", None)
    defaults = {
        "name": f"trial-{trial.number}",
        "group": None if study is None else study.study_name,
        "seed": seed if isinstance(seed, int) else None,
        "config": params,
    }
    run: TrackedRun | None = None
    try:
        block = lrtrack.track(optimizer, scheduler, **{**defaults, **options})
        with ExitStack() as stack:
            with as_child():
                run = stack.enter_context(block)
            yield run
    finally:
        if run is not None:
            trial.set_user_attr(RUN_ID, run.id)


def prune(trial: Any, run: TrackedRun, *, every: int) -> None:
    """Report the recorded loss to Optuna at each `every`-th step, and prune hopeless trials.

    Call it after each optimizer step. It reports the mean loss of the last `every` steps under the
    number of the step just done. At other steps it reads nothing, so it does not wait for a GPU. A
    loss that is not finite is reported as it is: Optuna's pruners prune it.

    Args:
        trial: the Optuna trial, of a study that minimizes one value.
        run: the run that `track()` returned.
        every: steps between two reports.

    Raises:
        optuna.TrialPruned: Optuna's pruner stops the trial.
        UsageError: at the first step, if the study maximizes, so that a falling loss would count
            as bad, or if it has several objectives, which Optuna cannot prune by.
    """
    if every < 1:
        raise UsageError(f"every is a number of steps, at least 1; got {every}.")
    is_due = run.step >= 0 and (run.step + 1) % every == 0
    if not is_due and run.step != 0:  # a storage may be far away, so it is not asked at each step
        return
    study = getattr(trial, "study", None)
    if study is not None and len(study.directions) > 1:
        raise UsageError(
            f"prune() reports one loss, but this study has {len(study.directions)} objectives, and "
            "Optuna prunes in studies of one only. Fix: leave out prune(), or minimize the loss "
            "alone."
        )
    if study is not None and study.direction is optuna.study.StudyDirection.MAXIMIZE:
        raise UsageError(
            "prune() reports the loss, but this study maximizes. Fix: call trial.report() and "
            "trial.should_prune() with the metric that it maximizes."
        )
    loss = run.loss(last=every) if is_due else None
    if loss is None:
        return
    trial.report(loss, run.step)
    if trial.should_prune():
        raise optuna.TrialPruned(f"pruned after step {run.step} with a loss of {loss:.6g}")
