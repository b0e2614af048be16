"""Delivery on a cluster: plain Deployments and Services, no custom resource of ours.

``names`` says what the driver looks for, ``cluster`` speaks to the API server, ``slots`` reads the two Deployments that
take turns, ``pods`` counts (pure). ``replicas``, ``gateway`` and ``colours`` are the three ways to send traffic.
"""
