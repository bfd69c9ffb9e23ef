"""An unknown driver's name stops the start and says what to write instead."""

import pytest

from gureum.core.config import ConfigError, loads
from gureum.neutron.config import Ml2Options
from gureum.neutron.ml2.manager import Ml2


@pytest.mark.parametrize(
    ("key", "bad", "instead"),
    [
        ("mechanism_drivers", "opnvswitch", "openvswitch"),
        ("type_drivers", "vxlam", "vxlan"),
        ("tenant_network_types", "vxlam", "vxlan"),
    ],
)
def test_unknown_driver_names_key_value_and_fix(key: str, bad: str, instead: str):
    with pytest.raises(ConfigError) as caught:
        loads(f'[neutron.ml2]\n{key} = ["{bad}"]\n', (Ml2Options,))
    text = str(caught.value)
    assert key in text and bad in text and f"did you mean {instead}?" in text, text


def test_type_for_projects_that_no_driver_knows_is_refused():
    with pytest.raises(ConfigError, match=r"tenant_network_types.*'gre'.*vxlan"):
        Ml2(Ml2Options(type_drivers=("vxlan",), tenant_network_types=("gre",)), 1500)
