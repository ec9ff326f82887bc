"""The life of a service and of the set of services that makes up a process.

    New ──start()──► Starting ──start_up ok──► Running ──stop()──► Stopping ──shut_down ok──► Terminated
                         │                        │                    │
                         └── start_up raises ─────┴── a task fails ────┴── shut_down raises ──► Failed

A service overrides `start_up` and `shut_down`, and starts its background work with `self.tasks.spawn`; a task that
raises fails the service. `shut_down` runs once in either case, with the tasks still alive; they are cancelled after it.
Everything here runs on one event loop.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence

from mimir_rw.kit.tasks import TaskSupervisor


class ServiceState(enum.Enum):
    NEW = "New"
    STARTING = "Starting"
    RUNNING = "Running"
    STOPPING = "Stopping"
    TERMINATED = "Terminated"
    FAILED = "Failed"


_ENDED = (ServiceState.TERMINATED, ServiceState.FAILED)


class ServiceFailed(Exception):
    """A service did not start, or failed while running. `service` is its name; `__cause__` says why."""

    def __init__(self, service: str, cause: BaseException) -> None:
        super().__init__(f"{service}: {cause or type(cause).__name__}")
        self.service = service
        self.__cause__ = cause


class Service:
    """Base of everything that lives as long as the process. `name` is what /services shows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.state = ServiceState.NEW
        self.failure: BaseException | None = None
        self.on_change: Callable[[Service], None] | None = None
        self.tasks: TaskSupervisor
        self.__stop = asyncio.Event()
        self.__changed = asyncio.Event()

    async def start_up(self) -> None:
        """Become able to serve; returning means Running. Cancelled when the process is told to stop meanwhile."""

    async def shut_down(self) -> None:
        """Stop serving and give up what `start_up` took, as far as it got. Background tasks are still alive."""

    def readiness(self) -> str | None:
        """Why a Running service is not ready to take work, or None. For conditions that come and go; /ready asks it.

        A service that is starting may tell its progress here too.
        """
        return None

    def request_stop(self) -> None:
        """Ask a Running or Starting service to stop. Returns at once; may be called often."""
        self.__stop.set()

    async def wait_state(self, *states: ServiceState) -> ServiceState:
        """Wait until the service is in one of `states` or has ended; the state it is in then."""
        while self.state not in states and self.state not in _ENDED:
            changed = self.__changed
            await changed.wait()
        return self.state

    async def live(self) -> None:
        """Run the whole life from New to its end. Never raises; the outcome is `state` and `failure`."""
        assert self.state is ServiceState.NEW, f"{self.name} lives twice"
        self.tasks = TaskSupervisor()
        self._enter(ServiceState.STARTING)
        failure = await self._run_until_stop()
        self._enter(ServiceState.STOPPING)
        try:
            await self.shut_down()
        except Exception as error:
            failure = failure or error
        await self.tasks.cancel()
        self.failure = failure
        self._enter(ServiceState.TERMINATED if failure is None else ServiceState.FAILED)

    def abandon(self) -> None:
        """End without ever having started."""
        assert self.state is ServiceState.NEW
        self._enter(ServiceState.TERMINATED)

    async def _run_until_stop(self) -> BaseException | None:
        """start_up and Running, until a stop is asked for (None) or something fails (what it raised)."""
        stop = asyncio.ensure_future(self.__stop.wait())
        failed = asyncio.ensure_future(self.tasks.wait_failure())
        starting = asyncio.ensure_future(self.start_up())
        try:
            await asyncio.wait((starting, stop, failed), return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not starting.cancelled() and (error := starting.exception()) is not None:
                return error
            if starting.done() and not stop.done() and not failed.done():
                self._enter(ServiceState.RUNNING)
                await asyncio.wait((stop, failed), return_when=asyncio.FIRST_COMPLETED)
            return failed.result() if failed.done() else None
        finally:
            for future in (starting, failed, stop):
                future.cancel()
            await asyncio.wait((starting, failed, stop))

    def _enter(self, state: ServiceState) -> None:
        self.state = state
        self.__changed.set()
        self.__changed = asyncio.Event()
        if self.on_change is not None:
            self.on_change(self)


class ServiceSet:
    """Starts services after those they depend on and stops them in the reverse order.

    dependencies: service name → names that must be Running before it starts; names not in the set are ignored.
    When one fails, all stop in order and `run` raises ServiceFailed.
    """

    def __init__(self, services: Sequence[Service], dependencies: Mapping[str, Sequence[str]]) -> None:
        self.services = tuple(services)
        self._by_name = {service.name: service for service in services}
        assert len(self._by_name) == len(self.services), "two services have one name"
        self._needs = {
            name: tuple(d for d in dependencies.get(name, ()) if d in self._by_name) for name in self._by_name
        }
        self._needed_by = {name: self._dependents(name) for name in self._by_name}
        self._stop = asyncio.Event()
        self.running = asyncio.Event()
        """Set once every service is Running."""

    def request_stop(self) -> None:
        """Stop everything in order. May be called often, and before `run`."""
        self._stop.set()

    async def run(self) -> None:
        """Live until `request_stop` or a failure; returns when every service has ended."""
        lives = [asyncio.ensure_future(self._live(service)) for service in self.services]
        stopper = asyncio.ensure_future(self._stop_in_order())
        watcher = asyncio.ensure_future(self._watch_running())
        try:
            await asyncio.wait(lives)
        finally:
            for future in (*lives, stopper, watcher):
                future.cancel()
            await asyncio.wait((*lives, stopper, watcher))
        for service in self.services:
            if service.failure is not None:
                raise ServiceFailed(service.name, service.failure)

    def not_ready(self) -> str | None:
        """Why the process is not ready, naming each service that is not Running or says so itself; None if ready."""
        reasons = []
        for service in self.services:
            detail = service.readiness()
            if service.state is not ServiceState.RUNNING:
                reasons.append(f"{service.name}: {service.state.value}" + (f" ({detail})" if detail else ""))
            elif detail:
                reasons.append(f"{service.name}: {detail}")
        return ", ".join(reasons) or None

    async def _live(self, service: Service) -> None:
        if await self._dependencies_run(service):
            await service.live()
        else:
            service.abandon()
        # Whether it failed or was asked to: a process with a part missing goes down as a whole.
        self._stop.set()

    async def _dependencies_run(self, service: Service) -> bool:
        """Wait until all that the service needs is Running. False when that will not be, or a stop was asked for."""
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            for name in self._needs[service.name]:
                waiting = asyncio.ensure_future(self._by_name[name].wait_state(ServiceState.RUNNING))
                await asyncio.wait((waiting, stop), return_when=asyncio.FIRST_COMPLETED)
                if stop.done() or waiting.result() is not ServiceState.RUNNING:
                    waiting.cancel()
                    return False
        finally:
            stop.cancel()
        return not self._stop.is_set()

    def _dependents(self, name: str) -> tuple[str, ...]:
        """All that need `name`, directly or through others: a failed one in between does not end their need."""
        found: dict[str, None] = {}
        waiting = [name]
        while waiting:
            of = waiting.pop()
            new = [other for other, needs in self._needs.items() if of in needs and other not in found]
            found.update(dict.fromkeys(new))
            waiting.extend(new)
        return tuple(found)

    async def _stop_in_order(self) -> None:
        await self._stop.wait()
        await asyncio.gather(*(self._stop_after_dependents(service) for service in self.services))

    async def _stop_after_dependents(self, service: Service) -> None:
        for name in self._needed_by[service.name]:
            await self._by_name[name].wait_state(*_ENDED)
        service.request_stop()

    async def _watch_running(self) -> None:
        for service in self.services:
            if await service.wait_state(ServiceState.RUNNING) is not ServiceState.RUNNING:
                return
        self.running.set()
