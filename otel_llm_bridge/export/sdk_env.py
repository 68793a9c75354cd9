"""The standard variables that OpenTelemetry reads itself, kept from it where they are blank or bad.

It raises at some of them when it is imported or set up, logs a traceback at others, and takes a blank limit for none. With
the specification, blank is unset, and a bad value is a warning.

Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from ..locks import rlock
from . import otlp_env

_lock: Final = rlock()


@contextlib.contextmanager
def without_bad_values() -> Iterator[None]:
    """In the block, `otlp_env.OF_THE_SDK` are accepted values without blanks around them, or not set.

    Around the import of OpenTelemetry and the making of its providers: not everything that they read can be given as an
    argument. Each bad value is a warning. Afterwards the environment is as it was.
    """
    with _lock:  # who comes second must see the bad value, too
        kept = {}
        for variable in otlp_env.OF_THE_SDK:
            text = os.environ.get(variable)
            if text is None:
                continue
            is_accepted = otlp_env.read(variable, None) is not None
            if is_accepted and text == text.strip():
                continue
            kept[variable] = text
            if is_accepted:
                os.environ[variable] = text.strip()
            else:
                del os.environ[variable]
        try:
            yield
        finally:
            os.environ.update(kept)
