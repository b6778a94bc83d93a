"""Comparisons and lists of runs as CSV, one row each, with unrounded numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

from lrtrack.errors import clean
from lrtrack.fields import JSON, text_of
from lrtrack.reports.diagnosis_lines import codes
from lrtrack.reports.runs import RARE, RunRow
from lrtrack.stats import ComparisonResult, Reach, RunSummary, ScheduleSummary, Spread

#: Characters that start a formula in a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render(comparison: ComparisonResult) -> str:
    """One row per schedule, best first; cells without a value are empty.

    The warnings of the whole comparison are repeated in every row, so that they stay with a row
    that is copied or filtered.
    """
    warnings = " | ".join(f"{item.code}: {item.message}" for item in comparison.warnings)
    return _table(
        [
            {
                **_row(item, runs),
                "diagnoses": _codes(comparison, item),
                "warnings": warnings,
            }
            for item, runs in zip(comparison.schedules, comparison.by_schedule(), strict=True)
        ]
    )


def render_runs(rows: Sequence[RunRow]) -> str:
    """One row per run, with the codes of its diagnoses."""
    return _table(
        [
            {
                **{name: value for name, value in row.to_dict().items() if name not in RARE},
                "diagnoses": codes(row.diagnoses),
                **{name: getattr(row, name) for name in RARE},
            }
            for row in rows
        ]
    )


def _codes(comparison: ComparisonResult, item: ScheduleSummary) -> str:
    return codes(
        diagnosis for diagnosis in comparison.diagnoses if diagnosis["run_id"] in item.run_ids
    )


def _row(item: ScheduleSummary, runs: Sequence[RunSummary]) -> dict[str, JSON]:
    return {
        "rank": item.rank,
        "schedule": item.schedule,
        "id": item.id,
        "label": item.label,
        "source": item.source,
        "runs": item.runs,
        "diverged": item.diverged,
        "unfinished": item.unfinished,
        "steps": item.steps,
        **_spread("final", item.final),
        **_spread("best", item.best),
        **_reach("steps_to_target", item.steps_to_target),
        **_reach("seconds_to_target", item.seconds_to_target),
        **_on_axis(item),
        "lr_peak": item.lr_peak,
        "grad_norm_median": item.grad_norm.median,
        "grad_norm_p95": item.grad_norm.p95,
        "grad_norm_max": item.grad_norm.max,
        "steps_per_second": item.steps_per_second,
        "log_area": item.log_area,
        "spikes": sum(run.spikes for run in runs),
        "diverged_steps": [run.diverged_step for run in runs],
        "final_ci95_method": item.ci95_method,
        **_effect(item),
        "p_vs_best": item.p_vs_best,
        "could_be_best": item.could_be_best,
        "indistinguishable_from_best": item.indistinguishable_from_best,
        "seeds_to_tell": item.seeds_to_tell,
        "equivalent": item.equivalent,
        "optimistic": item.optimistic,
        **_tuning(item),
        "p_improvement": item.p_improvement,
        **_ends("p_improvement", item.p_improvement_ci95),
        **_across(item),
        "verdict": item.verdict,
        "params": dict(item.params),
        "run_ids": " ".join(item.run_ids),
        "seeds": list(item.seeds),
    }


def _reach(name: str, reach: Reach) -> dict[str, JSON]:
    return {
        f"{name}_reached": reach.reached,
        f"{name}_median": reach.median,
        f"{name}_resolution": reach.resolution,
    }


def _on_axis(item: ScheduleSummary) -> dict[str, JSON]:
    """When the target was reached on the x axis, if that is a metric or the epoch."""
    reach = item.x_to_target
    if reach is None:
        return {}
    scores = {}
    if item.across is not None:
        total = item.across.x_to_target
        scores = {"task_x_to_target_score": None if total is None else total.score}
    return {
        "x_to_target_metric": reach.metric,
        **_reach("x_to_target", reach),
        "x_to_target_runs": reach.runs,
        **scores,
    }


def _tuning(item: ScheduleSummary) -> dict[str, JSON]:
    tuning = item.tuning
    return {
        "tuned_field": None if tuning is None else tuning.field,
        "tuned_value": None if tuning is None else tuning.value,
        "tuned_tried": None if tuning is None else len(tuning.tried),
        "tuned_expected_best": None if tuning is None else list(tuning.expected_best),
    }


def _across(item: ScheduleSummary) -> dict[str, JSON]:
    """Aggregates over tasks, and a mapping of the score on each."""
    across = item.across
    steps = None if across is None else across.steps_to_target
    seconds = None if across is None else across.seconds_to_target
    return {
        "task_scores": {on.task: on.score for on in item.tasks} if item.tasks else None,
        "task_rank": None if across is None else across.rank,
        **_ends("task_rank", None if across is None else across.rank_ci95),
        "task_iqm": None if across is None else across.iqm,
        **_ends("task_iqm", None if across is None else across.iqm_ci95),
        "task_optimality_gap": None if across is None else across.optimality_gap,
        **_ends("task_optimality_gap", None if across is None else across.optimality_gap_ci95),
        "task_steps_to_target_score": None if steps is None else steps.score,
        "task_seconds_to_target_score": None if seconds is None else seconds.score,
    }


def _ends(name: str, ends: tuple[float, float] | None) -> dict[str, JSON]:
    low, high = ends or (None, None)
    return {f"{name}_ci95_low": low, f"{name}_ci95_high": high}


def _effect(item: ScheduleSummary) -> dict[str, JSON]:
    effect = item.vs_best
    return {
        "vs_best_difference": None if effect is None else effect.difference,
        **_ends("vs_best", None if effect is None else effect.ci95),
    }


def _spread(name: str, spread: Spread) -> dict[str, JSON]:
    return {
        f"{name}_mean": spread.mean,
        f"{name}_std": spread.std,
        f"{name}_median": spread.median,
        **_ends(name, spread.ci95),
        f"{name}_iqm": spread.iqm,
        f"{name}_min": spread.min,
        f"{name}_max": spread.max,
        f"{name}_values": list(spread.values),
    }


def _table(rows: Sequence[Mapping[str, JSON]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows[0] if rows else ())
    writer.writerows(map(_cells, rows))
    return file.getvalue()


def _cells(row: Mapping[str, JSON]) -> Iterable[str]:
    for value in row.values():
        if value is None:
            yield ""
        elif isinstance(value, str | list | tuple | Mapping):
            text = clean(text_of(value))
            # Only text: numbers may begin with a minus.
            yield f"'{text}" if text.startswith(_FORMULA) else text
        else:
            yield text_of(value)
