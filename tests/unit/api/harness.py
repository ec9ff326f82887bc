"""The whole ASGI application over fakes of the contracts, driven without a socket."""

import asyncio
from dataclasses import dataclass, field

from mimir_rw._native import LabelFrame
from mimir_rw.api.admin import AdminApi, ConfigTexts, Link
from mimir_rw.api.application import Application
from mimir_rw.api.endpoint import HttpMetrics, Surroundings
from mimir_rw.api.ingester_pages import IngesterPages
from mimir_rw.api.push import PushApi
from mimir_rw.api.query import QueryApi
from mimir_rw.api.routes import Prefixes
from mimir_rw.api.tenant import TenantResolver
from mimir_rw.api.traffic import TrafficGate
from mimir_rw.config.limits import Limits, TenantLimits
from mimir_rw.formats.block_meta import BlockMeta
from mimir_rw.kit.logging import get_logger
from mimir_rw.kit.metrics import Metrics
from mimir_rw.kit.offload import InlineOffload
from mimir_rw.kit.rng import seeded_rng
from mimir_rw.kit.service import ServiceSet
from mimir_rw.model.exemplars import Exemplar, SeriesExemplars
from mimir_rw.model.labels import Matcher, MatchType
from mimir_rw.promql.ast import Span
from mimir_rw.promql.errors import ParseError
from mimir_rw.rpc.contracts.distributor import Written
from mimir_rw.rpc.contracts.ingester import MetricMetadata, TenantStats

NOW_MS = 1_700_000_000_000


class StillClock:
    def now_ms(self):
        return NOW_MS

    def monotonic(self):
        return 0.0


class FakeDistributor:
    def __init__(self):
        self.pushed = []
        self.versions = []
        self.written = Written(3, 2, 1)
        self.error = None
        self.gate = None

    async def push_remote_write(self, tenant, body, *, version=1):
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.pushed.append((tenant, body))
        self.versions.append(version)
        return self.written

    async def all_user_stats(self):
        return [TenantStats("b<", 1.5, 10), TenantStats("a", 2, 2000)]


class FakeQueries:
    def __init__(self):
        self.calls = []
        self.error = None
        self.answer = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
        self.hang = False
        self.cancelled = asyncio.Event()

    async def _take(self, *call):
        self.calls.append(call)
        if self.error is not None:
            raise self.error
        if self.hang:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise

    async def query(self, tenant, request):
        await self._take(tenant, request)
        return self.answer

    async def query_range(self, tenant, request):
        await self._take(tenant, request)
        return self.answer

    async def series(self, tenant, matcher_sets, mint, maxt):
        await self._take(tenant, matcher_sets, mint, maxt)
        return LabelFrame.from_rows([{"__name__": "a", "x": "<1>"}, {"__name__": "b"}])

    async def label_names(self, tenant, matcher_sets, mint, maxt):
        await self._take(tenant, matcher_sets, mint, maxt)
        return ["__name__", "x"]

    async def label_values(self, tenant, name, matcher_sets, mint, maxt):
        await self._take(tenant, name, matcher_sets, mint, maxt)
        return ["a", "b", "c"]

    async def exemplars(self, tenant, matcher_sets, mint, maxt):
        await self._take(tenant, matcher_sets, mint, maxt)
        exemplars = (Exemplar((("trace_id", "<7>"),), 1.5, 1_600_000_000_500), Exemplar((), 1e-7, -10))
        return [SeriesExemplars((("__name__", "a"), ("x", "é")), exemplars)]

    async def metadata(self, tenant, metric=None):
        await self._take(tenant, metric)
        return [
            MetricMetadata("up", "gauge", "Is it <up>?", ""),
            MetricMetadata("up", "counter", "", ""),
            MetricMetadata("down", "gauge", "", "s"),
        ]


@dataclass
class Head:
    tenant: str
    series: int
    owned_series: int
    min_time_ms: int | None
    max_time_ms: int | None
    oldest_only_here_ms: int | None = None
    blocks: tuple[object, ...] = ()
    quarantined: tuple[tuple[str, str], ...] = ()


@dataclass
class Block:
    meta: BlockMeta
    shipped: bool


ULID = "01EJ0000000000000000000001"


class FakeHeads:
    def __init__(self) -> None:
        self.shutdown_prepared = False
        self.flushed: list[object] = []

    def heads(self):
        block = Block(BlockMeta(ULID, 0, 7_200_000), shipped=True)
        hurt = (("01EJ0000000000000000000002", "<bad checksum>"),)
        return [
            Head("a/b", 3, 2, 0, 1500, 500, (block,), hurt),
            Head("<script>", 0, 0, None, None),
        ]

    async def prepare_shutdown(self, prepared):
        self.shutdown_prepared = prepared

    async def flush(self, tenants):
        self.flushed.append(("waited", tenants))
        return True

    def flush_soon(self, tenants):
        self.flushed.append(("soon", tenants))

    def broken(self):
        return [("<hurt>", "segment & so on")]


@dataclass
class Report:
    status: str = "idle"
    step: int = 0
    doing: str = ""
    since_ms: int = 0
    waiting: tuple[tuple[str, str], ...] = ()
    tenants: int = 0
    blocks: int = 0
    record: str = ""


