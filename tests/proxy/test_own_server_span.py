"""Where nobody else makes a span for the request, the bridge's own is the SERVER span."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from otel_llm_bridge.demo.provider import FakeProvider
from otel_llm_bridge.viewer import Receiver
from tests.environments import python_with

from . import support
from .support import Proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Case(NamedTuple):
    """How it comes that nobody else makes one."""

    environment: str
    bridge: str
    variables: dict[str, str]


CASES: Final = {
    # The web framework finds no global provider.
    "provider of the operator's own": Case("proxy", "otel_llm_bridge.proxy.callback", {"LITELLM_WORKER_STARTUP_HOOKS": "extension:own_provider"}),
    # It is too old to make spans; and LiteLLM takes callbacks only from files beside its configuration.
    "lowest versions": Case("proxy-lowest", "beside.callback", {}),
}


@pytest.fixture(scope="module", params=CASES)
def proxy(
    request: pytest.FixtureRequest, provider: FakeProvider, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """A Proxy of each case."""
    case = CASES[request.param]
    python = python_with(case.environment, "litellm", "apscheduler", "uvicorn")
    folder = tmp_path_factory.mktemp("proxy-alone")
    variables = {"PYTHONPATH": str(folder), **case.variables}
    with support.running(python, folder, provider, receiver, bridge=case.bridge, environment=variables) as proxy:
        yield proxy


def test_the_request_is_the_server_span_under_the_clients(proxy: Proxy, receiver: Receiver) -> None:
    """``traceparent`` is honoured, the name is method and route, and every call hangs below."""
    trace_id = support.new_trace()
    assert proxy.chat("flaky", trace=trace_id)[0] == 200
    trace = support.wait_for_trace(receiver, trace_id, lambda trace: len(support.attempts(trace)) == 3)
    request = support.request_span(trace)
    assert (request.kind, request.name, request.parent_span_id) == ("SERVER", "POST /v1/chat/completions", support.CLIENT_SPAN)
    assert [span for span in trace.spans if span.kind == "SERVER"] == [request]
    attributes = request.attributes
    assert attributes["http.request.method"] == "POST"
    assert (attributes["url.path"], attributes["url.scheme"], attributes["http.route"]) == ("/v1/chat/completions", "http", "/v1/chat/completions")
    assert (attributes["server.address"], attributes["server.port"]) == ("127.0.0.1", proxy.port)
    assert attributes["http.response.status_code"] == 200
    (router,) = [span for span in trace.spans if span.name.startswith("litellm.router")]
    assert router.parent_span_id == request.span_id
    assert {span.parent_span_id for span in support.attempts(trace)} == {router.span_id}
    assert all(request.start_ns <= span.start_ns and span.end_ns <= request.end_ns for span in support.attempts(trace))


def test_a_client_without_a_span(proxy: Proxy, receiver: Receiver) -> None:
    """Without ``traceparent`` the request is the root of a trace of its own."""
    mark = support.new_trace()
    assert proxy.chat(user=mark)[0] == 200
    receiver.store.wait_for(lambda store: any(span.attributes.get("litellm.end_user") == mark and span.kind == "SERVER" for span in store.spans()), 30)
    (request,) = [span for span in receiver.store.spans() if span.attributes.get("litellm.end_user") == mark and span.kind == "SERVER"]
    assert (request.scope_name, request.parent_span_id) == (support.OURS, None)


def test_a_client_that_does_not_sample(proxy: Proxy, receiver: Receiver) -> None:
    """The client's decision not to sample is taken over: nothing of its request is exported."""
    unsampled, sampled = support.new_trace(), support.new_trace()
    header = f"00-{unsampled}-{support.CLIENT_SPAN}-00"
    assert proxy.call("POST", "/v1/chat/completions", support.chat_body(), {**support.headers(), "traceparent": header})[0] == 200
    assert proxy.chat(trace=sampled)[0] == 200
    support.wait_for_trace(receiver, sampled, lambda trace: bool(support.attempts(trace)))  # sent in the order of their ends
    assert receiver.store.trace(unsampled) is None


def test_refused_at_the_door(proxy: Proxy, receiver: Receiver) -> None:
    """An unknown key is seen, with the answer that the client got; it is no error of the server."""
    trace_id = support.new_trace()
    assert proxy.chat(key="sk-nobody-has-this-key-0000", trace=trace_id)[0] == 401
    request = support.request_span(support.wait_for_trace(receiver, trace_id))
    assert (request.kind, request.status_code) == ("SERVER", "UNSET")
    assert (request.attributes["litellm.proxy.rejected_at"], request.attributes["http.response.status_code"]) == ("authentication", 401)


def test_an_error_of_the_server(proxy: Proxy, receiver: Receiver) -> None:
    """When every attempt has failed, the answer is a 5xx and the request an error."""
    trace_id = support.new_trace()
    assert proxy.chat("broken", trace=trace_id)[0] == 503
    request = support.request_span(support.wait_for_trace(receiver, trace_id, lambda trace: len(support.attempts(trace)) == 2))
    assert (request.kind, request.status_code, request.attributes["http.response.status_code"]) == ("SERVER", "ERROR", 503)


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/readiness", "/nobody/knows/this"])
def test_other_routes_have_no_span(proxy: Proxy, receiver: Receiver, path: str) -> None:
    """Neither health checks nor what is no route of an LLM become spans."""
    silent, heard = support.new_trace(), support.new_trace()
    proxy.call("GET", path, headers=support.headers(trace=silent))
    assert proxy.chat(trace=heard)[0] == 200
    support.wait_for_trace(receiver, heard)
    assert receiver.store.trace(silent) is None
