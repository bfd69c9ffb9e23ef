"""Placement: tables and every SQL statement."""
