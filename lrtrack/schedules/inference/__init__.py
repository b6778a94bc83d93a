"""Finds the schedule behind recorded learning rates.

pieces.py    parts of a curve, and their stages in a spec
smooth.py    fits of lines and curves
levels.py    fits of drops and staircases
cycles.py    fits of cycles and restarts
polyline.py  straight lines through any curve
search.py    divides a curve into pieces
sparse.py    a warm-up of which few rates were logged
rough.py     a rise and a decay that fit nearly
texts.py     the text of a chain, and its distance from the curve
infer.py     `infer_schedule`
"""
