import asyncio

from tests.unit.components.query_path import Directory, Line, Parts, running


async def test_a_querier_is_ready_while_a_query_scheduler_can_give_it_queries():
    parts = Parts()
    scheduler = parts.scheduler()
    line = Line(scheduler)
    directory = Directory({})
    querier = parts.querier("q", None, directory, lambda: None)
    async with running(scheduler, querier):
        assert querier.readiness() == "no query-scheduler can be reached"
        directory.replace({"s": line})
        async with asyncio.timeout(5):
            while querier.readiness() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0)
        line.alive = False
        assert querier.readiness() == "no query-scheduler can be reached"
        line.alive = True
