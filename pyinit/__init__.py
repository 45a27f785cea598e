"""PID 1 for containers, in Python, standard library only."""

__version__ = "0.1.0"

# The descriptor from which a launcher's modules are read, set by the bundle; -1 without a launcher.
bundle_file = -1
