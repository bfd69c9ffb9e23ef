"""Keystone: tables and every SQL statement."""
