"""Make the tables of experiments."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables of experiments."""
    op.create_table(
        "experiment_conversions",
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
    )
    with op.batch_alter_table("experiment_conversions", schema=None) as batch_op:
        batch_op.create_index("ix_experiment_conversions_experiment_ts", ["experiment", "ts"], unique=False)

    op.create_table(
        "experiment_exposures",
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("covariate", sa.Double(), nullable=True),
    )
    with op.batch_alter_table("experiment_exposures", schema=None) as batch_op:
        batch_op.create_index("ix_experiment_exposures_experiment_ts", ["experiment", "ts"], unique=False)

    op.create_table(
        "experiment_versions",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("record", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_experiment_versions")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_experiment_versions_name")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop the tables of experiments."""
    op.drop_table("experiment_versions")
    op.drop_table("experiment_exposures")
    op.drop_table("experiment_conversions")
