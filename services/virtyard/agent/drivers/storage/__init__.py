"""Storage drivers: repositories and disk files."""
