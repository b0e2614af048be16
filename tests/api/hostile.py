"""Bodies of a request that are made to hurt a server that reads JSON."""

from __future__ import annotations

import json

MEGABYTE = 1_048_000
HOSTILE = {
    "deep": b"[" * 100_000,
    "deeper": b'{"a":' * 150_000,
    "5000 digits": b'{"features": [], "count": ' + b"1" * 5000 + b"}",
    "a million digits": b'{"features": [], "count": ' + b"1" * MEGABYTE + b"}",
    "NaN": b'{"features": [NaN]}',
    "a quarter million NaN": b'{"features": [' + b"NaN," * (MEGABYTE // 4 - 9) + b"1]}",
    "1e999": b'{"features": [1e999]}',
    "surrogate": b'{"features": [], "label": "\\ud800"}',
    "NUL": b'{"features": [], "label": "\\u0000"}',
    "very many errors": b'{"features": [' + b'"",' * (MEGABYTE // 3 - 9) + b"1]}",
    "very many unknown keys": json.dumps({str(n): 1 for n in range(80_000)}).encode(),
    "very many repeated keys": b'{"features": [],' + b'"a":1,' * (MEGABYTE // 6 - 9) + b'"a":1}',
    "very many empty lists": b"[" + b"[]," * (MEGABYTE // 3 - 9) + b"1]",
}
