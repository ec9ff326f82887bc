"""The pages of rings and gossip in a real browser, over two processes that gossip."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import Browser
from tests.e2e.processes import Process, free_port, mimir_rw, request

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

GONE = "distributor-of-the-test"
PAGES = ("/", "/ring", "/ring?tokens=true", "/ingester/ring", f"/distributor/ring?forget={GONE}", "/memberlist")


@pytest.fixture
def browser() -> Iterator[Browser]:
    driven = Browser()
    yield driven
    driven.close()


def member(directory: Path, gossip: int, join: int, *flags: str) -> Process:
    directory.mkdir()
    return mimir_rw(
        directory, "-memberlist.bind-addr=127.0.0.1", f"-memberlist.bind-port={gossip}",
        f"-memberlist.join=127.0.0.1:{join}", "-common.instance-addr=127.0.0.1",
        "-server.grpc-listen-address=127.0.0.1", f"-server.grpc-listen-port={free_port()}",
        "-distributor.ring.heartbeat-timeout=3s", "-distributor.ring.heartbeat-period=1s",
        "-memberlist.message-history-buffer-bytes=100000", *flags,
    )  # fmt: skip


def wait_for(what: str, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline, f"not seen: {what}"
        time.sleep(0.1)


def members(server: Process, ring: str) -> dict[str, str]:
    """State by id, as one process sees them."""
    answer = request(f"{server.url}/{ring}/ring", headers={"accept": "application/json"})
    return {shard["id"]: shard["state"] for shard in answer.json()["shards"]}


@pytest.fixture
def pair(tmp_path: Path, keep: Callable[[Process], Process]) -> tuple[Process, Process]:
    """A whole process, and one that is to go for good."""
    first, second = free_port(), free_port()
    whole = keep(
        member(
            tmp_path / "whole", first, second, "-common.instance-id=whole",
            "-ingester.ring.instance-availability-zone=zone-a",
        )
    )  # fmt: skip
    going = keep(member(tmp_path / "going", second, first, "-target=distributor", f"-common.instance-id={GONE}"))
    whole.start()
    going.spawn()
    wait_for("the other distributor", lambda: GONE in members(whole, "distributor"))
    return whole, going


def test_forget_by_clicks(pair: tuple[Process, Process], browser: Browser) -> None:
    whole, going = pair
    going.kill()
    wait_for("its heartbeat missing", lambda: members(whole, "distributor")[GONE] == "UNHEALTHY")
    browser.open(f"{whole.url}/distributor/ring?refresh=off")
    assert "UNHEALTHY" in browser.text()
    browser.click(f"//tr[contains(., '{GONE}')]//a[text()='Forget']")
    assert f"Forget {GONE}?" in browser.text()
    browser.click("//a[text()='Cancel']")
    assert GONE in browser.text()
    browser.click(f"//tr[contains(., '{GONE}')]//a[text()='Forget']")
    browser.click("//button")
    wait_for("the ring again", lambda: "Ring of distributors" in browser.text())
    assert browser.run("return location.pathname") == "/distributor/ring"
    wait_for("it being forgotten", lambda: GONE not in members(whole, "distributor"))
    browser.open(f"{whole.url}/memberlist?viewKey=collectors/distributor&format=json-pretty")
    assert '"LEFT"' in browser.text()
    assert request(f"{whole.url}/distributor/ring", data=b"forget=whole").status == 403
    assert "whole" in members(whole, "distributor")


def test_pages_fit_and_are_legible(pair: tuple[Process, Process], browser: Browser) -> None:
    """Nothing is wider than the window, the stylesheet is there, and light and dark differ."""
    whole, _ = pair
    for path in PAGES:
        grounds = {}
        for scheme in ("light", "dark"):
            browser.prefer(scheme)
            for width in (500, 1100, 1500):
                browser.resize(width, 900)
                browser.open(whole.url + path)
                assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), (path, width)
                hidden = "return [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
                assert browser.run(f"{hidden}.length") == 0, (path, width)
            grounds[scheme] = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert grounds["light"] == "rgb(255, 255, 255)"
        assert grounds["dark"] != grounds["light"]


def test_a_page_loads_itself_anew(pair: tuple[Process, Process], browser: Browser) -> None:
    whole, going = pair
    browser.open(f"{whole.url}/ring")
    assert GONE in browser.text()
    going.kill()
    wait_for("the loss without a click", lambda: "UNHEALTHY" in browser.text())
    browser.click("//a[text()='stop']")
    assert "refresh=off" in browser.run("return location.search")
    assert not browser.run("return !!document.querySelector('meta[http-equiv=refresh]')")