class FakeLeaving:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error = None
        self.now = Report()

    def report(self):
        return self.now

    async def leave(self):
        self.calls.append("leave")
        if self.error is not None:
            raise self.error

    async def abort(self):
        self.calls.append("abort")


class FakePlace:
    unregister_on_shutdown = False
    unregisters_by_default = False
    read_only_since_s = 0

    async def set_read_only(self, read_only):
        self.read_only_since_s = 1_700_000_000 if read_only else 0


def parse_selector(text):
    if text == "{}":
        return ()
    if not text.startswith("{") and not text.isidentifier():
        raise ParseError("unexpected character", span=Span(0, 1), query=text)
    return (Matcher(MatchType.EQUAL, "__name__", text),)


def format_query(text):
    if text == "":
        raise ParseError("no expression found in input", span=Span(0, 0), query=text)
    return text.upper()


@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes
    started: bool = True


@dataclass
class Site:
    """One application and what stands behind it."""

    distributor: FakeDistributor
    queries: FakeQueries
    metrics: Metrics
    traffic: TrafficGate
    application: Application
    services: ServiceSet = field(default_factory=lambda: ServiceSet([], {}))
    heads: FakeHeads = field(default_factory=FakeHeads)
    place: FakePlace = field(default_factory=FakePlace)
    leaving: FakeLeaving = field(default_factory=FakeLeaving)

    async def request(self, method, target, *, headers=None, body=b"", chunks=None, tenant="t1", disconnect=None):
        """disconnect: an event; the client goes away once it is set."""
        path, _, query = target.partition("?")
        sent = [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()]
        if method == "POST" and not any(name == b"content-type" for name, _ in sent):
            sent.append((b"content-type", b"application/x-www-form-urlencoded"))
        if tenant is not None:
            sent.append((b"x-scope-orgid", tenant.encode()))
        parts = list(chunks if chunks is not None else ([body] if body else []))
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages.append({"type": "http.request", "body": b"", "more_body": False})
        out = []

        async def receive():
            if messages:
                return messages.pop(0)
            await (disconnect or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message):
            out.append(message)

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": sent,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8080),
            "state": {},
        }
        await self.application(scope, receive, send)
        if not out:
            return Reply(0, {}, b"", started=False)
        start = out[0]
        assert start["type"] == "http.response.start"
        reply = {k.decode(): v.decode() for k, v in start["headers"]}
        content = b"".join(m.get("body", b"") for m in out[1:])
        assert len(content) == int(reply["content-length"])
        return Reply(start["status"], reply, content)

    async def get(self, target, **more):
        return await self.request("GET", target, **more)


def build_site(
    *,
    multitenancy=True,
    body_bytes_max=1000,
    bodies_bytes_max=0,
    form_bytes_max=1000,
    prefixes=None,
    services=None,
    limits=None,
    cluster=None,
    gossip=None,
    start_seconds_max=0.01,
    distributor=None,
    more=None,
):
    """more: further components. cluster, gossip: what serves the pages of rings and of gossip; without them there are
    none. distributor: in the place of the fake one."""
    metrics = Metrics()
    clock = StillClock()
    offload = InlineOffload()
    traffic = TrafficGate(delay_s=0, graceful_s=5)
    traffic.open = True
    services = services or ServiceSet([], {})
    around = Surroundings(
        clock=clock,
        offload=offload,
        metrics=HttpMetrics(metrics),
        tenants=TenantResolver(multitenancy=multitenancy, no_auth_tenant="anonymous"),
        traffic=traffic,
        log=get_logger(),
        rng=seeded_rng(1),
        start_seconds_max=start_seconds_max,
    )
    distributor, place, heads = distributor or FakeDistributor(), FakePlace(), FakeHeads()
    leaving = FakeLeaving()
    queries = FakeQueries()
    prefixes = prefixes or Prefixes()
    root = prefixes.root
    components = {
        "server": AdminApi(
            services=services,
            configs=ConfigTexts(config=lambda mode: f"mode: {mode}\n", runtime=None),
            tenant_limits=lambda tenant: {"ingestion_rate": 7, "tenant": tenant},
            metrics=metrics,
            offload=offload,
            links=[Link("/ready", "Readiness", "server")],
            root=root,
        ),
        "distributor": PushApi(
            distributor=distributor,
            stats=distributor,
            limits=limits or Limits(defaults=TenantLimits()),
            body_bytes_max=body_bytes_max,
            bodies_bytes_max=bodies_bytes_max,
            retry_after_s=lambda status, attempt: 6 * 2**attempt if status == 429 or status >= 500 else None,
            root=root,
        ),
        "query-frontend": QueryApi(
            service=queries,
            parse_selector=parse_selector,
            format_query=format_query,
            selectors=lambda text: [parse_selector(each) for each in text.split("+") if not each.isdigit()],
            parse_query=lambda text: {"type": "stringLiteral", "val": format_query(text)},
            clock=clock,
            offload=offload,
        ),
        "ingester": IngesterPages(ingester=heads, place=lambda: place, leaving=lambda: leaving, root=root),
        **(more or {}),
    }
    components |= {name: pages for name, pages in (("cluster", cluster), ("gossip", gossip)) if pages is not None}
    application = Application(components=components, prefixes=prefixes, form_bytes_max=form_bytes_max, around=around)
    return Site(distributor, queries, metrics, traffic, application, services, heads, place, leaving)
