"""One real test span to the configured endpoint, and what the receiver answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..export import otlp_env, sdk_env
from ..export.transport import Outcome, Verdict, connect
from .findings import Row

SPAN_NAME: Final = "otel-llm-bridge doctor"
#: A receiver that takes longer for one span is of no use to a process that ends.
_PATIENCE: Final = 5.0


@dataclass(frozen=True)
class Sent:
    """What became of the test span.

    Attributes:
        url, protocol: where it went.
        headers: names of the headers that went along; never their values.
        trace_id: to look for it, in hexadecimal.
        answer: status, or the name of the error.
    """

    url: str
    protocol: str
    headers: tuple[str, ...]
    trace_id: str
    verdict: Verdict
    answer: str
    rejected: int
    seconds: float


def send() -> Sent | None:
    """Send it as the program would: the same variables, the same transport. ``None``: OTLP is switched off, or not installed."""
    if otlp_env.sdk_disabled() or "otlp" not in otlp_env.exporters("traces"):
        return None
    endpoint = otlp_env.endpoint("traces")
    started = time.monotonic()
    try:
        with sdk_env.without_bad_values():
            body, trace_id = _span()
    except ImportError:
        return None  # what is missing is a finding of `environment`
    transport = connect(endpoint, "traces")
    try:
        outcome: Outcome = transport.send(body, min(endpoint.timeout, _PATIENCE))
    finally:
        transport.close()
    return Sent(
        url=otlp_env.without_credentials(endpoint.url),
        protocol=endpoint.protocol,
        headers=tuple(name for name, _ in endpoint.headers),
        trace_id=trace_id,
        verdict=outcome.verdict,
        answer=outcome.detail,
        rejected=outcome.rejected,
        seconds=time.monotonic() - started,
    )


def _span() -> tuple[bytes, str]:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create(), shutdown_on_exit=False)
    span: Any = provider.get_tracer("otel_llm_bridge").start_span(SPAN_NAME)
    span.end()
    return encode_spans([span]).SerializeToString(), f"{span.context.trace_id:032x}"


_HEADERS: Final = "give OTEL_EXPORTER_OTLP_HEADERS the key that the receiver wants (values percent-encoded)"
_PATH: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is the base, /v1/traces is added; OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is the whole URL"
)
_PROTOCOL: Final = "set OTEL_EXPORTER_OTLP_PROTOCOL to what listens there: grpc (usually port 4317) or http/protobuf (4318)"
_REACH: Final = "start the Collector, or correct OTEL_EXPORTER_OTLP_ENDPOINT; `otel-llm-bridge view` receives on 4317 and 4318"

#: Answer -> fix. What is not here is a receiver that cannot be reached.
_FIXES: Final = {
    **dict.fromkeys(("401", "403", "UNAUTHENTICATED", "PERMISSION_DENIED"), _HEADERS),
    **dict.fromkeys(("404", "405", "301", "302", "307", "308"), _PATH),
    **dict.fromkeys(("415", "400", "UNIMPLEMENTED", "BadStatusLine", "UnknownProtocol", "INTERNAL"), _PROTOCOL),
    **dict.fromkeys(("429", "503", "RESOURCE_EXHAUSTED"), "the receiver is overloaded or limits this sender: look at its log"),
    "SSLError": "http:// where the receiver has no TLS; OTEL_EXPORTER_OTLP_CERTIFICATE where its authority is your own",
    "SSLCertVerificationError": "OTEL_EXPORTER_OTLP_CERTIFICATE names the file of the authority that signed the certificate",
}


def _delivery(sent: Sent | None) -> Iterator[tuple[str, str]]:
    if sent is None:
        return
    where = f"{sent.url} ({sent.protocol})"
    if sent.verdict is not Verdict.DELIVERED:
        fix = _FIXES.get(sent.answer, _REACH)
        if sent.answer == "UNAVAILABLE":
            fix = f"{_REACH}; or {_PROTOCOL}"
        yield f"the test span was not taken by {where}: {sent.answer} after {sent.seconds:.1f} s", fix
    elif sent.rejected:
        yield f"{where} answered, and refused the test span (partial success)", "the receiver's log says why"


CHECKS: Final = (Row("endpoint", _delivery),)


def facts(sent: Sent | None) -> dict[str, Any] | None:
    """The test span as JSON types."""
    if sent is None:
        return None
    return {
        "url": sent.url,
        "protocol": sent.protocol,
        "headers": dict.fromkeys(sent.headers, "***"),
        "trace_id": sent.trace_id,
        "delivered": sent.verdict is Verdict.DELIVERED and not sent.rejected,
        "answer": sent.answer,
        "seconds": round(sent.seconds, 3),
    }
