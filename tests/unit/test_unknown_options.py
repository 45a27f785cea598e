"""Options refuses an unknown name at run time, and mypy refuses unknown names and values of a wrong type.

mypy checks this file and reports each `type: ignore` that is not needed: it fails if it accepts an unknown name.
"""

from __future__ import annotations

import pytest

from pyinit.options import Options


def test_unknown_name_is_not_set() -> None:
    options = Options()
    with pytest.raises(AttributeError, match="^no option is called verbose$"):
        options.verbose = 2  # type: ignore[attr-defined]
    assert not hasattr(options, "verbose")


def test_unknown_name_is_not_read() -> None:
    with pytest.raises(AttributeError, match="verbose"):
        _ = Options().verbose  # type: ignore[attr-defined]


def test_unknown_name_is_no_argument() -> None:
    with pytest.raises(AttributeError, match="^no option is called verbose$"):
        Options(verbose=2)  # type: ignore[call-arg]


def test_values_have_types() -> None:
    """Options does not check the type of a value; a type checker does."""
    options = Options(verbosity="2")  # type: ignore[arg-type]
    options.grace = "10"  # type: ignore[assignment]
    assert vars(options) == {"verbosity": "2", "grace": "10"}
