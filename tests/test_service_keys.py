"""API keys and sessions: who is let in, what they may do, and what other sites may not."""

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from api.app import create_app
from api.callers import LOCAL, Caller
from api.guard import REFUSALS, caller, is_loopback, require_keys_for
from api.hosts import cannot_be_rebound, host_name
from api.keys import DEFAULT_SCOPES, make_key, same, sha256, split_key
from api.settings import ServiceSettings
from api.store import keys as key_store
from api.store.database import Database
from api.store.keys import KeyStore
from damagenet.cli import main
from damagenet.errors import ConfigError


def app_with_a_door(folder: Path, **settings: object) -> FastAPI:
    """Return an application with one route for each scope that says who asks."""
    app = create_app(ServiceSettings(data_dir=folder, **settings))

    for method, scope in (("GET", "read"), ("POST", "write"), ("DELETE", "admin")):

        async def door(who: Annotated[Caller, Depends(caller(scope))]) -> str:
            return who.owner

        app.add_api_route("/door", door, methods=[method], responses=REFUSALS)
    return app


@contextmanager
def client_of(app: FastAPI, address: str = "http://testserver") -> Iterator[TestClient]:
    with TestClient(app, base_url=address) as client:
        yield client


@pytest.fixture
def guarded(tmp_path) -> Iterator[tuple[TestClient, KeyStore]]:
    app = app_with_a_door(tmp_path, require_keys=True)
    with client_of(app) as client:
        yield client, app.state.service.keys


@pytest.fixture
def damagenet(monkeypatch, capsys, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Run `damagenet` in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["damagenet", *arguments])
        monkeypatch.setenv("DAMAGENET_DATA_DIR", str(tmp_path))
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


def test_a_key_has_256_random_bits_behind_a_readable_prefix():
    key = make_key()
    assert re.fullmatch(r"damagenet_[0-9a-f]{16}_[\w-]{43}", key.text)
    assert split_key(key.text) == (key.id, key.text.split("_", 2)[2])
    assert key.text != make_key().text
    assert key.secret_sha256 == sha256(key.text.split("_", 2)[2])


@pytest.mark.parametrize("text", ["", "damagenet_1_2", "x" * 1000, "damagenet_é_é"])
def test_what_is_no_key_is_told_without_asking(text):
    assert split_key(text) is None


def test_hashes_are_compared_whole():
    assert same(sha256("a"), sha256("a"))
    assert not same(sha256("a"), sha256("b"))


def test_no_key_and_no_session_is_in_the_database_as_text(guarded, tmp_path):
    client, keys = guarded
    key = keys.add("county")
    client.post("/v1/session", headers={"X-API-Key": key.text})
    cookie = client.cookies["damagenet_session"]
    with sqlite3.connect(tmp_path / "jobs.sqlite") as file:
        dump = "\n".join(file.iterdump())
    assert key.id in dump
    assert key.text.split("_", 2)[2] not in dump
    assert cookie not in dump
    assert sha256(cookie) in dump


def test_without_a_key_the_answer_is_401_and_says_how(guarded):
    client, _ = guarded
    answer = client.get("/door")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="damagenet"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "an API key is needed" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_key_opens_by_either_header_and_owns_what_it_makes(guarded, header):
    client, keys = guarded
    key = keys.add("county")
    value = f"Bearer {key.text}" if header == "Authorization" else key.text
    assert client.get("/door", headers={header: value}).json() == key.id


