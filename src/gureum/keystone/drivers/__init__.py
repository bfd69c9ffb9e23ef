"""Keystone: directories that users come from."""
