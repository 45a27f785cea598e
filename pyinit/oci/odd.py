"""The exception for a container that should get the init and cannot."""


class Odd(Exception):
    """A container starts without the init, and a person should know why. The text says what was expected."""
