"""Follows trainings while they go on, for `lrtrack watch`.

series.py     a metric over the steps, in bounded memory
followed.py   one run, from the entries of its growing journal
journals.py   the runs of a journal directory
trackers.py   the runs of trackers, which are asked again and again
"""
