"""Keystone: identity."""
