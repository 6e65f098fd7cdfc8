# SPDX-License-Identifier: Apache-2.0
"""The shells of the public pages: what they tell, to whom, under which policy; and the key that they carry."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from front import Site, code
from holdfirst import __version__
from holdfirst.store import booking_pages
from holdfirst.web import assets, booking_page
from holdfirst.web.assets import Asset, BuiltAssets, Chunk

BUILT = BuiltAssets(
    {
        booking_page.ENTRY: Chunk("main-1.js", [], ["_shared.js"]),
        "_shared.js": Chunk("shared-2.js", ["style-3.css"]),
        "../vue3/src/messages/de.json": Chunk("de-4.js"),
    },
    {
        "main-1.js": Asset(b"plain", {"br": b"brotli", "gz": b"gzipped"}, "text/javascript; charset=utf-8"),
        "embed.js": Asset(b"loader", {}, "text/javascript; charset=utf-8"),
    },
)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A front end of two files, whatever this tree has built."""
    for module in (assets, booking_page):
        monkeypatch.setattr(module, "built_assets", lambda: BUILT)
    return


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (assets, booking_page):
        monkeypatch.setattr(module, "built_assets", lambda: BuiltAssets({}, {}))


async def page_of(site: Site, **rules: Any) -> str:
    """The path of a page of an event type with these rules."""
    event_type = site.shop.event_type_id
    if rules:
        answer = await site.call("PATCH", f"/v1/event-types/{event_type}", rules)
        assert answer.status_code == 200, answer.text
    links = (await site.held())["links"]
    return str(links["page"]).removeprefix(site.shop.world.public_url)


def bootstrap_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="holdfirst">(.*?)</script>', page, re.DOTALL)
    assert found
    told: dict[str, Any] = json.loads(found[1])
    return told


@pytest.mark.usefixtures("built")
async def test_the_shell_loads_what_was_built(site: Site) -> None:
    answer = await site.get(await page_of(site), key=None)
    assert answer.status_code == 200
    assert '<script type="module" src="/assets/main-1.js">' in answer.text
    assert '<link rel="modulepreload" href="/assets/shared-2.js">' in answer.text
    assert '<link rel="stylesheet" href="/assets/style-3.css">' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.endswith("frame-ancestors *")
    assert "set-cookie" not in answer.headers


@pytest.mark.usefixtures("built")
async def test_the_shell_names_its_language_so_that_all_is_fetched_at_once(site: Site) -> None:
    path = await page_of(site)
    german = await site.get(path, key=None, headers={"accept-language": "de"})
    assert '<link rel="modulepreload" href="/assets/de-4.js">' in german.text
    assert "/assets/de-4.js" not in (await site.get(path, key=None)).text


@pytest.mark.usefixtures("built")
async def test_only_allowed_origins_may_frame_it(site: Site) -> None:
    path = await page_of(site, allowed_origins=["https://shop.example"])
    answer = await site.get(path, key=None)
    assert answer.headers["content-security-policy"].endswith("frame-ancestors 'self' https://shop.example")
    held = await site.held(11)
    managed = await site.get(f"/m/{held['id']}", key=None)
    assert managed.headers["content-security-policy"].endswith("frame-ancestors 'none'")


@pytest.mark.usefixtures("built")
async def test_no_name_ends_the_script_early(site: Site) -> None:
    name = "</script><script>alert(1)</script> & <b>"
    answer = await site.get(await page_of(site, name=name), key=None)
    assert bootstrap_of(answer.text)["event_type"]["name"] == name
    assert "<script>alert" not in answer.text


