"""The spool: what is on disk survives the process, and leaves the disk when the receiver has it."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_llm_bridge import cli
from otel_llm_bridge.export import spool_admin
from otel_llm_bridge.export.batch import Batch
from otel_llm_bridge.export.items import Context, Item
from otel_llm_bridge.export.ledger import Ledger, State
from otel_llm_bridge.export.record import ITEM
from otel_llm_bridge.export.segment import Segment
from otel_llm_bridge.export.spool import Spool
from otel_llm_bridge.semconv import litellm as names
from otel_llm_bridge.viewer.faults import Fault
from otel_llm_bridge.viewer.receiver import Receiver

from .support import Ended, Program, endpoint_of, missing, received, run

CONTEXT = Context(b"\x0a\x00", b"\x0a\x00")


def item(number: int, size: int = 100) -> Item:
    """An encoded span with ids made of ``number``."""
    key = number.to_bytes(8, "big")
    return Item(CONTEXT, b"\x0a\x10" + key * 2 + b"\x12\x08" + key + b"\x2a" + bytes((min(size, 120),)) + b"n" * min(size, 120))


def drain(spool: Spool) -> list[Item]:
    """Everything that the spool gives, settled at once."""
    spool.maintain(urgent=True)
    got = []
    while (batch := spool.next_batch(512, 1 << 20)) is not None:
        got += [each for piece in batch.pieces for each in piece]
        batch.done()
    return got


@pytest.fixture
def spooled(tmp_path: Path) -> dict[str, str]:
    """The variables of a program with a spool."""
    return {"OTEL_LLM_BRIDGE_SPOOL_DIR": str(tmp_path / "spool")}


#: The beginning of a program that makes log records; ``log(i)`` makes one.
_LOGS = """
from opentelemetry._logs import LogRecord
logger = line.logger_provider.get_logger("l")
def log(number, **more):
    logger.emit(LogRecord(timestamp=time.time_ns(), body=f"record {number}", attributes={"number": number, **more}))
