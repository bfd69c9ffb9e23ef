"""Keystone: the verbs."""
