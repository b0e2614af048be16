"""Chaos experiments: break something on purpose, undo it whatever happens, and say what that did to the service.

``model`` is an experiment, ``engine`` runs it, ``faults`` are what it can break, ``undo`` is how each is taken back,
``lease`` and ``janitor`` see to it that it is, ``dose`` and ``recovery`` judge. Importing this package loads none: the
janitor has to be up in a blink.
"""
