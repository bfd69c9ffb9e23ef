"""Choosing a host for a server: placement's candidates, then filters, then weighers."""
