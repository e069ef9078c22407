"""What one image leaves, the next reads: as it was, or at least as much as every version can."""

import base64
import os
import zlib

import msgspec
import pytest
from msgspec.structs import replace

from prefork.config.instance import Instance
from prefork.config.service import Service
from prefork.config.settings import convert
from prefork.master import book
from prefork.master.book import (
    AdminHeld,
    Body,
    ClientHeld,
    Header,
    Listening,
    MoldHeld,
    PairHeld,
    PipeHeld,
    ServiceHeld,
)
from prefork.master.commands import Occasion
from prefork.pool.events import ReloadAsked, StopAsked
from prefork.pool.records import (
    Backoff,
    Bounds,
    Bucket,
    Door,
    Generation,
    Outcome,
    Phase,
    Policy,
    Pool,
    Stage,
    State,
    Wanted,
    Worker,
    fixed,
)
from prefork.pool.rules import Decision
from prefork.pool.sizing import Window
from prefork.system.timings import Counts, Past
from prefork.worker.protocol import PROTOCOL
from tests.pool.simulation import Code, Simulation, World
from tests.pool.simulation import service as fresh

STATES = ("STARTING", "READY", "RETIRING", "EXPELLED", "KILLED")
STAGES = ("LOADING", "LOADED", "LOST", "BROKEN", "LEAVING", "KILLED")
SERVICES = (
    {"target": "a:B", "bind": ("tcp://127.0.0.1:0",)},
    {"target": "a:B", "bind": ("none",), "threads": 7, "timeout": "250ms"},
    {"target": "a:B", "bind": ("unix:/run/x?mode=0600",), "max_workers": 9, "memory_budget": "2GiB"},
    {
        "target": "a:B",
        "bind": ("udp://127.0.0.1:0",),
        "user": str(os.getuid()),
        "rlimits": {"core": 0, "nofile": 64},
        "umask": "027",
        "on_ready": ["/bin/true", "é"],
    },
    {"target": "a:B", "bind": ("unix:@x", "udp://[::1]:9"), "mode": "thread", "pythonpath": ("é", "b")},
)


def service(number: int) -> Service:
    made: Service = convert(SERVICES[number], Service, "here")
    return made


def header(body: int = book.BODY, protocol: int = PROTOCOL) -> Header:
    held = ServiceHeld(
        listeners=[Listening("tcp://127.0.0.1:0", "tcp://127.0.0.1:43211", 9, (1, 2))],
        kick=8,
        workers=[book.WorkerHeld(1, 4, 2, 4711, 10)],
        molds=[MoldHeld(2, 4712, -1)],
        serving=2,
        last_generation=3,
        next_order=5,
        scaled=-1,
    )
    return Header(
        pid=1,
        package="0.1.0",
        body=body,
        protocol=protocol,
        name="shop-2",
        holder=3,
        lifeline=(4, 5),
        log=2,
        signals=6,
        mask=[34],
        limit=1024,
        started_at=12.5,
        control=Listening("", "unix:@prefork/0/shop-2/control", 7),
        clients=[ClientHeld(11, "{\x00\xff", waits=True, progress=False)],
        descriptors=[3, 4, 5, 6, 7, 8, 9, 10, 11],
        services={"echo": held},
    )


def known(pool: Pool) -> book.ServiceKnown:
    return book.ServiceKnown(
        pool=pool,
        settings={"target": "a:B", "backlog": 5},
        loads={2: {"target": "a:B"}},
        settled=2,
        past=Past(Counts(10, 1, 5), {7: Counts(2)}),
        board=12,
        lanes=64,
        needed=Window(10.0, ((1.0, 3), (2.0, 1))),
        pipes=[PipeHeld(13, b'["Le\xff')],
        pairs=[PairHeld(2, 14, is_loaded=True, how="", is_closed=False)],
    )


def run() -> book.RunHeld:
    return book.RunHeld(
        service="echo",
        order=book.OrderKnown({"target": "a:B"}, Occasion("reload", 2, "abandoned", "é")),
        pid=4713,
        pidfd=17,
        reader=-1,
        remainder=b"\xff",
        lines=200,
        deadline=30.5,
        killed_at=None,
        next=book.OrderKnown({}, Occasion("ready", 1)),
    )


def body(pool: Pool) -> Body:
    return Body(
        instance={"name": "shop"},
        services={"echo": known(pool)},
        strangers=3,
        has_reopened=True,
        feed=(15, 16, 2),
        runs=[run()],
    )