def test_a_wrong_secret_an_unknown_id_and_a_revoked_key_look_the_same(guarded):
    client, keys = guarded
    key, gone = keys.add("county"), keys.add("gone")
    keys.revoke(gone.id)
    answers = [
        client.get("/door", headers={"X-API-Key": text})
        for text in (key.text[:-1] + "-", make_key().text, gone.text, "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1


def test_a_key_may_do_what_its_scopes_say(guarded):
    client, keys = guarded
    for scopes, expected in (
        (("read",), [200, 403, 403]),
        (("read", "write"), [200, 200, 403]),
        (("admin",), [200, 200, 200]),
    ):
        headers = {"X-API-Key": keys.add(" ".join(scopes), scopes).text}
        doors = [client.request(method, "/door", headers=headers) for method in METHODS]
        assert [answer.status_code for answer in doors] == expected
    refused = client.post("/door", headers={"X-API-Key": keys.add("reader", ("read",)).text})
    assert "may not write" in refused.json()["detail"]


METHODS = ("GET", "POST", "DELETE")


def test_a_revoked_key_is_forgotten_within_seconds_elsewhere_and_here_at_once(
    guarded, tmp_path, monkeypatch
):
    client, keys = guarded
    headers = {"X-API-Key": (key := keys.add("county")).text}
    assert client.get("/door", headers=headers).status_code == 200
    elsewhere = KeyStore(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"))
    elsewhere.revoke(key.id)
    assert client.get("/door", headers=headers).status_code == 200
    late = key_store.time.monotonic() + key_store.REMEMBERED_S
    monkeypatch.setattr(key_store.time, "monotonic", lambda: late)
    assert client.get("/door", headers=headers).status_code == 401


def test_a_service_without_keys_takes_everybody_for_local(tmp_path):
    with client_of(app_with_a_door(tmp_path)) as client:
        assert client.get("/door").json() == LOCAL
        assert client.post("/door").json() == LOCAL
        assert client.get("/door", headers={"X-API-Key": "wrong"}).status_code == 401


def test_a_browser_trades_a_key_for_a_cookie_that_scripts_and_other_sites_cannot_use(guarded):
    client, keys = guarded
    key = keys.add("county", ("read",))
    before = client.get("/v1/session").json()
    assert before == {"keys_required": True, "key": None, "scopes": [], "expires": None}
    opened = client.post("/v1/session", headers={"Authorization": f"Bearer {key.text}"})
    assert opened.status_code == 201
    cookie = opened.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert opened.json()["key"] == key.id
    assert client.get("/door").json() == key.id
    assert client.get("/v1/session").json()["scopes"] == ["read"]
    assert client.delete("/v1/session", headers=SAME).status_code == 204
    assert client.get("/door").status_code == 401


SAME = {"Origin": "http://testserver"}
OTHER = {"Origin": "http://evil.example"}


def test_over_https_the_cookie_is_sent_over_https_only(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True)
    with client_of(app, "https://damage.example") as client:
        headers = {"X-API-Key": app.state.service.keys.add("county").text}
        assert "Secure" in client.post("/v1/session", headers=headers).headers["Set-Cookie"]


def test_a_session_ends_with_its_time_and_with_its_key(guarded, monkeypatch):
    client, keys = guarded
    key = keys.add("county")
    monkeypatch.setattr(key_store, "SESSION_LIFE", -key_store.SESSION_LIFE)
    client.post("/v1/session", headers={"X-API-Key": key.text})
    assert client.get("/door").status_code == 401
    monkeypatch.undo()
    client.post("/v1/session", headers={"X-API-Key": key.text})
    assert client.get("/door").status_code == 200
    keys.revoke(key.id)
    assert client.get("/door").status_code == 401


def test_a_cookie_writes_only_from_the_services_own_page(guarded):
    client, keys = guarded
    client.post("/v1/session", headers={"X-API-Key": keys.add("county").text})
    assert client.post("/door", headers=SAME).status_code == 200
    assert client.post("/door", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    for headers in (OTHER, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        assert client.post("/door", headers=headers).status_code == 403
    assert client.get("/door", headers=OTHER).status_code == 200


def test_another_site_cannot_write_to_a_service_without_keys(tmp_path):
    with client_of(app_with_a_door(tmp_path)) as client:
        refused = client.post("/door", headers=OTHER)
        assert refused.status_code == 403
        assert "did not come from the service's own page" in refused.json()["detail"]
        assert client.post("/door", headers={"Sec-Fetch-Site": "same-site"}).status_code == 403
        assert client.post("/door", headers=SAME).status_code == 200


def test_a_header_key_is_no_matter_of_origin(guarded):
    client, keys = guarded
    headers = {"X-API-Key": keys.add("county").text} | OTHER
    assert client.post("/door", headers=headers).status_code == 200


def test_there_is_no_session_to_open_where_no_key_is_needed(tmp_path):
    with client_of(app_with_a_door(tmp_path)) as client:
        assert client.post("/v1/session").status_code == 409
        assert client.get("/v1/session").json()["keys_required"] is False


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("localhost", 200),
        ("192.168.1.7", 200),
        ("damage.example", 421),
        ("evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_a_name_that_others_can_point_here_is_refused_without_keys(tmp_path, host, status):
    with client_of(app_with_a_door(tmp_path)) as client:
        assert client.get("/door", headers={"Host": host}).status_code == status


def test_a_name_is_known_once_it_is_named_in_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("DAMAGENET_ALLOWED_HOSTS", "damage.example, gis.example")
    with client_of(app_with_a_door(tmp_path)) as client:
        assert client.get("/door", headers={"Host": "Damage.Example:80"}).status_code == 200
        assert client.get("/door", headers={"Host": "evil.example"}).status_code == 421


def test_with_keys_any_name_will_do(guarded):
    client, _ = guarded
    assert client.get("/healthz", headers={"Host": "damage.example"}).status_code == 200


def test_names_are_taken_out_of_the_header():
    assert host_name("Damage.Example.:80") == "damage.example"
    assert host_name("[::1]:80") == "::1"
    assert cannot_be_rebound("::1")
    assert not cannot_be_rebound("a.b")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_told_from_other_addresses(host, loopback):
    assert is_loopback(host) is loopback


def test_other_addresses_than_loopback_want_keys(tmp_path):
    settings = ServiceSettings(data_dir=tmp_path)
    database = Database(settings.database)
    assert require_keys_for("127.0.0.1", settings, database) == settings
    with pytest.raises(
        ConfigError, match=r"0\.0\.0\.0 can be reached by others and there is no API"
    ):
        require_keys_for("0.0.0.0", settings, database)
    assert require_keys_for("0.0.0.0", settings, database, insecure=True).allowed_hosts == ("*",)
    KeyStore(database).add("county")
    assert require_keys_for("0.0.0.0", settings, database).require_keys
    database.close()


def test_keys_that_are_asked_for_are_wanted_on_loopback_and_in_spite_of_insecure(tmp_path):
    settings = ServiceSettings(data_dir=tmp_path, require_keys=True)
    database = Database(settings.database)
    for insecure in (False, True):
        with pytest.raises(ConfigError, match="there is no API key"):
            require_keys_for("127.0.0.1", settings, database, insecure=insecure)
    database.close()


def test_keys_are_added_listed_and_revoked_on_the_command_line(damagenet, tmp_path):
    code, text, told = damagenet("keys", "add", "county GIS", "--scope", "read")
    assert code == 0
    key_id, _ = split_key(text.strip())
    assert f"key {key_id} may read; it is shown only now" in told
    keys = KeyStore(Database(f"sqlite:///{tmp_path / 'jobs.sqlite'}"))
    assert keys.caller_of_key(text.strip()) == Caller(owner=key_id, scopes=frozenset({"read"}))
    code, listed, _ = damagenet("keys", "list")
    assert re.search(rf"{key_id}  read .* in use .* county GIS", listed)
    assert text.strip().split("_", 2)[2] not in listed
    assert damagenet("keys", "revoke", key_id)[0] == 0
    assert "revoked 20" in damagenet("keys", "list")[1]
    assert keys.caller_of_key(text.strip()) is None


def test_what_keys_cannot_do_is_said_in_a_line(damagenet):
    assert (
        "no scope 'all': choose from read, write, admin"
        in damagenet("keys", "add", "x", "--scope", "all")[2]
    )
    assert "no key 'x' is in use" in damagenet("keys", "revoke", "x")[2]
    damagenet("keys", "add", "twice")
    assert "there is a key 'twice' already" in damagenet("keys", "add", "twice")[2]
    assert "1 to 100 printable characters" in damagenet("keys", "add", "a\nb")[2]
    assert DEFAULT_SCOPES == ("read", "write")
