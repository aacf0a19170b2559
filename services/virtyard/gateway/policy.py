"""The content security policy of what the gateway answers: everything from this origin, and styles by a nonce."""

from __future__ import annotations

from typing import Final

__all__ = ["policy"]

# `ws:` by name: not every browser takes 'self' for it.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src {style}; img-src 'self' data: blob:; font-src 'self';"
    " connect-src 'self' ws://{host}; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def policy(host: str, nonce: str = "") -> str:
    """Return the policy for an answer to this host and port; a page's own style elements carry its nonce."""
    return _POLICY.format(host=host, style=f"'self' 'nonce-{nonce}'" if nonce else "'self'")
