"""Carrying journals to trackers: in order, exactly once, whatever dies on the way.

cursor.py    how far one run is delivered to one tracker
delivery.py  one run to one tracker, batch by batch
places.py    trackers that do not answer: asked by one run at a time
lock.py      who serves a journal directory
backlog.py   the queue: the newest runs first, a little at each look
job.py       one run to one tracker, between its attempts
hand.py      what a shipper has at hand of the queue
process.py   the shipper: all undelivered runs of a journal directory, with patience
start.py     making sure that somebody ships
waiting.py   waiting for delivery, with a progress bar
"""
