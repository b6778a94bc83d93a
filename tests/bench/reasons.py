"""Why goals are missed, where that is known: written beside the row in RESULTS.md.

A reason is looked up whenever the table is written, so that one that is found after a run needs no
other run: write it here, then call `tox -e bench -- --tables`.
"""

from __future__ import annotations

_BATCHES = (
    "each batch is read from the journal, made into points and noted in the cursor, which the raw "
    "loop is not"
)
#: Row → why its median, or the end of its interval, misses the goal.
WHY = {
    "loop time / bare: lrtrack, steps of about 10 ms": "the shipper starts on the second core "
    "during these few seconds; in longer loops that counts for less",
    "the second block of the process, into a W&B directory that does not exist": "`wandb.init` "
    "alone takes 0.3 s in a process that has done it before",
    "the second block of the process, into an `mlflow server` on a new database": "a dozen "
    "requests follow one another, of about 10 ms each",
    **{
        f"shipper: points a second / raw `log_batch`, {store}": _BATCHES
        for store in (
            "SQLite",
            "`mlflow server` on SQLite",
            "PostgreSQL",
            "`mlflow server` on PostgreSQL",
        )
    },
}