@pytest.mark.usefixtures("built")
async def test_the_pages_key_opens_its_event_type_and_no_other(site: Site) -> None:
    told = bootstrap_of((await site.get(await page_of(site), key=None)).text)
    key, event_type = told["key"], told["event_type"]["id"]
    assert key.startswith("hf_pk_page_")
    assert "payment_account" not in told["event_type"]
    assert (await site.get(f"/v1/event-types/{event_type}", key=key)).status_code == 200
    reserved = await site.post("/v1/reservations", site.wish(13), key=key)
    assert reserved.status_code == 201
    assert code(await site.get("/v1/event-types", key=key)) == (403, "forbidden_for_key")
    assert code(await site.get("/v1/event-types/another", key=key)) == (403, "forbidden_for_key")
    elsewhere = await site.post("/v1/reservations", site.wish(14) | {"event_type": "another"}, key=key)
    assert code(elsewhere) == (403, "forbidden_for_key")
    assert code(await site.get(f"/v1/reservations/{reserved.json()['id']}", key=key)) == (
        403,
        "forbidden_for_key",
    )
    for forged in (key[:-2] + "aa", key.replace(".", "x."), "hf_pk_page_", "hf_pk_page_.", "hf_pk_page_é"):
        answer = await site.get(f"/v1/event-types/{event_type}", key=None, params={"key": forged})
        assert code(answer) == (401, "unauthenticated")


@pytest.mark.usefixtures("built")
async def test_the_pages_key_ends_with_its_event_type(site: Site) -> None:
    told = bootstrap_of((await site.get(await page_of(site), key=None)).text)
    path = f"/v1/event-types/{told['event_type']['id']}"
    assert (await site.call("DELETE", path)).status_code == 204
    assert code(await site.get(path, key=told["key"])) == (401, "unauthenticated")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("path", "accepts", "language"),
    [
        ("", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "da, en;q=0.5, cs;q=0.7", "cs"),
        ("", "x;q=high,pl;q=0.2", "pl"),
        ("", "", "en"),
        ("?lang=ar", "de", "ar"),
        ("?lang=tlh", "fr", "fr"),
    ],
)
async def test_the_language_is_the_visitors(site: Site, path: str, accepts: str, language: str) -> None:
    answer = await site.get(await page_of(site) + path, key=None, headers={"accept-language": accepts})
    assert bootstrap_of(answer.text)["language"] == language
    direction = "rtl" if language == "ar" else "ltr"
    assert f'<html lang="{language}" dir="{direction}">' in answer.text


BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "accept-language": "de-AT,de;q=0.9"}


async def test_the_return_page_speaks_the_reservations_language_else_the_browsers(site: Site) -> None:
    held = await site.held(customer={"name": "Anna", "email": "anna@example.org", "locale": "ar"})
    answer = await site.get(f"/r/{held['id']}", key=None, headers=BROWSER)
    assert '<html lang="ar" dir="rtl">' in answer.text
    assert "لم تتم عملية الدفع" in answer.text
    plain = await site.held(11, customer={"name": "Anna", "email": "anna@example.org"})
    answer = await site.get(f"/r/{plain['id']}", key=None, headers=BROWSER)
    assert '<html lang="de" dir="ltr">' in answer.text
    assert "Accept-Language" in answer.headers["vary"]
    answer = await site.get(f"/r/{held['id']}?lang=ja", key=None, headers=BROWSER)
    assert '<html lang="ja" dir="ltr">' in answer.text


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/b/nobody/nothing", 404, "Hier gibt es nichts zu buchen"),
        ("/m/res_unknown", 404, "Diese Buchung gibt es nicht"),
        ("/r/res_unknown", 404, "Diese Seite gibt es nicht"),
        ("/nothing", 404, "Diese Seite gibt es nicht"),
        ("/b/only-one-part", 404, "Diese Seite gibt es nicht"),
        (
            "/r/res_x?" + "&".join(f"a{number}=1" for number in range(80)),
            400,
            "Diese Adresse ist nicht lesbar",
        ),
    ],
)
async def test_a_person_reads_of_what_is_not_there_in_words(
    site: Site, path: str, status: int, says: str
) -> None:
    answer = await site.get(path, key=None, headers=BROWSER)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert f'<h1 class="large">{says}</h1>' in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_a_program_reads_of_it_as_a_problem(site: Site) -> None:
    assert code(await site.get("/nothing", key=None)) == (404, "not_found")
    assert code(await site.get("/r/res_unknown", key=None)) == (404, "reservation_not_found")
    # The API is no place for people, whatever their browser asks for.
    assert code(await site.get("/v1/nothing", key=None, headers=BROWSER)) == (404, "not_found")
    assert code(await site.get("/v1/hosts", key=None, headers=BROWSER)) == (401, "unauthenticated")
    assert code(await site.call("POST", "/nothing", key=None, headers=BROWSER)) == (404, "not_found")


