"""`python3 -m pyinit`: block signals first, for each one that comes earlier is lost; then everything else."""

from .linux.signals import block_signals

ENTRY_MASK = block_signals()

from .main import main  # noqa: E402  (the mask comes before any import that can wait)

main(ENTRY_MASK)
