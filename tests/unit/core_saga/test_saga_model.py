"""A saga that is declared wrongly is refused at import."""

import pytest
from saga_world import Hut, hut_saga

from gureum.core.saga import Saga, Step


def nothing(step):
    return None


@pytest.mark.parametrize("name", ["create", "Hut.create", "hut create", ""])
def test_saga_name_has_a_service_and_a_verb(name):
    with pytest.raises(ValueError, match="is named like"):
        Saga(name, Step("dig", do=nothing), params=Hut)


def test_step_names_differ():
    with pytest.raises(ValueError, match="different names"):
        Saga("hut.create", Step("dig", do=nothing), Step("x", do=nothing, aliases=("dig",)),
             params=Hut)
    with pytest.raises(ValueError, match="different names"):
        Saga("hut.create", params=Hut)
    with pytest.raises(ValueError, match="no name of a step"):
        Saga("hut.create", Step("@end", do=nothing), params=Hut)


def test_steps_are_found_by_name():
    saga = hut_saga()
    assert saga.index("wall") == 1
    with pytest.raises(KeyError):
        saga.index("cellar")
    assert repr(saga) == "Saga('hut.create', dig, wall, roof)"
