"""The standard ``OTEL_*`` variables, read as the specification says.

A value that is not accepted is a warning that names the accepted ones, and the default holds: neither a
crash nor silence. What the SDK reads itself is in the same table; `sdk_env` sees to it.

Sources: https://opentelemetry.io/docs/specs/otel/protocol/exporter/,
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import unquote, urlsplit

from ..guard import logger
from ..redactors import keys
from ..settings import InvalidSetting, number, one_of, whole, words

_T = TypeVar("_T")

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"

#: Signal → the end of its URL.
SIGNALS: Final = {"traces": "v1/traces", "metrics": "v1/metrics", "logs": "v1/logs"}
#: Signal → the entry points of exporters that other packages bring.
GROUPS: Final = {signal: f"opentelemetry_{signal}_exporter" for signal in SIGNALS}


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


#: Of the value of ``OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE``: instruments that are told as deltas.
TEMPORALITY: Final[dict[str, tuple[str, ...]]] = {
    "cumulative": (),
    "delta": ("Counter", "ObservableCounter", "Histogram"),
    "lowmemory": ("Counter", "Histogram"),
}
EXPLICIT: Final = "explicit_bucket_histogram"
EXPONENTIAL: Final = "base2_exponential_bucket_histogram"


def without_credentials(text: str) -> str:
    """``text``, which may be or hold a URL, without user, password and keys: for whatever is printed or logged."""
    return keys(re.sub(r"^(.*?//)?.*@", r"\1***@", text, flags=re.DOTALL))


def named(group: str, *known: str, fold: Callable[[str], str] = str) -> Callable[[str], tuple[str, ...]]:
    """Words separated by commas, each in ``known`` or the name of an entry point of ``group``."""

    def parse(text: str) -> tuple[str, ...]:
        names = words(fold(text))
        if names and set(names) <= set(known):
            return names  # what is installed need not be looked at, which takes its time
        from importlib.metadata import entry_points

        accepted = {*known, *(point.name for point in entry_points(group=group))}
        unknown = [name for name in names or (text,) if name not in accepted]
        if unknown:
            raise InvalidSetting(f"unknown {without_credentials(', '.join(unknown))}; accepted: {', '.join(sorted(accepted))}")
        return names

    return parse


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


_MILLISECONDS: Final = number(1, 2**31 - 1)
_OTLP: Final = "OTEL_EXPORTER_OTLP_"

#: Variable → its parser, for what OpenTelemetry reads itself and does not bear. Resource attributes are not among them: of
#: these it leaves out the bad ones, and says so.
OF_THE_SDK: Final[Mapping[str, Callable[[str], Any]]] = {
    "OTEL_PROPAGATORS": named("opentelemetry_propagator", "tracecontext", "baggage", "none"),
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": named("opentelemetry_resource_detector", "*"),
    "OTEL_TRACES_SAMPLER": one_of(
        "always_on", "always_off", "traceidratio",
        "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
    ),
    "OTEL_TRACES_SAMPLER_ARG": number(0, 1),
    "OTEL_METRICS_EXEMPLAR_FILTER": one_of("always_on", "always_off", "trace_based", fold=str),
    **dict.fromkeys(
        (
            *(f"OTEL_{of}ATTRIBUTE_{limit}_LIMIT" for of in ("", "SPAN_", "LOGRECORD_") for limit in ("COUNT", "VALUE_LENGTH")),
            *(f"OTEL_{of}_COUNT_LIMIT" for of in ("SPAN_EVENT", "SPAN_LINK", "EVENT_ATTRIBUTE", "LINK_ATTRIBUTE")),
        ),
        whole(0, 2**63 - 1),
    ),
    **dict.fromkeys((f"OTEL_{prefix}_EXPORT_TIMEOUT" for prefix in ("BSP", "BLRP")), whole(0, 2**31 - 1)),
}  # fmt: skip

#: The same and all that this module reads; the doctor and `otel-llm-bridge run` check these, too.
#: The stock exporters take a little more than ours: ``deflate`` over HTTP, ``grpc://`` and ``unix:`` over gRPC.
VARIABLES: Final[Mapping[str, Callable[[str], Any]]] = {
    **OF_THE_SDK,
    "OTEL_SDK_DISABLED": one_of("true", "false"),  # the SDK knows no other spelling
    **{
        f"OTEL_{signal.upper()}_EXPORTER": named(group, "otlp", "console", "none", fold=str.lower)
        for signal, group in GROUPS.items()
    },
    **{
        f"{prefix}_{name}": parse
        for prefix in ("OTEL_BSP", "OTEL_BLRP")
        for name, parse in (
            ("SCHEDULE_DELAY", _MILLISECONDS),
            ("MAX_QUEUE_SIZE", whole(1, 10_000_000)),
            ("MAX_EXPORT_BATCH_SIZE", whole(1, 1_000_000)),
        )
    },
    "OTEL_METRIC_EXPORT_INTERVAL": _MILLISECONDS,
    "OTEL_METRIC_EXPORT_TIMEOUT": _MILLISECONDS,
    f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE": one_of(*TEMPORALITY),
    f"{_OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION": one_of(EXPLICIT, EXPONENTIAL),
    **{
        f"{_OTLP}{signal}{name}": parse
        for signal in ("", *(f"{signal.upper()}_" for signal in SIGNALS))
        for name, parse in (
            ("ENDPOINT", _url),
            ("PROTOCOL", one_of(GRPC, HTTP)),
            ("HEADERS", _header_pairs),
            ("TIMEOUT", number(0.001, 3600)),
            ("COMPRESSION", one_of("gzip", "none")),
            ("INSECURE", one_of("true", "false")),
            ("CERTIFICATE", _file),
            ("CLIENT_KEY", _file),
            ("CLIENT_CERTIFICATE", _file),
        )
    },
}  # fmt: skip


#: Variables and the reasons for which they are ignored, of which was warned: general ones are read for each signal.
_warned: Final[set[tuple[str, str]]] = set()


def read(variable: str, default: _T) -> _T:
    """The parsed value of one of `VARIABLES`; blank is unset, a bad value is a warning, one in a process, and ``default``."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return default
    try:
        parsed: _T = VARIABLES[variable](text)
    except InvalidSetting as error:
        if (variable, str(error)) not in _warned:
            _warned.add((variable, str(error)))
            # Those that hold instead of bad headers have keys, too.
            held = "the default" if not default or variable.endswith("HEADERS") else repr(default)
            logger.warning("%s is ignored, %s holds; %s", variable, held, error)
        return default
    return parsed