def full_pool() -> Pool:
    """A book in which all states and stages of the first version occur."""
    workers = [Worker(n, n, 1, State[name], 1.5, 0.5, pid=n, why="é") for n, name in enumerate(STATES, 1)]
    stages = [Generation(n, Stage[name], 2.0, why="") for n, name in enumerate(STAGES, 1)]
    return Pool(
        "echo",
        Wanted(3, Bounds(1, 4), asked=Bounds(2, 2), scaled=-1, resized_by=2, phase=Phase.QUICK),
        serving=2,
        generations={generation.number: generation for generation in stages},
        workers={worker.slot: worker for worker in workers},
        backoff=Backoff(failures=3, failed_at=7.25, crash_tokens=Bucket(2.5, 7.0)),
        door=Door.REFUSING,
        last_load=Outcome(3.0, None, "no"),
    )


def survives(simulation: Simulation, decision: Decision) -> None:
    """What is known now is what the next image would know."""
    before = body(simulation.pool)
    assert book.read(book.write(header(), before)) == (header(), before)


@pytest.mark.parametrize("seed", range(5))
def test_the_book_of_any_moment_survives(seed: int) -> None:
    """Through boot, deaths, refusals, a reload and a stop."""
    code = Code(dies_starting=2, dies_ready=2, leaves=1, wears=5, sticks=1, ignores_retirement=2, requests_a_second=5)
    world = World(seed=seed, refused=1)
    simulation = Simulation(fresh(5), Policy(drain=5.0, boot=5.0, request_hard=2.0), world, watchers=[survives])
    simulation.settle().become(code)
    simulation.run(simulation.now + 10)
    simulation.ask(ReloadAsked, configured=fixed(3)).calm_at = simulation.now + 10
    simulation.run()
    simulation.ask(StopAsked, phase=Phase.DRAINING).run()
    assert simulation.pool.is_finished


def test_what_is_left_of_the_admin_process_is_read() -> None:
    """Its listener, who is to go, and how often it was started anew; a header from before it has none."""
    listening = Listening("tcp://127.0.0.1:0", "tcp://127.0.0.1:9190", 18)
    held = AdminHeld(listening, restarts=3, pid=4714, pidfd=19)
    written = book.write(replace(header(), admin=held), body(full_pool()))
    assert book.read(written)[0].admin == held
    assert book.read(book.write(header(), body(full_pool())))[0].admin is None


def test_a_header_of_this_version_can_be_read_for_ever() -> None:
    """As it was first written; never change this line, for a running master may have written it."""
    line = (
        b'{"pid":1,"package":"0.1.0","body":1,"protocol":1,"name":"shop-2","holder":3,"lifeline":[4,5],"log":2,'
        b'"signals":6,"mask":[34],"limit":1024,"started_at":12.5,'
        b'"control":{"bind":"","address":"unix:@prefork/0/shop-2/control","fd":7,"inode":null},'
        b'"clients":[{"fd":11,"input":"{\\u0000\xc3\xbf","waits":true,"progress":false}],'
        b'"descriptors":[3,4,5,6,7,8,9,10,11],"services":{"echo":{'
        b'"listeners":[{"bind":"tcp://127.0.0.1:0","address":"tcp://127.0.0.1:43211","fd":9,"inode":[1,2]}],'
        b'"kick":8,"workers":[{"slot":1,"order":4,"generation":2,"pid":4711,"pidfd":10}],'
        b'"molds":[{"generation":2,"pid":4712,"pidfd":-1}],'
        b'"serving":2,"last_generation":3,"next_order":5,"scaled":-1}}}'
    )
    assert book.read(line)[0] == header(body=1, protocol=1)


def test_odd_bytes_in_a_reason_do_not_keep_anybody_from_going_on() -> None:
    """Of a file name in a traceback, say: they are escaped."""
    pool = Pool("echo", Wanted(1, fixed(1)), last_load=Outcome(1.0, 2, "cannot read caf\udce9"))
    _, read = book.read(book.write(header(), body(pool)))
    assert read is not None
    assert read.services["echo"].pool == replace(pool, last_load=Outcome(1.0, 2, "cannot read caf\\udce9"))


