"""The front door over real sockets: links, cookies, tokens, names, origins; each check is shown to be what refuses."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.browser import Browser
from tests.integration.gateway.conftest import GATEWAY, INVENTORY, House
from virtyard.gateway.door import Door
from virtyard.gateway.port import bind
from virtyard.gateway.sessions import SESSION_LIFETIME
from virtyard.kernel.errors import InvalidRequest, WrongState

LIST = f"/{INVENTORY}/ListServers"
SESSION = f"/{GATEWAY}/GetSession"


async def test_a_link_lets_one_browser_in_once(house: House) -> None:
    """It is swapped for a cookie that no script sees and no other site sends, and is void from then on."""
    link = await house.link()
    opened = await house.stranger.send("GET", link)
    assert (opened.status, opened.headers["location"]) == (303, "/")
    cookie, *attributes = opened.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert link.partition("=")[2] not in str(opened.headers)
    page = Browser(address=house.address, headers={"cookie": cookie, "origin": f"http://{house.address}"})
    who = await page.call(SESSION)
    until = datetime.fromisoformat(who.json().pop("expireTime"))
    assert abs(until - datetime.now(UTC) - SESSION_LIFETIME) < timedelta(minutes=1)
    assert (who.json()["principal"], who.json()["roles"]) == ("user/admin", ["ROLE_ADMINISTRATOR"])
    again = await house.stranger.send("GET", link)
    assert again.status == 403
    assert "opened before" in again.body.decode()
    assert "set-cookie" not in again.headers


async def test_strangers_are_refused(house: House) -> None:
    """Whoever shows nothing good is told so by code and reason, over HTTP."""
    shown = {"authorization": ["Bearer nonsense", "Basic x", "Bearer"], "cookie": ["virtyard_session_1=x", "a b;=c"]}
    for headers in ({}, *({name: value} for name, values in shown.items() for value in values)):
        answer = await house.stranger.call(LIST, **headers)
        assert (answer.status, answer.json()["code"]) == (401, "unauthenticated"), headers
        assert "virtyard console" in answer.json()["message"]


async def test_secrets_of_one_kind_are_not_good_as_another(house: House) -> None:
    """A link is no API token, and neither a session nor an API token opens as a link."""
    link = (await house.link()).partition("=")[2]
    assert (await house.stranger.call(LIST, authorization=f"Bearer {link}")).status == 401
    assert (await house.stranger.send("GET", f"/?token={house.api_token}")).status == 403
    page = await house.signed_in()
    session = page.headers["cookie"].partition("=")[2]
    assert (await house.stranger.call(LIST, authorization=f"Bearer {session}")).status == 401


async def test_other_names_do_not_lead_here(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that somebody else's DNS has lead here is refused, whatever is shown; without the check it is not."""
    for host in ("attacker.example", f"attacker.example:{house.address.rpartition(':')[2]}", "127.0.0.1"):
        assert (await house.program.call(LIST, host=host)).status == 421
    for host in ("127.0.0.1", "localhost", "[::1]"):
        assert (await house.program.call(LIST, host=f"{host}:{house.address.rpartition(':')[2]}")).status == 200
    monkeypatch.setattr(Door, "knows_host", lambda *_: True)
    assert (await house.program.call(LIST, host="attacker.example")).status == 200


