"""Carrying journals to trackers: in order, exactly once, whatever dies on the way.

cursor.py         how far one run is delivered to one tracker
delivery.py       one run to one tracker, batch by batch
temporary.py      where deliveries keep temporary files
places.py         trackers that do not answer: asked by one run at a time
lock.py           locks between processes: of a shipper, of one delivery, of `lrtrack sync`
credentials.py    which credentials belong to a run, as salted hashes
authorization.py  whether this process's credentials may be used for a run
backlog.py        the queue: the newest runs first, a little at each look
job.py            one run to one tracker, between its attempts
hand.py           what a shipper has at hand of the queue
process.py        the shipper: the runs of a journal directory with its credentials, with patience
start.py          making sure that somebody ships
sync.py           delivering from a process of the user's own, with its credentials
pending.py        what is undelivered, and why
waiting.py        waiting for delivery, with a progress bar
"""
