"""Numbers as people write them, for every message, table and axis.

Nobody reads more than a few digits: values have significant digits, counts have separators between
thousands, and what is larger has a unit or a power of ten.
"""

from __future__ import annotations

import math
import re

#: The text of a missing value.
NONE = "–"
#: From this size on, amounts are written in millions or with a power of ten.
LARGE = 1e6
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
#: From this many bytes on, a size has a unit.
_MANY_BYTES = 100_000
#: A decimal that is computed rather than chosen, such as `0.30000000000000004`.
_LONG_DECIMAL = re.compile(r"(?<![\w.])-?\d+\.\d{7,}(?:e[+-]?\d+)?(?![\w.])")


def number(value: float | None, digits: int = 4, *, trim: bool = False) -> str:
    """`value` with `digits` significant digits; `trim` removes trailing zeros.

    It can be pasted into code: the very large and small have an exponent, as `1.57e+06`.
    """
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0.0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if power < -4 or power >= 6:
        text = f"{value:.{digits - 1}e}"
        return re.sub(r"\.?0+e", "e", text) if trim else text
    text = f"{value:.{max(0, digits - 1 - power)}f}"
    return trimmed(text) if trim else text


def amount(value: float | None, digits: int = 3) -> str:
    """How much of something there is, to read at a glance: `820`, `12,300`, `2.1 M`, `3.2×10⁹`.

    Args:
        digits: the most significant digits; whole numbers below a million have all of theirs.
    """
    if value is None or not math.isfinite(value):
        return NONE
    size = abs(value)
    if size < 1000 and value != round(value):
        return number(value, digits, trim=True)
    if round(size) < LARGE:
        return f"{value:,.0f}"
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    exponent = int(power)
    if exponent < 9:
        millions = float(mantissa) * 10 ** (exponent - 6)
        return f"{trimmed(f'{millions:.{max(0, digits + 5 - exponent)}f}')} M"
    return _power(mantissa, exponent)


def times(ratio: float) -> str:
    """A ratio: `0.5 times`, `1.5 times`, `540 times`, `54,000 times`, `5×10⁹ times`."""
    if not math.isfinite(ratio):
        return "over 10³⁰⁰ times"
    if ratio < 10.0:
        return f"{number(ratio, 2, trim=True)} times"
    if ratio < 999.5:
        return f"{ratio:.0f} times"
    mantissa, _, power = f"{ratio:.1e}".partition("e")
    if int(power) < 6:
        return f"{float(mantissa) * 10 ** int(power):,.0f} times"
    mantissa, _, power = f"{ratio:.0e}".partition("e")
    return f"{_power(mantissa, int(power))} times"


def count(number_of: int, noun: str) -> str:
    """`1 run`, `2 runs`, `12,000 runs`."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def file_size(number_of: int) -> str:
    """The size of a file or a part of it: `1 byte`, `12,345 bytes`, `1.2 MB`, `34 GB`."""
    if number_of < _MANY_BYTES:
        return count(number_of, "byte")
    value = float(number_of)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000.0
        if value < 999.5:
            return f"{number(value, 3, trim=True)} {unit}"
    return f"{amount(value)} TB"


def readable(text: str) -> str:
    """`text` with its long decimals rounded to six significant digits.

    Labels and settings are written with all digits of their numbers, which are many where a program
    computed them.
    """
    return _LONG_DECIMAL.sub(lambda match: f"{float(match[0]):.6g}", text)


def power_of_ten(exponent: int) -> str:
    """`10⁶`, `10⁻⁵`."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def _power(mantissa: str, exponent: int) -> str:
    return f"{trimmed(mantissa)}×{power_of_ten(exponent)}"


def trimmed(decimals: str) -> str:
    """A number's text without the zeros that end its decimals."""
    return decimals.rstrip("0").rstrip(".") if "." in decimals else decimals
