"""Comparisons in words and tables: `report` decides what is said, the others only render."""
