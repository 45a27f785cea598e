"""`python3 -m pyinit`: block signals first, because each one that arrives earlier is lost; then do the rest."""

from .linux.signals import block_signals

ENTRY_MASK = None
try:
    ENTRY_MASK = block_signals()
except OSError:
    pass  # a sandbox refuses it: main() tries again, and says why it cannot go on

from .main import main  # noqa: E402  (the mask comes before any import that can wait)

main(ENTRY_MASK)
