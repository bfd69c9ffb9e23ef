"""Placement: operations, one file a noun."""
