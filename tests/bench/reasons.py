"""Why goals are missed, where that is known: written beside the row in RESULTS.md.

A reason is looked up whenever the table is written, so that one that is found after a run needs no
other run: write it here, then call `tox -e bench -- --tables`.
"""

from __future__ import annotations

#: Row → why its median, or the end of its interval, misses the goal.
WHY = {
    "loop time / bare: lrtrack, steps of about 10 ms": "the shipper starts on the second core "
    "during these few seconds; in longer loops that counts for less",
}