async def test_pages_of_other_sites_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cookie is good only with this very origin, also where a browser sends none; without the check it would be."""
    page = await house.signed_in()
    assert (await page.call(LIST)).status == 200
    assert (await page.call(LIST, origin="")).status == 403
    assert (await page.call(LIST, origin="", sec_fetch_site="same-origin")).status == 200
    for origin in ("http://attacker.example", f"https://{house.address}", "null", "http://127.0.0.1:1"):
        answer = await page.call(LIST, origin=origin)
        assert (answer.status, answer.json()["code"]) == (403, "permission_denied")
        assert (await house.program.call(LIST, origin=origin)).status == 403
    cookie = page.headers["cookie"].partition("=")[2]
    monkeypatch.setattr(Door, "grant_of", lambda door, _: door._sessions.of_cookie(cookie))
    assert (await page.call(LIST, origin="http://attacker.example")).status == 200


async def test_nothing_allows_other_sites_to_read(house: House) -> None:
    """No answer has a header of CORS, asked for or not, and nothing that changes something answers a GET."""
    page = await house.signed_in()
    asked = await page.send("OPTIONS", LIST, origin="http://attacker.example", access_control_request_method="POST")
    assert asked.status == 403
    got = await page.send("GET", f"{LIST}?encoding=json&message=%7B%7D")
    assert got.status == 405
    for answer in (asked, got, await page.call(LIST)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_only_public_methods_are_there(house: House) -> None:
    """Rpcs for services and agents are not even refused by role: here they do not exist."""
    for path in (
        "/virtyard.api.locks.v1.LockService/Acquire",
        "/virtyard.api.agent.v1.AgentService/GetHost",
        "/virtyard.internal.inventory.v1.ControlService/View",
        "/virtyard.api.participant.v1.ParticipantService/Execute",
    ):
        assert (await house.program.call(path)).status == 404
        channel = house.channel()
        async with channel:
            with pytest.raises(Exception, match="UNIMPLEMENTED"):
                await channel.unary_unary(path, bytes, bytes)(b"", metadata=house.bearer)


async def test_logs_have_no_secret(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """At the finest level, with links opened and refused, no secret is logged."""
    with caplog.at_level(logging.DEBUG):
        link = await house.link()
        for path in (link, link, f"{link}x"):
            await house.stranger.send("GET", path)
        await (await house.signed_in()).call(LIST)
        await house.program.call(LIST)
    said = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
    for secret in (link.partition("=")[2], house.api_token):
        assert secret not in said


def secrets_of(page: Browser, house: House) -> set[str]:
    """Return the secrets that one browser and one program have."""
    return {page.headers["cookie"].partition("=")[2], house.api_token}


async def test_only_digests_are_kept(house: House) -> None:
    """The file of sessions is its owner's, and holds nothing with which one could come in."""
    page = await house.signed_in()
    file = house.folder / "state" / "gateway" / "sessions.json"
    assert file.stat().st_mode & 0o077 == 0
    assert not [secret for secret in secrets_of(page, house) if secret in file.read_text()]


async def test_errors_have_their_details(house: House) -> None:
    """A refusal by a service is told as that service told it: code, words, and every detail by its type."""
    answer = await house.program.call(f"/{INVENTORY}/GetServer", {"name": "servers/none"})
    told: dict[str, Any] = answer.json()
    assert (answer.status, told["code"], told["message"]) == (404, "not_found", "servers/none does not exist")
    assert {detail["type"] for detail in told["details"]} == {"google.rpc.ErrorInfo", "google.rpc.ResourceInfo"}


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "example.org:0", "127.attacker.example:0"]
)
def test_only_loopback_is_listened_on(tmp_path: Path, listen: str) -> None:
    """Every other address is refused, and the refusal says what to do instead."""
    with pytest.raises(InvalidRequest, match=r"must be loopback.*ssh -L"):
        bind(listen, tmp_path / "port")


def test_the_port_is_that_of_the_last_time(tmp_path: Path) -> None:
    """With port 0 open tabs find it again; where it is taken meanwhile another one is found."""
    with bind("127.0.0.1:0", tmp_path / "port") as first:
        port = first.getsockname()[1]
        with bind("127.0.0.1:0", tmp_path / "port") as other:
            assert other.getsockname()[1] != port
        (tmp_path / "port").write_text(str(port))
        with pytest.raises(WrongState):
            bind(f"127.0.0.1:{port}", tmp_path / "port")
    with bind("127.0.0.1:0", tmp_path / "port") as again:
        assert again.getsockname()[1] == port
