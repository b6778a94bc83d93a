"""Why goals are missed, where that is known: written beside the row in RESULTS.md.

A reason is looked up whenever the table is written, so that one that is found after a run needs no
other run: write it here, then call `tox -e bench -- --tables`.
"""

from __future__ import annotations

_BATCHES = (
    "each batch is read from the journal, made into points and noted in the cursor, which the raw "
    "loop is not"
)
_STARTS = (
    "the shipper starts on the second core during these few seconds; in longer loops that counts "
    "for less"
)
_SCIPY = (
    "a quarter of it imports scipy's special functions, for the intervals and Tukey's test, and "
    "with them parts of numpy that nothing uses, such as f2py"
)
#: Row → why its median, or the end of its interval, misses the goal.
WHY = {
    "loop time / bare: lrtrack, steps of about 10 ms": _STARTS,
    "loop time / bare: lrtrack, steps of about 100 ms": _STARTS,
    "p99.9 of a step's extra time": "these loops last as long as the shipper takes to start on the "
    "second core, so it disturbs the slowest two of 2,500 steps; in loops of 10,000 steps, on 25 "
    "November, it was 0.41 ms",
    "cost on the training thread without norm": "the machine is slower than the one on which the "
    "goal was set: the release of 26 November, measured in turn with this one, takes 12.6 µs here, "
    "and took 8.9 µs there",
    "`lrtrack compare` of the demo, from SQLite, again / importing MLflow's client": _SCIPY,
    "`lrtrack compare` of the demo, from a server, again / importing MLflow's client": _SCIPY,
    "the second block of the process, into a W&B directory that does not exist": "W&B's own "
    "`init` and `finish` are most of it, as the other way shows",
    "`lrtrack compare`, 1000 runs × 100000 steps × 3 metrics: memory": "runs are read while the "
    "statistics of others are computed; where a busy machine keeps reading from running ahead, it "
    "was 0.27 GB",
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
