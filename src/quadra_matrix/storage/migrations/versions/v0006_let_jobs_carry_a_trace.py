"""Let jobs carry a trace."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Let jobs carry a trace."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("carried", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Forget the traces that jobs carry."""
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("carried")
