"""What is shown of a server is all in its cell: the security groups of its ports too."""

import sqlalchemy as sa
from alembic.operations import Operations

from gureum.core.db.types import JsonText


def upgrade(op: Operations) -> None:
    op.add_column("server_nics", sa.Column("security_groups", JsonText(), nullable=True))
