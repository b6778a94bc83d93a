"""Delivers journals to trackers: in order and exactly once, whatever is killed on the way.

How the parts meet: the training process puts a run into the *queue* (a marker file) and its
`Courier` keeps a *shipper* process running. The shipper takes runs from the queue (`RunQueue`) and
makes one *delivery* for each run and tracker. A delivery reads the journal from its *cursor*, gives
the tracker's sink a batch, and moves the cursor only after success. When a server does not answer,
its *circuit breaker* lets one run at a time try, with growing pauses. A run whose deliveries are
all complete leaves the queue. `lrtrack sync` does the same from the user's own process.

courier.py             the training process's side: keeps a shipper running for one run
spawn.py               starts shipper processes
process.py             the shipper: serves the runs of a journal directory
run_queue.py           the runs that a shipper is working on
queue_directory.py     the queue on disk: newest runs first
scheduled_delivery.py  a delivery between its attempts: pauses, failures
delivery.py            one run to one tracker, batch by batch
batch.py               the records that a tracker gets next
cursor.py              how far a run is delivered to one tracker
delivered_segments.py  packs what all trackers have of a long journal
circuit_breaker.py     servers that do not answer
run_end.py             ends a delivered run in its tracker
run_records.py         what a run has recorded, in memory or in parts
step_numbering.py      the steps of blocks that share a run
sync.py                delivery from the user's own process
undelivered.py         which runs are not delivered, and why
unreadable.py          queued runs without a readable journal
missing_parts.py       runs that were delivered without a part
corruption.py          which journals are damaged
foreign.py             journals that this user did not write
credentials.py         which credentials belong to a run, as salted hashes
authorization.py       whether this process's credentials may be used for a run
lock.py                locks between processes
temporary.py           temporary files of deliveries
progress.py            waits for a delivery, with a progress bar
"""
