"""The HTTP server names that we emit for a request to the Proxy.

Source: open-telemetry/semantic-conventions v1.44.0, docs/http/http-spans.md (HTTP server).
"""

from __future__ import annotations

from typing import Final

REQUEST_METHOD: Final = "http.request.method"
RESPONSE_STATUS_CODE: Final = "http.response.status_code"
ROUTE: Final = "http.route"
URL_PATH: Final = "url.path"
URL_SCHEME: Final = "url.scheme"
PROTOCOL_VERSION: Final = "network.protocol.version"

#: Methods that go out as they are; every other one is ``_OTHER``, as the conventions ask.
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
OTHER_METHOD: Final = "_OTHER"
#: What stands for such a method in a span's name.
OTHER_METHOD_IN_NAME: Final = "HTTP"

#: Where instrumentations of web frameworks write a query down; the last two are names of the older conventions.
QUERY_ATTRIBUTES: Final = ("url.query", "url.full", "http.target", "http.url")
