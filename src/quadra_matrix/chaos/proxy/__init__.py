"""A proxy that disturbs what passes it: a process of its own, in front of any TCP or HTTP address.

``disturbance`` decides what happens to each request, ``http1`` finds where requests begin, ``relay`` passes bytes on,
``__main__`` is the process with its control socket, ``launch`` starts it.
"""
