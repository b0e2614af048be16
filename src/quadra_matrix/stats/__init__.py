"""Numbers that experiments, delivery and chaos decide by: values in, frozen named values out.

Nothing here reads a clock, draws a random number or needs more than the standard library. A result that cannot be
computed is None and ``reason`` says why; NaN and infinity never leave.

``arms`` says what is known of an arm. ``fixed``, ``exact``, ``adjust`` and ``multiple`` judge one planned look;
``sequential`` and ``risk`` stay true at any number of looks; ``ratio`` checks the split; ``power`` and ``foresight``
plan; ``exceedance`` turns latency into counts.
"""
