from __future__ import annotations

import pytest

from genpipe.words import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (2000, "2,000 cells")]
)
def test_one_is_singular_and_all_else_plural(number: int, told: str) -> None:
    assert counted(number, "cell") == told
