"""Keystone: operations, one file a noun; shapes in, shapes out, nothing else."""