async def test_a_server_that_cannot_answer_says_so_in_words(site: Site) -> None:
    await site.shop.database.close()
    answer = await site.get("/r/res_x", key=None, headers=BROWSER)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "Einen Moment bitte" in answer.text


async def test_a_window_of_its_own_is_told_to_close_and_not_led_on(site: Site) -> None:
    held = await site.held(11)
    back = f"{site.shop.world.public_url}{await page_of(site)}?holdfirst=popup"
    path = f"/v1/reservations/{held['id']}/checkout"
    opened = await site.post(path, {"return_url": back}, key=held["client_secret"])
    assert opened.status_code == 200, opened.text
    answer = await site.get(f"/r/{held['id']}", key=None)
    assert answer.status_code == 200
    assert "You can close this window." in answer.text
    # Where it was the whole window after all, there is a way on.
    assert f'<a href="{back}&amp;reservation={held["id"]}" rel="noreferrer">Go on</a>' in answer.text


@pytest.mark.usefixtures("built")
async def test_a_host_has_a_page_too(site: Site) -> None:
    path = await page_of(site)
    slug = path.rsplit("/", 1)[1]
    [host, *_] = (await site.get("/v1/hosts")).json()["data"]
    told = bootstrap_of((await site.get(f"/b/{host['slug']}/{slug}", key=None)).text)
    assert told["host"] == host["id"]
    assert [one["id"] for one in told["hosts"]] == [host["id"]]
    assert (await site.get(f"/b/{host['slug']}/nothing", key=None)).status_code == 404
    assert (await site.get(f"/b/nobody/{slug}", key=None)).status_code == 404


async def test_which_page_a_path_names(site: Site) -> None:
    """Slugs are an account's own, and free again when what had them is deleted."""
    database, shop = site.shop.database, site.shop

    async def of_account(slug: str, name: str) -> str | None:
        found = await database.run(booking_pages.page_of_account, slug, name)
        return found and found[1]

    async def of_host(name: str) -> list[tuple[str, bool]]:
        rows = await database.run(booking_pages.pages_of_host, "host-0", name)
        return [(event_type, live) for _, event_type, _, live in rows]

    async def made(key: str, slug: str, host: str) -> str:
        body = {"name": "Talk", "slug": slug, "hosts": [host], "duration_minutes": 30}
        answer = await site.post("/v1/event-types", body, key=key)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    event_types = {"secret": shop.event_type_id}
    for key in ("live", "other"):
        body = {"name": "Host", "slug": "host-0", "time_zone": "UTC", "schedule": {}}
        host = (await site.post("/v1/hosts", body, key=key)).json()["id"]
        event_types[key] = await made(key, "consultation", host)
    for slug, key in ((shop.account_id, "secret"), ("live", "live"), ("other", "other")):
        assert (
            await of_account(slug, "consultation")
            == await of_account(slug, event_types[key])
            == event_types[key]
        )
    mine, live, theirs = event_types.values()
    # The live one goes before those that are tests.
    assert await of_host("consultation") == [(live, True), *sorted([(mine, False), (theirs, False)])]
    assert await of_host(mine) == [(mine, False)]
    # A host's page is of what the host offers.
    second = (await site.post("/v1/hosts", {"name": "B", "time_zone": "UTC", "schedule": {}})).json()["id"]
    await made("secret", "alone", second)
    assert await of_host("alone") == []
    assert (await site.call("DELETE", f"/v1/event-types/{mine}")).status_code == 204
    assert await of_account(shop.account_id, "consultation") is None
    again = await made("secret", "consultation", shop.hosts[0])
    assert await of_account(shop.account_id, "consultation") == again
    assert (again, False) in (now := await of_host("consultation")) and (mine, False) not in now
    async with database.statement() as tx:
        await tx.execute("update host set deleted_at = the_clock() where id = $1", shop.hosts[0])
    assert await of_host("consultation") == [(live, True), (theirs, False)]


