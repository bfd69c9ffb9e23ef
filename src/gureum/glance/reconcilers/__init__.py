"""Loops that finish what a killed process left undone."""
