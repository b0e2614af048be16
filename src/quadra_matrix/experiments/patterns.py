"""Regular expressions with a bounded cost: whatever the text, a search ends soon. Pure.

Python's engine backtracks, and a careless pattern can take hours on a short text. A pattern is admitted when an upper
bound of the ways to match it stays small; what cannot be bounded simply (look-around, back-references, repeated groups)
is refused.
"""

from __future__ import annotations

import re

from quadra_matrix.errors import InvalidValue, require

LONGEST_PATTERN = 256
LONGEST_TEXT = 256
"""Characters; a longer text does not match."""

MOST_WAYS = LONGEST_TEXT**2
"""Upper bound of the ways to match from one start: two unlimited repeats, or sixteen optional parts."""

_TOKEN = re.compile(
    r"""(?P<reference>\\[1-9]|\(\?P=)
      | (?P<escape>\\.)
      | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
      | (?P<plain_group>\(\?:|\(\?P<\w+>|\((?!\?))
      | (?P<odd_group>\(\?)
      | (?P<close>\))
      | (?P<repeat>[*+?]|\{\d*,?\d*\})
      | (?P<or>\|)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def compile_pattern(pattern: str, path: str) -> re.Pattern[str]:
    """Return the compiled pattern; raise ``InvalidValue`` when it is malformed or its cost cannot be bounded."""
    require(len(pattern) <= LONGEST_PATTERN, path, pattern, f"at most {LONGEST_PATTERN} characters")
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError) as malformed:
        raise InvalidValue(path, pattern, f"a regular expression ({malformed})") from malformed
    require(_ways(pattern, path) <= MOST_WAYS, path, pattern, "simpler: it can match in too many ways")
    return compiled


def _ways(pattern: str, path: str) -> int:
    """Return an upper bound of the ways in which the pattern can match from one start."""
    ways, before = 1, ""
    for token in _TOKEN.finditer(pattern):
        sort, text = str(token.lastgroup), token[0]
        if sort in {"reference", "odd_group"}:
            raise InvalidValue(path, pattern, "free of look-around, flags and back-references")
        if sort == "repeat" and text != "{}":
            span = _span(text)
            # `?` or `+` behind a repeat only makes it lazy or possessive; behind a group it repeats all inside.
            if before == "repeat" and text in "?+":
                span = 1
            elif before == "close" and text != "?":
                raise InvalidValue(path, pattern, "free of repeated groups")
            ways *= span
        elif sort == "or":
            ways *= 2
        before = sort
    return ways


def _span(repeat: str) -> int:
    """Return how many different lengths a repeat allows."""
    if repeat == "?":
        return 2
    if repeat in "*+":
        return LONGEST_TEXT
    low, comma, high = repeat[1:-1].partition(",")
    if not comma:
        return 1
    return int(high or LONGEST_TEXT) - int(low or 0) + 1
