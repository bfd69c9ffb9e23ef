"""Nova's verbs of several steps, one a file."""

from gureum.nova.sagas.interface_attach import ATTACH
from gureum.nova.sagas.interface_detach import DETACH
from gureum.nova.sagas.server_create import CREATE
from gureum.nova.sagas.server_delete import DELETE
from gureum.nova.sagas.server_power import POWER

ALL = (CREATE, DELETE, POWER, ATTACH, DETACH)
"""Every saga; engines of both cells run them."""

BY_NAME = {saga.name: saga for saga in ALL}

__all__ = ["ALL", "ATTACH", "BY_NAME", "CREATE", "DELETE", "DETACH", "POWER"]
