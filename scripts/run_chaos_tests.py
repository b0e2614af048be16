#!/usr/bin/env python3
"""``--suite standard`` or ``--test latency|resource``, with the options of ``quadra chaos``; see its --help."""

import os
import sys

words = sys.argv[1:] or ["--help"]
for flag, before in (("--suite", ["suite"]), ("--test", [])):
    if flag in words:
        at = words.index(flag)
        words = [*before, *words[at + 1 : at + 2], *words[:at], *words[at + 2 :]]
os.execv(sys.executable, [sys.executable, "-m", "quadra_matrix", "chaos", *words])  # noqa: S606
