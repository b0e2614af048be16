"""Tests that may be read at every look. Each takes its last frozen state and what is new, and returns the next state.

``groups``: a planned size is known; nearly the power of a single look. ``randomisation``: no plan, yes-or-no outcomes;
exact. ``converters``: the interval of the relative rate; exact. ``confidence``: means, ratios and adjusted means;
asymptotic.
"""
