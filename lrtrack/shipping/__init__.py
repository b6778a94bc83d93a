"""Carrying journals to trackers: in order, exactly once, whatever dies on the way.

cursor.py    how far one run is delivered to one tracker
delivery.py  one run to one tracker, batch by batch
places.py    trackers that do not answer: asked by one run at a time
process.py   the shipper: all undelivered runs of a journal directory, with patience
start.py     making sure that somebody ships
waiting.py   waiting for delivery, with a progress bar
"""
