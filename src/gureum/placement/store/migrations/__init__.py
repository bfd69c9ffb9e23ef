"""Placement: numbered migrations."""
