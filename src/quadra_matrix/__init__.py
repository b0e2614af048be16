"""Quadra Matrix: is the new thing worse than the old one, and can we get back if it is?

The rooms: ``api`` documents and validates, ``breaker`` guards a dependency, ``experiments`` compares variants,
``delivery`` moves traffic, ``chaos`` breaks things on purpose, ``tls`` and ``access`` decide who gets in,
``telemetry`` tells what happened, ``supply`` checks what we ship, ``storage`` keeps what must last, ``stats`` holds
the numbers they share, and ``service`` is the ready service that uses all of them. Importing this package loads none.
"""

__version__ = "0.1.0"
