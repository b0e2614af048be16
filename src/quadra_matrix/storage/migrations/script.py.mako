"""${message[0].upper()}${message[1:]}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """${message[0].upper()}${message[1:]}."""
    ${"\n".join(line for line in upgrades.splitlines() if "###" not in line).strip() or "raise NotImplementedError"}


def downgrade() -> None:
    """Take back: ${message}."""
    ${"\n".join(line for line in downgrades.splitlines() if "###" not in line).strip() or "raise NotImplementedError"}
