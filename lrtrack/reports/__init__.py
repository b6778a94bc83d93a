"""Reports of comparisons and runs: `report` decides the text and columns, the formats render
them.
"""
