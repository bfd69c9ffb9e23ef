"""Placement: what there is, what of it is used, and who could take what."""
