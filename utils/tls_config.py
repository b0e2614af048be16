"""The promised name of feature 2: ``from utils.tls_config import setup_tls``."""

from quadra_matrix.tls.flask import TLSConfig, csp_nonce, setup_tls
from quadra_matrix.tls.headers import HeaderOptions

__all__ = ["HeaderOptions", "TLSConfig", "csp_nonce", "setup_tls"]
