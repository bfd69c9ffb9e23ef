"""Every change of a provider takes the next revision, so that readers can ask what changed."""

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.add_column(
        "resource_providers",
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
    )
    op.create_index(
        op.f("ix_resource_providers_revision"), "resource_providers", ["revision"], unique=False
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
