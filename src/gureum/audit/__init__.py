"""Compares what databases say with what nodes, stores and other services hold."""
