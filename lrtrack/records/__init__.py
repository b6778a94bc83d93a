"""The data that travels between the parts of lrtrack, without any behaviour of its own.

run.py        `Run` (what a `with` block is), `Target` (where it goes), `State`, `StepRecord`
rewind.py     `Rewind`: a return to an earlier step, which abandons the records after it
history.py    `History`: a run with its steps, read back from a tracker
series.py     histories made from numbers at hand
logged.py     runs that their programs logged without lrtrack, as histories
roles.py      which of their metrics is the learning rate, and which setting the seed
alignment.py  metrics that were logged at different steps, as columns
parsing.py    rebuilding these from journals and trackers, whose content is not trusted
"""

from lrtrack.records.history import Guesses, History, ServedPage, map_each, one_by_one, recorded
from lrtrack.records.parsing import DIAGNOSIS, count_from, diagnoses_from, suggestions_from
from lrtrack.records.rewind import (
    Rewind,
    abandoned,
    rewind_of,
    rewinds_from,
    rewinds_listed,
    with_rewind,
)
from lrtrack.records.run import (
    FIND,
    METHOD,
    STEP_METRICS,
    TRAIN,
    Run,
    State,
    StepRecord,
    Target,
    default_name,
    outcome_from,
)

__all__ = [
    "DIAGNOSIS",
    "FIND",
    "METHOD",
    "STEP_METRICS",
    "TRAIN",
    "Guesses",
    "History",
    "Rewind",
    "Run",
    "ServedPage",
    "State",
    "StepRecord",
    "Target",
    "abandoned",
    "count_from",
    "default_name",
    "diagnoses_from",
    "map_each",
    "one_by_one",
    "outcome_from",
    "recorded",
    "rewind_of",
    "rewinds_from",
    "rewinds_listed",
    "suggestions_from",
    "with_rewind",
]