@pytest.mark.usefixtures("built")
async def test_the_manage_page_shows_nothing_of_the_reservation(site: Site) -> None:
    held = await site.held()
    answer = await site.get(f"/m/{held['id']}", key=None)
    assert answer.status_code == 200
    assert "Anna" not in answer.text
    assert held["client_secret"] not in answer.text
    assert (await site.get("/m/res_unknown", key=None)).status_code == 404
    leaked = await site.get(f"/m/{held['id']}", key=None, params={"s": held["client_secret"]})
    assert code(leaked) == (400, "secret_in_url")


@pytest.mark.usefixtures("unbuilt")
async def test_a_server_without_its_pages_says_so_and_its_api_works(site: Site) -> None:
    answer = await site.get(await page_of(site), key=None)
    assert answer.status_code == 404
    assert "make assets" in answer.text
    assert "make assets" in (await site.get("/embed.js", key=None)).json()["detail"]
    assert (await site.get(f"/v1/event-types/{site.shop.event_type_id}")).status_code == 200


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("accepts", "coding", "body"),
    [
        ("gzip, deflate, br", "br", b"brotli"),
        ("gzip", "gzip", b"gzipped"),
        ("br;q=0, gzip;q=0.5", "gzip", b"gzipped"),
        ("identity", None, b"plain"),
    ],
)
async def test_files_are_kept_for_ever_and_sent_packed(
    site: Site, accepts: str, coding: str | None, body: bytes
) -> None:
    async with site.http.stream("GET", "/assets/main-1.js", headers={"accept-encoding": accepts}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert raw == body
    assert answer.headers.get("content-encoding") == coding
    assert "immutable" in answer.headers["cache-control"]
    assert "Accept-Encoding" in answer.headers["vary"]


@pytest.mark.usefixtures("built")
async def test_no_path_leads_out_of_the_files(site: Site) -> None:
    for name in ("..%2f..%2fapp.py", "manifest.json", "main-2.js", "%00", "."):
        assert (await site.get(f"/assets/{name}", key=None)).status_code == 404, name


@pytest.mark.usefixtures("built")
async def test_the_loader_is_kept_for_minutes_and_its_version_for_ever(site: Site) -> None:
    assert (await site.get("/embed.js", key=None)).headers["cache-control"] == "public, max-age=300"
    pinned = await site.get(f"/embed/{__version__}.js", key=None)
    assert (pinned.text, "immutable" in pinned.headers["cache-control"]) == ("loader", True)
    assert (await site.get("/embed/0.0.0.js", key=None)).status_code == 404


async def test_how_it_stands_is_told_to_whoever_knows_the_id(site: Site) -> None:
    held = await site.held()
    told = (await site.get(f"/r/{held['id']}/state", key=None)).json()
    assert (told["status"], told["outcome"], told["money"], told["waiting"]) == (
        "held",
        "not_paid",
        "none",
        False,
    )
    assert "Anna" not in str(told)
    assert code(await site.get("/r/res_unknown/state", key=None)) == (404, "reservation_not_found")


async def test_to_our_own_pages_the_return_page_goes_on_at_once(site: Site) -> None:
    """They say "confirming" themselves, in the customer's language."""
    own = site.shop.world.public_url
    held = await site.held(11)
    path = f"/v1/reservations/{held['id']}/checkout"
    back = f"{own}{await page_of(site)}"
    opened = await site.post(path, {"return_url": back}, key=held["client_secret"])
    assert opened.status_code == 200, opened.text
    onward = await site.get(f"/r/{held['id']}", key=None)
    assert onward.status_code == 303
    assert onward.headers["location"] == f"{back}?reservation={held['id']}"
