"""Identifiers that sort by the time they were made, as UUIDv7 does."""

from __future__ import annotations

import secrets


def new_id(now: float) -> str:
    """Return 32 hexadecimal digits: a version 7 UUID without dashes, made at ``now`` (seconds since the epoch).

    Ids of different milliseconds sort by time; within one millisecond their order is chance.
    """
    milliseconds = int(now * 1000) & ((1 << 48) - 1)
    chance = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64 | 0b10 << 62 | chance & ((1 << 62) - 1)
    return f"{value:032x}"