def sdk_disabled() -> bool:
    """``OTEL_SDK_DISABLED``: only ``true`` disables, in any case."""
    return read("OTEL_SDK_DISABLED", "false") == "true"


def exporters(signal: str) -> tuple[str, ...]:
    """Names of the exporters in ``OTEL_{SIGNAL}_EXPORTER``, without ``none``; ``otlp`` unless set."""
    default: tuple[str, ...] = ("otlp",)
    return tuple(name for name in read(f"OTEL_{signal.upper()}_EXPORTER", default) if name != "none")


def batch(prefix: str) -> tuple[float, int]:
    """Schedule delay in seconds and most items of one batch, from the ``OTEL_BSP_*`` or ``OTEL_BLRP_*`` variables."""
    defaults = {"OTEL_BSP": 5000.0, "OTEL_BLRP": 1000.0}
    return read(f"{prefix}_SCHEDULE_DELAY", defaults[prefix]) / 1000, read(f"{prefix}_MAX_EXPORT_BATCH_SIZE", 512)


def metric_schedule() -> tuple[float, float]:
    """How often metrics are collected and sent, and what that may take; both in milliseconds."""
    return read("OTEL_METRIC_EXPORT_INTERVAL", 60_000.0), read("OTEL_METRIC_EXPORT_TIMEOUT", 30_000.0)


def metric_preferences() -> tuple[tuple[str, ...], bool]:
    """Instruments (classes of the SDK, by name) that are told as deltas; whether histograms are exponential ones."""
    value = read(f"{_OTLP}METRICS_TEMPORALITY_PREFERENCE", "cumulative")
    kind = read(f"{_OTLP}METRICS_DEFAULT_HISTOGRAM_AGGREGATION", EXPLICIT)
    return TEMPORALITY[value], kind == EXPONENTIAL


def endpoint(signal: str) -> Endpoint:
    """The settings of one signal (``traces``, ``metrics`` or ``logs``); its own variables before the general ones."""
    upper = signal.upper()

    def pick(name: str, default: _T) -> _T:
        return read(f"{_OTLP}{upper}_{name}", read(f"{_OTLP}{name}", default))

    base = read(f"{_OTLP}ENDPOINT", "")
    own = read(f"{_OTLP}{upper}_ENDPOINT", "")
    protocol = pick("PROTOCOL", "") or _protocol_of(own or base)
    if protocol == GRPC:
        url = own or base or "http://localhost:4317"
        # The variable speaks only where the scheme does not.
        insecure = pick("INSECURE", "false") == "true"
    else:
        url = own or (base or "http://localhost:4318").rstrip("/") + "/" + SIGNALS[signal]
        insecure = True
    if "://" not in url:
        url = ("http://" if insecure else "https://") + url
    return Endpoint(
        protocol=protocol,
        url=url,
        headers=pick("HEADERS", ()),
        timeout=pick("TIMEOUT", 10.0),
        gzip=pick("COMPRESSION", "none") == "gzip",
        insecure=url.startswith("http://"),
        ca_file=pick("CERTIFICATE", ""),
        key_file=pick("CLIENT_KEY", ""),
        certificate_file=pick("CLIENT_CERTIFICATE", ""),
    )


def _protocol_of(url: str) -> str:
    """The Python SDK takes gRPC by default; the well-known HTTP port or a path says otherwise."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    return HTTP if parts.port == 4318 or parts.path.strip("/") else GRPC
