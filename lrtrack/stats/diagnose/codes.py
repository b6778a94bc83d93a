"""The codes of all diagnoses."""

#: In the order of `docs/diagnoses.md`. A code is never used again for something else.
CODES = (
    *(f"LR{number:03}" for number in range(1, 29)),
    "LR030",
    "LR031",
)
