"""What the API has of a kind of thing: all of it, one by its name, or made where it is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from pipelines.cluster.api import ApiError

PAGE_SIZE = 100


def ensure(find: Callable[[], Any], create: Callable[[], Any]) -> Any:
    """What is found, or else created; another one who creates it at the same time is fine."""
    found = find()
    if found:
        return found
    try:
        return create()
    except ApiError as error:
        found = find() if error.undecided else None
        if not found:
            raise
        return found


def named(listing: Callable[..., Any], field: str, name: str, **query: Any) -> Any:
    """The newest thing with a display name, or None."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    found = listed(listing, field, filter=json.dumps({"predicates": [predicate]}), **query)
    return next((one for one in found if one.display_name == name), None)


def listed(listing: Callable[..., Any], field: str, **query: Any) -> Iterator[Any]:
    """All that a list call has, newest first, page by page."""
    token = ""
    while True:
        page = listing(page_token=token, page_size=PAGE_SIZE, sort_by="created_at desc", **query)
        yield from getattr(page, field) or []
        token = page.next_page_token
        if not token:
            return
