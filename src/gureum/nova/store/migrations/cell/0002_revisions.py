"""Schedulers ask what changed on hosts, and how many servers are being built there."""

import sqlalchemy as sa
from alembic.operations import Operations


def upgrade(op: Operations) -> None:
    op.create_table(
        "revisions",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.add_column(
        "compute_nodes", sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False)
    )
    op.create_index(op.f("ix_compute_nodes_revision"), "compute_nodes", ["revision"], unique=False)
    op.create_index("ix_servers_state", "servers", ["vm_state", "deleted", "host"], unique=False)
