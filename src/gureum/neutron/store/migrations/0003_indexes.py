"""External networks, and the projects that a group is the default of, are found without a scan."""

from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.create_index(
        "networks_external", "networks", ["router_external", "is_default"], unique=False
    )
    op.create_index(
        "default_security_groups_group",
        "default_security_groups",
        ["security_group_id"],
        unique=False,
    )
