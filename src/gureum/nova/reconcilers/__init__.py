"""Loops that keep Nova's databases, placement and Neutron in agreement."""
