"""PID 1 for containers, in Python, standard library only."""

__version__ = "0.1.0"
