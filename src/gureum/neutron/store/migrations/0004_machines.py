"""A host name belongs to the machine whose agent reported under it first."""

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.add_column(
        "agents", sa.Column("machine_id", sa.String(64), server_default="", nullable=False)
    )
