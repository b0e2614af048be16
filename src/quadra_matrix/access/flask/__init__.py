"""Access on Flask: who may call, sign-in, origins and limits, one ``setup_*`` call each."""

from quadra_matrix.access.flask.guard import Access, access_of, requires, setup_access

__all__ = ["Access", "access_of", "requires", "setup_access"]
