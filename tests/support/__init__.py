"""Code that the tests share, with one module for each subject."""

import pkgutil

import pytest

# Without this, a failed assertion in one of these modules would not show the values that it compared.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))
