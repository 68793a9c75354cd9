"""Random faults in random order: the figures add up, always, and agree with the receiver."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from otel_llm_bridge.export.delivery import Delivery
from otel_llm_bridge.export.encoding import Encoder
from otel_llm_bridge.export.http_transport import HttpTransport
from otel_llm_bridge.export.otlp_env import HTTP, Endpoint
from otel_llm_bridge.export.processors import DeliverySpanProcessor
from otel_llm_bridge.export.spool import Spool
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import received
from .test_delivery import exact

_FAULTS = {
    "none": Fault.none,
    "503": Fault.refuse(503),
    "429": Fault.too_many_requests(retry_after=0.01),
    "400": Fault.refuse(400),
    "401": Fault.refuse(401),
    "413": Fault.refuse(413),
    "307": Fault.redirect_307("http://127.0.0.1:9/"),
    "reset": Fault.reset,
    "lost answer": Fault.lost_answer,
    "slow": Fault.slow(0.01),
    "hang": Fault.hang,
    "partial": Fault.partial_success(1),
}

_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.integers(1, 40)),
        st.tuples(st.just("fault"), st.sampled_from(sorted(_FAULTS))),
        st.tuples(st.just("flush"), st.sampled_from([0.0, 0.02, 0.1])),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


class World:
    """One line that is restarted now and then, and what all of its lives said."""

    def __init__(self, receiver: Receiver, spool: Path | None, queue_size: int) -> None:
        self.receiver, self.folder, self.queue_size = receiver, spool, queue_size
        self.ended: list[str] = []
        self.reports: list[Counter[str]] = []
        self.start()

    def start(self) -> None:
        """A new life, on the same spool."""
        store = Spool(str(self.folder)) if self.folder else None
        endpoint = Endpoint(HTTP, self.receiver.http_endpoint + "/v1/traces")
        self.delivery = Delivery(
            Encoder().encode, HttpTransport(endpoint), queue_size=self.queue_size, batch_size=16,
            schedule_delay=0.02, request_timeout=0.05, store=store,
        )  # fmt: skip
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(DeliverySpanProcessor(self.delivery, exit_timeout=0.05))
        self.tracer = self.provider.get_tracer("t")

    def end(self, count: int) -> None:
        """End spans."""
        for _ in range(count):
            span = self.tracer.start_span("s")
            self.ended.append(format(span.get_span_context().span_id, "016x"))
            span.end()

    def stop(self, timeout: float) -> None:
        """The end of a life."""
        self.delivery.close(timeout)
        thread = self.delivery._thread
        if thread is not None:
            thread.join(10)
        if self.delivery._store is not None:
            self.delivery._store.tidy()
        report = self.delivery.ledger.report()
        figures = Counter({name: value for name, value in report.as_dict().items() if isinstance(value, int)})
        figures["dropped"] = sum(report.dropped.values())
        self.reports.append(figures)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_STEPS, st.booleans(), st.sampled_from([20, 1000]))
def test_the_figures_always_add_up(steps: list[tuple[str, object]], spooled: bool, queue_size: int) -> None:
    """After each step of any schedule the identity holds; in the end receiver and figures agree to the span."""
    with Receiver(grpc_port=None) as receiver, tempfile.TemporaryDirectory() as folder:
        world = World(receiver, Path(folder) / "s" if spooled else None, queue_size)
        stored_unconfirmed = refused = False
        for action, value in steps:
            if action == "end":
                world.end(int(str(value)))
            elif action == "fault":
                receiver.fault = _FAULTS[str(value)]
                stored_unconfirmed |= value in ("lost answer", "slow")
                refused |= value in ("400", "413", "partial")
            elif action == "flush":
                world.delivery.flush(float(str(value)))
            else:
                world.stop(0.02)
                world.start()
            assert exact(world.delivery.ledger.report())
        receiver.fault = Fault.none
        world.delivery.flush(10)
        world.stop(5)
        total: Counter[str] = sum(world.reports, Counter())
        assert total["ended"] == len(world.ended)
        arrived = received(receiver)
        assert set(arrived) <= set(world.ended)
        if not stored_unconfirmed:
            assert len(arrived) == len(set(arrived)), "a duplicate without a lost answer"
        if spooled and not refused:
            assert set(arrived) == set(world.ended), "the spool lost something"
        if not refused:
            assert len(set(arrived)) >= total["exported"] + total["replayed"] - (len(arrived) - len(set(arrived)))
            if not spooled:
                lost = total["pending"] + total["failed"] + total["dropped"]
                assert len(set(world.ended) - set(arrived)) <= lost
