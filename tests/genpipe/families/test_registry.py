"""What may be brought as a family; tests/e2e/test_brought_family.py installs one that may."""

from __future__ import annotations

from typing import Any

import pytest

from genpipe.families import registry


class Entry:
    """An entry point as importlib.metadata hands it out."""

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self.dist, self._found = name, "somewhere:FAMILY", None, found

    def load(self) -> Any:
        if isinstance(self._found, Exception):
            raise self._found
        return self._found


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ImportError("no module named x"), "can't be loaded (no module named x)"),
        ("a string", "is not a FamilySpec"),
        (registry.find_family("vae"), "a family named vae exists already"),
    ],
)
def test_what_is_no_family_is_named_with_where_it_comes_from(
    found: Any, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "family_entry_points", lambda: [Entry("mine", found)])
    registry.all_families.cache_clear()
    try:
        with pytest.raises(registry.InputError) as refusal:
            registry.all_families()
    finally:
        monkeypatch.undo()
        registry.all_families.cache_clear()
    assert str(refusal.value).startswith("family mine of a distribution (somewhere:FAMILY)")
    assert said in str(refusal.value)
