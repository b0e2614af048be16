"""Canary and blue-green delivery: move traffic to a new version, compare, and come back if it is worse.

``plan`` says what a rollout does, ``model`` how far it is and what was seen; ``judge``, ``canary`` and ``bluegreen``
decide and touch nothing; ``engine`` acts through ``ports``; ``local`` and ``envoy`` are the driver for one machine.
"""
