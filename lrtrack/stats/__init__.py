"""Numbers from histories: one run's figures, a schedule's spread over seeds, and differences.

scipy is loaded where it is called: it takes half a second, and a training needs but a mean.
"""

from lrtrack.stats.aggregates import PROFILE
from lrtrack.stats.compare import build_comparison, compare_histories
from lrtrack.stats.figures import (
    Effect,
    GradNorm,
    MetricReach,
    Notice,
    Procedure,
    Reach,
    Spread,
    TargetScore,
    Trial,
    Tuning,
    Verdict,
)
from lrtrack.stats.over_metric import NO_EPOCHS, over_metric
from lrtrack.stats.result import ComparisonResult, ScheduleSummary
from lrtrack.stats.rulers import STEP, TIME
from lrtrack.stats.samples import LEVEL
from lrtrack.stats.spikes import spikes
from lrtrack.stats.summary import Mode, RunSummary, mode_of, summarise
from lrtrack.stats.targets import SLOWEST, Target
from lrtrack.stats.tuning import untuned

__all__ = [
    "LEVEL",
    "NO_EPOCHS",
    "PROFILE",
    "SLOWEST",
    "STEP",
    "TIME",
    "ComparisonResult",
    "Effect",
    "GradNorm",
    "MetricReach",
    "Mode",
    "Notice",
    "Procedure",
    "Reach",
    "RunSummary",
    "ScheduleSummary",
    "Spread",
    "Target",
    "TargetScore",
    "Trial",
    "Tuning",
    "Verdict",
    "build_comparison",
    "compare_histories",
    "mode_of",
    "over_metric",
    "spikes",
    "summarise",
    "untuned",
]