"""
_WITH_LOGS = {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_SCHEDULE_DELAY": "60000"}

_CRASHES = {"kill": "os.kill(os.getpid(), 9)", "_exit": "os._exit(1)", "abort": "os.abort()"}


@pytest.mark.parametrize("how", _CRASHES)
@pytest.mark.parametrize("count", [10, 5_000])
def test_a_crash_loses_nothing_that_had_ended(how: str, count: int, tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """Every span whose end had returned arrives when the next process starts, in order, with its own id."""
    receiver.fault = Fault.refuse(503)
    crashed = run(f"[span(i) for i in range({count})]\n{_CRASHES[how]}", tmp_path, receiver, environ=spooled)
    assert crashed.status != 0 and len(crashed.ended) == count
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=spooled)
    assert missing(crashed.ended, receiver) == set()
    numbers = [span.attributes["number"] for span in receiver.store.spans()]
    assert numbers == sorted(numbers) and len(numbers) == count
    assert list((tmp_path / "spool" / "traces").iterdir()) == []


@pytest.mark.parametrize("how", _CRASHES)
def test_log_records_survive_a_crash_as_well(how: str, tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """Every record whose emit had returned arrives when the next process starts, in order, once, and so do the spans."""
    environ = {**spooled, **_WITH_LOGS}
    receiver.fault = Fault.refuse(503)
    run(_LOGS + f"span(1)\n[log(i) for i in range(300)]\n{_CRASHES[how]}", tmp_path, receiver, environ=environ)
    assert receiver.store.logs() == []
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=environ)
    assert [record.body for record in receiver.store.logs()] == [f"record {i}" for i in range(300)]
    assert len(received(receiver)) == 1
    assert [path.name for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_log_records_have_their_part_of_the_size(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """A flood of log records evicts the oldest log records, counted, and no span."""
    receiver.fault = Fault.refuse(503)
    environ = {**spooled, **_WITH_LOGS, "OTEL_LLM_BRIDGE_SPOOL_MAX_BYTES": str(4 << 20)}
    body = "[span(i) for i in range(100)]\n[log(i, text='x' * 2000) for i in range(2000)]\nsay(json.dumps(line.stats()))\nos._exit(0)"
    logs = run(_LOGS + body, tmp_path, receiver, environ=environ).figures["logs"]
    assert sum(file.stat().st_size for file in (tmp_path / "spool" / "logs").iterdir()) <= 1 << 20
    assert logs["ended"] == 2000 == logs["spooled"] + logs["dropped"]["evicted"]
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=environ)
    assert [record.attributes["number"] for record in receiver.store.logs()] == list(range(logs["dropped"]["evicted"], 2000))
    assert len(received(receiver)) == 100


@pytest.mark.parametrize("fsync", ["batch", "always"])
def test_a_synced_spool_works_the_same(fsync: str, tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """The stricter policies lose nothing either; a power cut itself cannot be made here."""
    environ = {**spooled, "OTEL_LLM_BRIDGE_SPOOL_FSYNC": fsync}
    crashed = run("[span(i) for i in range(100)]\nos.kill(os.getpid(), 9)", tmp_path, receiver, environ=environ)
    run("", tmp_path, receiver, environ=environ)
    assert missing(crashed.ended, receiver) == set()


def test_the_same_process_delivers_when_the_receiver_returns(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """After an outage the spool empties itself, without a restart."""
    receiver.fault = Fault.refuse(503)
    body = """
    [span(i) for i in range(3000)]
    say("ended")
    while line.report().exported < 3000:
        line.flush(1)
    figures()
    """
    with Program(body, tmp_path, receiver, environ={**spooled, "OTEL_BSP_SCHEDULE_DELAY": "100"}) as program:
        program.wait_for("ended")
        receiver.wait_for_requests(2)
        receiver.fault = Fault.none
        ended = program.wait()
    assert (ended.figures["exported"], ended.figures["spooled"], missing(ended.ended, receiver)) == (3000, 0, set())
    assert len(received(receiver)) == 3000


def test_a_call_that_a_crash_cuts_off_arrives_as_interrupted(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """A started span is delivered by the next process with status ERROR and the outcome; an ended one as it was."""
    body = """
    outer = tracer.start_span("in flight", attributes={"gen_ai.request.model": "m"})
    finished = tracer.start_span("finished")
    finished.end()
    os.kill(os.getpid(), 9)
    """
    run(body, tmp_path, receiver, environ=spooled)
    run("", tmp_path, receiver, environ=spooled)
    by_name = {span.name: span for span in receiver.store.spans()}
    assert set(by_name) == {"in flight", "finished"}
    cut = by_name["in flight"]
    assert (cut.status_code, cut.attributes[names.SPAN_OUTCOME]) == ("ERROR", names.OUTCOME_INTERRUPTED)
    assert cut.attributes["gen_ai.request.model"] == "m" and cut.end_ns >= cut.start_ns
    assert names.SPAN_OUTCOME not in by_name["finished"].attributes


def test_many_interrupted_calls_come_in_requests_of_the_usual_size(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """A crash with a thousand calls in flight makes no request that a receiver would refuse."""
    body = "calls = [tracer.start_span(f'c{i}', attributes={'text': 'x' * 20_000}) for i in range(1000)]\nos.kill(os.getpid(), 9)"
    run(body, tmp_path, receiver, environ=spooled)
    run("", tmp_path, receiver, environ={**spooled, "OTEL_LLM_BRIDGE_EXIT_TIMEOUT": "30"})
    assert len(receiver.store.spans()) == 1000
    assert max(len(request.body) for request in receiver.requests) <= 3_670_016


def test_notes_of_calls_in_flight_take_a_part_of_the_spool_only(tmp_path: Path) -> None:
    """What has ended is on disk, whole, however many calls are in flight and however long their prompts are."""
    ledger = Ledger()
    spool = _spool(tmp_path / "s", ledger, max_bytes=1 << 20)
    for number in range(1000):
        spool.started(Item(CONTEXT, item(number).body + b"\x4a\x80\x10" + b"x" * 2048))
    for number in range(1000, 1200):
        ledger.end(State.SPOOLED)
        assert spool.append(item(number))
    assert ledger.report().dropped == {}
    spool.forget()
    left = drain(_spool(tmp_path / "s"))
    assert left[:200] == [item(number) for number in range(1000, 1200)]
    assert 40 < len(left) - 200 < 70


def test_an_open_call_moves_on_with_the_segments(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """A call that started three segments ago is interrupted once, and one that ended later is not."""
    receiver.fault = Fault.refuse(503)
    body = """
    first, second = tracer.start_span("stays open"), tracer.start_span("ends late")
    for i in range(300):
        span(i, text="x" * 2000)
    second.end()
    os.kill(os.getpid(), 9)
    """
    run(body, tmp_path, receiver, environ={**spooled, "OTEL_LLM_BRIDGE_SPOOL_MAX_BYTES": str(4 << 20)})
    assert len(list((tmp_path / "spool" / "traces").iterdir())) >= 2
    receiver.fault = Fault.none
    run("", tmp_path, receiver, environ=spooled)
    late = [span for span in receiver.store.spans() if span.name != "work"]
    assert sorted((span.name, span.attributes.get(names.SPAN_OUTCOME)) for span in late) == [
        ("ends late", None), ("stays open", "interrupted"),
    ]  # fmt: skip


def test_four_processes_share_one_spool(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """Of four processes at once, two are killed: nothing is lost, and a duplicate has the same id."""
    body = """
    say("ready")
    for i in range(1500):
        span(i)
        if i == 700 and sys.argv[0].endswith("kill.py"):
            os.kill(os.getpid(), 9)
    """
    ended: list[Ended] = []
    programs = []
    for number in range(4):
        folder = tmp_path / f"p{number}"
        folder.mkdir()
        part = body.replace('sys.argv[0].endswith("kill.py")', str(number % 2 == 0))
        programs.append(Program(part, folder, receiver, environ=spooled))
    for program in programs:
        with program:
            ended.append(program.wait())
    run("", tmp_path, receiver, environ=spooled)
    ids = [key for one in ended for key in one.ended]
    assert len(ids) == 2 * 1500 + 2 * 701
    assert missing(ids, receiver) == set()
    assert len(received(receiver)) - len(ids) <= 2 * 512


def test_refused_spans_are_kept_for_a_human(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """What a 400 condemns is counted and kept as a readable OTLP request, and does not block the rest."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    receiver.fault = Fault.refuse(400)
    ended = run("[span(i) for i in range(5)]\nline.flush(5)\nfigures()", tmp_path, receiver, environ=spooled)
    assert ended.figures["quarantined"] == 5
    (tmp_path / "spool" / "traces").iterdir()
    files = list((tmp_path / "spool" / "traces").glob("*.otlp"))
    spans = [
        span
        for file in files
        for resource in ExportTraceServiceRequest.FromString(file.read_bytes()).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == 5 and all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    assert spool_admin.status(str(tmp_path / "spool"))["traces"].quarantined == 5


def test_refused_log_records_are_kept_as_well(tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """A receiver that takes no log records has them in quarantine, counted, and does not keep the spans from arriving."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    receiver.fault = Fault.refuse(400)
    body = "[log(i) for i in range(5)]\nline.flush(5)\nsay(json.dumps(line.stats()))"
    ended = run(_LOGS + body, tmp_path, receiver, environ={**spooled, **_WITH_LOGS})
    assert ended.figures["logs"]["quarantined"] == 5
    kept = [
        record
        for file in (tmp_path / "spool" / "logs").glob("*.otlp")
        for resource in ExportLogsServiceRequest.FromString(file.read_bytes()).resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
    assert sorted(record.body.string_value for record in kept) == [f"record {i}" for i in range(5)]
    assert spool_admin.status(str(tmp_path / "spool"))["logs"].quarantined == 5


def test_files_are_for_the_owner_only(tmp_path: Path) -> None:
    """The folder is 0700, a segment 0600, whatever the umask."""
    previous = os.umask(0)
    try:
        spool = Spool(str(tmp_path / "s" / "traces"))
        assert spool.append(item(1))
    finally:
        os.umask(previous)
    (segment,) = (tmp_path / "s" / "traces").iterdir()
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE(segment.parent.stat().st_mode) == 0o700
    spool.tidy()


def _spool(folder: Path, ledger: Ledger | None = None, **options: Any) -> Spool:
    spool = Spool(str(folder), **options)
    spool.bind(ledger or Ledger())
    return spool


def test_a_full_spool_evicts_the_oldest_and_counts_them(tmp_path: Path) -> None:
    """With 1 MiB, the newest spans stay and the ledger knows how many of the oldest went."""
    ledger = Ledger()
    spool = _spool(tmp_path / "s", ledger, max_bytes=1 << 20)
    for number in range(20_000):
        ledger.end(State.SPOOLED)
        assert spool.append(item(number))
    assert sum(file.stat().st_size for file in (tmp_path / "s").iterdir()) <= 1 << 20
    evicted = ledger.report().dropped["evicted"]
    left = drain(spool)
    assert len(left) == 20_000 - evicted == ledger.report().spooled
    assert left[0] == item(evicted) and left[-1] == item(19_999)


def test_what_is_evicted_while_the_worker_reads_it_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers fill the spool in the middle of the worker's reading: a span is dropped or delivered, never both."""
    ledger = Ledger()
    spool = _spool(tmp_path / "s", ledger, max_bytes=1 << 20)

    def end(number: int) -> None:
        ledger.end(State.SPOOLED)
        assert spool.append(item(number))

    for number in range(5_000):
        end(number)
    records, numbers = Segment.records, iter(range(5_000, 25_000))

    def interrupted(self: Segment, *offset: int) -> Iterator[Any]:
        for place, record in enumerate(records(self, *offset)):
            yield record
            if place == 10:
                for number in list(numbers):  # all of them, by whoever reads first
                    end(number)

    monkeypatch.setattr(Segment, "records", interrupted)
    left = drain(spool)
    report = ledger.report()
    assert report.dropped["evicted"] + len(left) == report.ended == 25_000
    assert report.spooled == len(left)


def test_a_span_that_waited_too_long_expires_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans older than the limit are not delivered; newer ones are."""
    from otel_llm_bridge.export import segment as module

    ledger = Ledger()
    spool = _spool(tmp_path / "s", ledger, max_age=3600)
    now = module.time.time_ns()
    with monkeypatch.context() as clock:
        clock.setattr(module.time, "time_ns", lambda: now - 7200 * 10**9)
        for number in range(3):
            ledger.end(State.SPOOLED)
            spool.append(item(number))
    ledger.end(State.SPOOLED)
    spool.append(item(3))
    assert drain(spool) == [item(3)]
    assert ledger.report().dropped == {"expired": 3}


@pytest.mark.parametrize("where", ["payload", "length", "mark", "checksum"])
def test_a_corrupt_record_is_skipped_and_counted(where: str, tmp_path: Path) -> None:
    """Flipped bytes cost the one record that they are in."""
    spool = _spool(tmp_path / "s")
    for number in range(10):
        spool.append(item(number))
    segment = spool._own[-1]
    records = list(segment.records())
    begin = records[4].end
    segment._map[begin + {"payload": 30, "length": 5, "mark": 1, "checksum": 9}[where]] ^= 0x55
    (path,) = (tmp_path / "s").iterdir()
    copy = tmp_path / "t" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    other = _spool(tmp_path / "t")
    assert drain(other) == [item(number) for number in range(10) if number != 4]
    assert other.counts["corrupt"] >= 1
    spool.tidy()


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"y" * 5000], ids=["empty", "short", "long"])
def test_a_file_that_is_no_segment_is_set_aside(content: bytes, tmp_path: Path) -> None:
    """Rubbish in the folder is renamed and counted, and the rest is delivered."""
    first = _spool(tmp_path / "s")
    first.append(item(1))
    first.forget()
    (tmp_path / "s" / "00000000000000000001-1-a-000001.seg").write_bytes(content)
    spool = _spool(tmp_path / "s")
    assert drain(spool) == [item(1)]
    assert spool.counts["corrupt_files"] == 1


def test_a_torn_record_at_the_end_does_not_count(tmp_path: Path) -> None:
    """Bytes behind the commit offset are what a crash left of an append that never returned."""
    spool = _spool(tmp_path / "s")
    spool.append(item(1))
    segment = spool._own[-1]
    segment._map[segment.end : segment.end + 40] = b"\xf5OLB" + b"\xff" * 36
    spool.forget()
    other = _spool(tmp_path / "s")
    assert drain(other) == [item(1)] and "corrupt" not in other.counts


def test_what_a_living_process_holds_is_left_alone(tmp_path: Path) -> None:
    """Another process neither reads, nor evicts, nor deletes a segment that has an owner."""
    first, second = _spool(tmp_path / "s" / "traces"), _spool(tmp_path / "s" / "traces")
    first.append(item(1))
    assert drain(second) == []
    found = spool_admin.status(str(tmp_path / "s"))["traces"]
    assert (found.live, found.orphans, spool_admin.clear(str(tmp_path / "s"))) == (1, 0, 0)
    assert drain(first) == [item(1)]


def test_an_acknowledged_span_is_not_delivered_again(tmp_path: Path) -> None:
    """The next process begins behind what was confirmed."""
    spool = _spool(tmp_path / "s")
    for number in range(10):
        spool.append(item(number))
    batch = spool.next_batch(4, 1 << 20)
    assert isinstance(batch, Batch)
    batch.done()
    spool.next_batch(4, 1 << 20)
    spool.forget()
    assert drain(_spool(tmp_path / "s")) == [item(number) for number in range(4, 10)]


def test_a_span_larger_than_a_segment_has_one_of_its_own(tmp_path: Path) -> None:
    """Size is no reason to lose a span."""
    spool = _spool(tmp_path / "s", max_bytes=16 << 20)
    large = Item(CONTEXT, item(1).body + b"\x4a" + b"\x80\x80\xc0\x01" + b"z" * (3 << 20))
    assert spool.append(item(0)) and spool.append(large) and spool.append(item(2))
    assert [each.body for each in drain(spool)] == [item(0).body, large.body, item(2).body]


_NO_DISK = {
    "a file stands where the folder should be": "",
    "no room": "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n",
}


@pytest.mark.parametrize("name", _NO_DISK)
def test_a_disk_that_does_not_take_it_is_no_fault_of_the_caller(name: str, tmp_path: Path, receiver: Receiver, spooled: dict[str, str]) -> None:
    """Nothing is raised, the spans wait in memory, are delivered, and one warning says so."""
    if not _NO_DISK[name]:
        (tmp_path / "spool").write_text("in the way")
    ended = run(_NO_DISK[name] + "[span(i) for i in range(2000)]\nline.flush(10)\nfigures()", tmp_path, receiver, environ=spooled)
    assert ended.status == 0, ended.errors
    assert missing(ended.ended, receiver) == set()
    assert ended.figures["exported"] == 2000
    assert ended.errors.count("cannot be written") == 1


@pytest.fixture
def left_behind(tmp_path: Path, receiver: Receiver, spooled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A spool with 20 spans and one interrupted call of a process that was killed."""
    body = "[span(i) for i in range(20)]\ntracer.start_span('open')\nos.kill(os.getpid(), signal.SIGKILL)"
    receiver.fault = Fault.refuse(503)
    assert run(body, tmp_path, receiver, environ=spooled).status == -signal.SIGKILL
    receiver.fault = Fault.none
    for name, value in {**spooled, **endpoint_of(receiver, "http/protobuf")}.items():
        monkeypatch.setenv(name, value)
    yield spooled["OTEL_LLM_BRIDGE_SPOOL_DIR"]


def test_the_command_shows_replays_and_is_empty_afterwards(left_behind: str, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """``status`` names what waits, ``replay`` delivers it, ``status`` then shows nothing."""
    assert cli.main(["spool", "status"]) == 0
    shown = capsys.readouterr().out
    assert "waiting      20 in 1 segments" in shown and "interrupted  1 calls" in shown
    assert cli.main(["spool", "replay", "--timeout", "10"]) == 0
    assert "replayed 21 spans, 0 are left" in capsys.readouterr().out
    assert len(received(receiver)) == 21
    assert cli.main(["spool", "status", "--json"]) == 0
    assert '"waiting": 0' in capsys.readouterr().out


def test_the_command_covers_log_records(left_behind: str, tmp_path: Path, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """``status``, ``clear`` and ``replay`` name spans and log records, and each goes to its own endpoint."""
    receiver.fault = Fault.refuse(503)
    run(_LOGS + "[log(i) for i in range(3)]\nos._exit(1)", tmp_path, receiver, environ={**_WITH_LOGS, "OTEL_TRACES_EXPORTER": "none"})
    receiver.fault = Fault.none
    assert cli.main(["spool", "status"]) == 0
    assert "log records\n  waiting      3 in 1 segments" in capsys.readouterr().out
    assert cli.main(["spool", "clear"]) == 2
    assert "20 spans and 3 log records would be lost" in capsys.readouterr().out
    assert cli.main(["spool", "replay", "--timeout", "10"]) == 0
    assert capsys.readouterr().out == "replayed 21 spans, 0 are left\nreplayed 3 log records, 0 are left\n"
    assert (len(received(receiver)), len(receiver.store.logs())) == (21, 3)
    assert all(found.left == 0 for found in spool_admin.status(left_behind).values())


def test_a_replay_that_fails_says_why(left_behind: str, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """With a receiver that refuses, the exit code is 1, the reason is named, and the spans stay."""
    receiver.fault = Fault.refuse(503)
    assert cli.main(["spool", "replay", "--timeout", "2"]) == 1
    assert "503" in capsys.readouterr().out
    assert spool_admin.status(left_behind)["traces"].waiting == 20


def test_clear_deletes_only_when_it_is_sure(left_behind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --yes it says what would be lost; with it, the orphans are gone."""
    assert cli.main(["spool", "clear"]) == 2
    assert "20 spans would be lost, and 1 interrupted" in capsys.readouterr().out
    assert cli.main(["spool", "clear", "--yes"]) == 0
    assert spool_admin.status(left_behind)["traces"].orphans == 0


@pytest.mark.parametrize("arguments", [["status"], ["status", "--dir", "/nowhere/at/all"]])
def test_a_mistake_in_the_call_is_said_plainly(arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder, or one that is not there: one line on stderr and exit code 2."""
    monkeypatch.delenv("OTEL_LLM_BRIDGE_SPOOL_DIR", raising=False)
    assert cli.main(["spool", *arguments]) == 2
    assert capsys.readouterr().err.startswith("otel-llm-bridge: ")


def test_segments_of_one_process_are_read_in_order(tmp_path: Path) -> None:
    """Rotation keeps the order of the ends."""
    spool = _spool(tmp_path / "s", max_bytes=8 << 20)
    for number in range(30_000):
        assert spool.append(item(number))
    assert len(list((tmp_path / "s").iterdir())) > 2
    spool.forget()
    assert drain(_spool(tmp_path / "s")) == [item(number) for number in range(30_000)]


def test_an_unfinished_file_is_swept_away_later(tmp_path: Path) -> None:
    """What a crash left between creation and name is deleted once it is old; a young one may be in use."""
    (tmp_path / "s").mkdir()
    for name, age in (("old", 3600), ("young", 0)):
        file = tmp_path / "s" / f"{name}.seg.new"
        file.write_bytes(b"")
        os.utime(file, (file.stat().st_atime - age, file.stat().st_mtime - age))
    _spool(tmp_path / "s").maintain(urgent=True)
    assert [file.name for file in (tmp_path / "s").iterdir()] == ["young.seg.new"]


def test_a_segment_without_room_says_so(tmp_path: Path) -> None:
    """An append that does not fit changes nothing."""
    segment = Segment.create(str(tmp_path / "a.seg"), 4096)
    assert segment.append(ITEM, CONTEXT, b"x" * 1000)
    end = segment.end
    assert not segment.append(ITEM, CONTEXT, b"x" * 10_000)
    assert segment.end == end and segment.written == 1
    segment.close(unlink=True)
