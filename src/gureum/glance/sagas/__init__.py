"""Glance's verbs of several steps."""

from gureum.glance.sagas.image_import import IMPORT
from gureum.glance.sagas.location_add import ADD_LOCATION

ALL = (IMPORT, ADD_LOCATION)

__all__ = ["ADD_LOCATION", "ALL", "IMPORT"]
