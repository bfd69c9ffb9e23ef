"""Gureum: the whole OpenStack API as one Python program."""

__version__ = "0.1.0"
