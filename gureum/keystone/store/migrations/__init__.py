"""Keystone: numbered migrations."""
