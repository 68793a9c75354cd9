"""Make a call of the table to its end, whatever its kind."""

from __future__ import annotations

import asyncio
from typing import Any

from otel_llm_bridge.demo.provider import FakeProvider

from .families import Family


def make(family: Family, provider: FakeProvider, behaviour: str | None = None, **more: Any) -> tuple[list[Any], Exception | None]:
    """What the call gave — its chunks, or its one result — and the error it ended in."""
    kwargs, got = family.kwargs(provider, behaviour, **more), []

    async def read() -> None:
        result = await family.callable()(**kwargs)
        if not family.streams:
            return got.append(result)
        async for chunk in result:
            got.append(chunk)

    try:
        if family.is_async:
            asyncio.run(read())
        elif family.streams:
            for chunk in family.callable()(**kwargs):
                got.append(chunk)
        else:
            got.append(family.callable()(**kwargs))
    except Exception as error:
        return got, error
    return got, None
