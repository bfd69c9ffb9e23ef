"""Placement: the verbs."""
