"""The standard ``OTEL_*`` variables of an OTLP exporter, read as the specification says.

A value that is not accepted is a warning that names the accepted ones, and the default holds: neither a
crash nor silence. Sampler, resource, limits and the like are read by the SDK itself.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from ..guard import logger
from ..settings import InvalidSetting, number, one_of, whole, words

_T = TypeVar("_T")

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"

#: Signal → the end of its URL.
SIGNALS: Final = {"traces": "v1/traces", "metrics": "v1/metrics", "logs": "v1/logs"}


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where one signal goes, and how.

    Attributes:
        protocol: ``grpc`` or ``http/protobuf``.
        url: the whole URL with HTTP, ``scheme://host:port`` with gRPC.
        headers: sent with each request.
        timeout: what one request may take, in seconds.
        gzip: whether requests are compressed.
        insecure: gRPC without TLS.
        ca_file, key_file, certificate_file: for TLS; empty when not given.
    """

    protocol: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0
    gzip: bool = False
    insecure: bool = False
    ca_file: str = ""
    key_file: str = ""
    certificate_file: str = ""


def read(variable: str, parse: Callable[[str], _T], default: _T, environ: Mapping[str, str] | None = None) -> _T:
    """The parsed value of ``variable``; blank is unset, a bad value is a warning and ``default``."""
    text = (os.environ if environ is None else environ).get(variable, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except InvalidSetting as error:
        logger.warning("%s is ignored, %r holds; %s", variable, default, error)
        return default


def sdk_disabled() -> bool:
    """``OTEL_SDK_DISABLED``: only ``true`` disables, in any case."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def exporters(signal: str) -> tuple[str, ...]:
    """Names of the exporters in ``OTEL_{SIGNAL}_EXPORTER``, without ``none``; ``otlp`` unless set."""
    default: tuple[str, ...] = ("otlp",)
    names = read(f"OTEL_{signal.upper()}_EXPORTER", words, default)
    return tuple(name.lower() for name in names if name.lower() != "none")


def batch(prefix: str) -> tuple[float, int]:
    """Schedule delay in seconds and most items of one batch, from the ``OTEL_BSP_*`` or ``OTEL_BLRP_*`` variables."""
    defaults = {"OTEL_BSP": 5000.0, "OTEL_BLRP": 1000.0}
    delay = read(f"{prefix}_SCHEDULE_DELAY", number(1, 3_600_000), defaults[prefix])
    size = read(f"{prefix}_MAX_EXPORT_BATCH_SIZE", whole(1, 1_000_000), 512)
    return delay / 1000, size


#: Of the value of ``OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE``: instruments that are told as deltas.
TEMPORALITY: Final[dict[str, tuple[str, ...]]] = {
    "cumulative": (),
    "delta": ("Counter", "ObservableCounter", "Histogram"),
    "lowmemory": ("Counter", "Histogram"),
}
EXPLICIT: Final = "explicit_bucket_histogram"
EXPONENTIAL: Final = "base2_exponential_bucket_histogram"


def metric_preferences() -> tuple[tuple[str, ...], bool]:
    """Instruments (classes of the SDK, by name) that are told as deltas; whether histograms are exponential ones."""
    value = read("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", one_of(*TEMPORALITY), "cumulative")
    kind = read("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", one_of(EXPLICIT, EXPONENTIAL), EXPLICIT)
    return TEMPORALITY[value], kind == EXPONENTIAL


def _header_pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for part in text.split(","):
        key, separator, value = part.partition("=")
        key, value = unquote(key).strip().lower(), unquote(value).strip()
        if not part.strip():
            continue
        if not separator or not key or any(ord(sign) < 32 or ord(sign) > 126 for sign in key + value):
            # The text is left out: headers hold keys.
            raise InvalidSetting("accepted: key1=value1,key2=value2, percent-encoded")
        pairs.append((key, value))
    return tuple(pairs)


def _url(text: str) -> str:
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        good = bool(parts.hostname) and parts.scheme in ("http", "https", "") and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise InvalidSetting("accepted: http://host:port, https://host:port")
    return text


def _file(text: str) -> str:
    if not os.path.isfile(text):
        raise InvalidSetting("accepted: the path of a file that exists")
    return text


def endpoint(signal: str) -> Endpoint:
    """The settings of one signal (``traces``, ``metrics`` or ``logs``); its own variables before the general ones."""
    upper = signal.upper()

    def pick(name: str, parse: Callable[[str], Any], default: Any) -> Any:
        general = read(f"OTEL_EXPORTER_OTLP_{name}", parse, default)
        return read(f"OTEL_EXPORTER_OTLP_{upper}_{name}", parse, general)

    base = read("OTEL_EXPORTER_OTLP_ENDPOINT", _url, "")
    own = read(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT", _url, "")
    protocol = pick("PROTOCOL", one_of(GRPC, HTTP), "") or _protocol_of(own or base)
    if protocol == GRPC:
        url = own or base or "http://localhost:4317"
        # The variable speaks only where the scheme does not.
        insecure = pick("INSECURE", one_of("true", "false"), "false") == "true"
    else:
        url = own or (base or "http://localhost:4318").rstrip("/") + "/" + SIGNALS[signal]
        insecure = True
    if "://" not in url:
        url = ("http://" if insecure else "https://") + url
    return Endpoint(
        protocol=protocol,
        url=url,
        headers=pick("HEADERS", _header_pairs, ()),
        timeout=pick("TIMEOUT", number(0.001, 3600), 10.0),
        gzip=pick("COMPRESSION", one_of("gzip", "none"), "none") == "gzip",
        insecure=url.startswith("http://"),
        ca_file=pick("CERTIFICATE", _file, ""),
        key_file=pick("CLIENT_KEY", _file, ""),
        certificate_file=pick("CLIENT_CERTIFICATE", _file, ""),
    )


def _protocol_of(url: str) -> str:
    """The Python SDK takes gRPC by default; the well-known HTTP port or a path says otherwise."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    return HTTP if parts.port == 4318 or parts.path.strip("/") else GRPC
