"""The history of the tables, shipped with the package, and how a database is brought up to date.

A revision only adds: what the previous release reads stays until a later one removes it. So a release can be rolled
back over a database that is already upgraded. A downgrade exists for what cannot: it drops what came later.
"""

from quadra_matrix.storage.migrations.runner import Upgrade, current, downgrade, drift, head, knows, upgrade

__all__ = ["Upgrade", "current", "downgrade", "drift", "head", "knows", "upgrade"]