# A body as each version writes it. Where it does not mean the same any more: raise BODY, and add another.
BODIES = {
    2: (
        "eJzNls1u4zYQx/VhpUXRzz301F6KPkUPjdFTD32DHgxaHNmCZVLlUPG6lyZZ7C6QU+PmAYJEki0nTV/BSHoo4PYNikUfYY+9pUPRsr3NycAeooNESf"
        "PnzI8ccvhiFgvUTIRwlAs2hBz7Mp0hqIM4BDzKIezLkzyVMnnlfGotzKdyxIQGflKEMhPan4dSRHEvU8AnbqtgOKCG55UYsgT4/VwBxj8C73TH3rrN"
        "9PL+tVNf8x4IUEzHUrhF2mcIXoExxbR0Vtd8AJBih0upbqd1dKLnlaEc0nNRpUp2a/Xit4Sh7my6c642bXzhvixFNuyCcgti7oG78tJeeblMY764HP"
        "XH52UiEQGdqxg7CiKpCOjWa+SelXu7yf1G7lu5v5u81chbVt7aTR408sDKg93ke418z8r3dpNPR+ap8Ln7ynmSYyK1W0jFaSbemHvqWq9nZf/f1dzX"
        "hjZj9v+x32YKGB/Tl4Vx7F4P2VNy9kMGqNGZmjeKcZ095RCGUo2f5Sgj7eR9pjgZAUNK2MsM0cR9cVddxZTTSmUpZbZzs/ViPDd9VVomvEMEI6ciQp"
        "4NU+KboZbS2C3mIxC6I8V2fnsNtGehvYfQ3s7Q3iOH9hto30L7D6H9naH9Rw7daqBbFrr1ELq1M3TrkUMHDXRgoYOH0MHO0MEjh64SiLQ8oD3tcC7g"
        "Kf2ut7Npl4UDGUUns4jFCcWCfmVa1mH7cyuuN8obctUdrxFvp6Fi2Kcwcx7T/bp+7Wg5AIHHRQIHkCzbLdvBhensM9u+5sD0/w1/er0xbDBpgKMMWY"
        "LOr3WLYqLiHSdrptzUV29u7p036+80zIgwipzSwixuOPQU49RFbbio6sKbSMaf1bG9u5rnTSbU1eFCyNIWhUWR0ZFBOytq/PkahqDIPBxvD/MVG7EB"
        "rKJpPtL5RGuq/HhcakYafcm++qYe+UT2gsJEgUfe0fZPo6C4vTylOCdn77nB3863zlu6jt458xznLXZYdCXl8/tFwgRguxQANNLHBEHnLI7L9pfWLE"
        "cAMZks95std7Kux3SOilPA0+PSrCpQH1QKhiwW1Pw9+P6L7+C+SFms8PT51hSZ0YnVh2YNmDEEfnfZl6Nz8x5SVac1UaFWTPQo6/1rOqdR8sqU5Pwu"
        "jyjGXz762MtVJvD0ZLo6QtanRbstHK+nbXtmZjIMGZLzM4rUePUq1mWCS+qV1q/ZCv56EhMNj/gnK5j7LRj3vkhiGqU//5jROuCmvWx/fVgPQjWIE7"
        "vyFrlZo5sIDjdui3rbcc/P/wPOpB/O"
    ),
}


def test_a_body_means_what_its_version_says() -> None:
    """Fields that are added have defaults, members of enumerations come last; all else is another version."""
    text = zlib.decompress(base64.b64decode(BODIES[book.BODY]))
    assert msgspec.msgpack.decode(text, type=Body) == body(full_pool())


@pytest.mark.parametrize("other", [header(body=book.BODY + 1), header(protocol=PROTOCOL + 1)])
def test_of_another_version_the_header_is_read(other: Header) -> None:
    """Its body is not looked at, nor are the fields of the header that this one does not know."""
    text = book.write(other, body(full_pool()))
    assert book.read(text) == (other, None)
    assert book.read(text.replace(b'{"pid"', b'{"of_tomorrow":[1],"pid"', 1)) == (other, None)


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_body_that_is_damaged_is_not_read(cut: int) -> None:
    text, rest = book.write(header(), body(full_pool())).split(b"\n", 1)
    assert book.read(text + b"\n" + rest[:cut]) == (header(), None)


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b"\xff\xfe", b'{"pid":"x"}\n'])
def test_what_is_no_book_is_told_from_one(text: bytes) -> None:
    with pytest.raises(book.UnreadableError, match="no book of a master"):
        book.read(text)


@pytest.mark.parametrize("number", range(len(SERVICES)))
def test_settled_settings_are_not_settled_again(number: int) -> None:
    """What was left out and found is not taken for something that was said."""
    settings = service(number)
    values = msgspec.msgpack.decode(msgspec.msgpack.encode(book.plain(settings)))
    again = book.service_of(values)
    assert again == settings
    assert [type(getattr(again, name)) for name in again.__struct_fields__] == [
        type(getattr(settings, name)) for name in settings.__struct_fields__
    ]
    instance = Instance(service={"echo": settings}, name="shop", log_file="log", is_named=True)
    assert book.instance_of(book.plain(instance), {"echo": again}) == instance


def test_settings_of_another_version_are_completed_and_cut() -> None:
    """What this one does not know is left out, and what it knows besides is as by default."""
    values = {**book.plain(service(0)), "of_tomorrow": 1}
    del values["backlog"]
    assert book.service_of(values) == service(0)
