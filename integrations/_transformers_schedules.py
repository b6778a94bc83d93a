"""Names of transformers' schedules, which are all `LambdaLR` with a function of the library."""

from __future__ import annotations

from typing import Any

from lrtrack.capture.describe import call

#: Function → the `lr_scheduler_type` that it belongs to, and the one with a lowest rate.
_TYPES = {
    "_get_constant_lambda": ("constant",),
    "_get_constant_schedule_with_warmup_lr_lambda": ("constant_with_warmup",),
    "_get_linear_schedule_with_warmup_lr_lambda": ("linear",),
    "_get_cosine_schedule_with_warmup_lr_lambda": ("cosine", "cosine_with_min_lr"),
    "_get_cosine_with_hard_restarts_schedule_with_warmup_lr_lambda": ("cosine_with_restarts",),
    "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda": ("cosine_warmup_with_min_lr",),
    "_get_polynomial_decay_schedule_with_warmup_lr_lambda": ("polynomial",),
    "_get_inverse_sqrt_schedule_lr_lambda": ("inverse_sqrt",),
    "_get_wsd_scheduler_lambda": ("warmup_stable_decay",),
}


def name_schedule(scheduler: Any, chosen: str | None = None) -> None:
    """Give a schedule of the library, from `get_scheduler` or a function, its name there.

    Args:
        scheduler: any scheduler, perhaps in accelerate's wrapper; others keep their class's name.
        chosen: the name by which the user chose it, for schedules that are not known here.
    """
    inner = getattr(scheduler, "scheduler", scheduler)
    function = next(iter(getattr(inner, "lr_lambdas", ())), None)
    settings = getattr(function, "keywords", {})
    function = getattr(function, "func", function)
    if getattr(function, "__module__", None) == "transformers.optimization":
        names = _TYPES.get(getattr(function, "__name__", ""))
        last = -1 if settings.get("min_lr_rate") else 0
        call(inner, "LambdaLR", names[last] if names else chosen)
