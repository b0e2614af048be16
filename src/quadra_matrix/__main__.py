"""``python -m quadra_matrix`` is the command ``quadra``."""

from quadra_matrix.cli import main

if __name__ == "__main__":
    main()
