"""TLS: certificates, the context that a server uses, and the headers of every answer.

``files`` and ``pairs`` keep keys private and replace them whole, ``authority`` signs, ``certs`` makes the pair of a
development server, ``inspection`` reads and checks what is there. ``context`` holds the options of TLS, ``serving``
swaps a renewed certificate in, ``handshake`` keeps the handshake out of the accept loop. ``clients`` says who a client
with a certificate is, ``revocation`` takes certificates back. ``headers`` says what browsers are told, ``flask`` puts
it on every answer. ``front`` does the TLS for a server behind it: ``heads`` says which requests it passes on,
``passing`` what it tells about them.

``renewal`` decides when a certificate is renewed, ``acme`` speaks with the authority, ``renewer`` keeps a pair good,
``challenges`` answers the authority, ``records`` is what hosts share in a ``shelf`` (files) or a database, ``sealed``.
"""
