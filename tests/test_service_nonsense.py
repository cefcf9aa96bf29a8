"""What nobody sends by accident is refused in words: never a 500, and never more than it costs."""

import json
import zipfile
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from rasters import smooth, write_raster
from service import LAPTOP, client_of
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError

from api import chip_limit, multipart
from api.inspection import inspect_upload
from api.problems import ServiceError
from api.routes import page
from api.settings import ServiceSettings
from api.store.database import Database

ADDRESS = "/v1/assessments"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path_factory.mktemp("service"))) as client:
        # A failure is an answer here, not an error of the test.
        client._transport.raise_server_exceptions = False
        yield client


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> tuple[str, bytes]:
    scene = write_raster(tmp_path_factory.mktemp("sent") / "a.tif", smooth(128, 128))
    return "a.tif", scene.read_bytes()


@pytest.mark.parametrize("name", ["%00", "a" * 400, "a/" * 3000])
def test_a_name_that_no_file_can_have_is_not_found(client, monkeypatch, tmp_path, name):
    (tmp_path / "index.html").write_text("<p>", encoding="utf-8")
    monkeypatch.setattr(page, "DIST", tmp_path)
    answer = client.get(f"/ui/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, PROBLEM)


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "null", ""])
def test_an_origin_that_is_no_address_is_another_site(client, origin):
    new = {"name": "a.tif", "bytes": 3}
    assert client.post("/v1/uploads", json=new, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"image": {"href": "http://["}}, "is not fetched"),
        ({"image": {"href": 7}}, "is not fetched"),
        ({"\ud800": 1}, "there is no input"),
        ({"image": {"href": f"/v1/uploads/{'0' * 32}"}, "model": "\ud800"}, "no upload here"),
    ],
)
def test_inputs_that_cannot_be_meant_are_refused(client, inputs, said):
    body = json.dumps({"inputs": inputs})
    headers = {"Content-Type": "application/json"}
    answer = client.post("/processes/assess/execution", content=body, headers=headers)
    assert answer.status_code in (400, 404)
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    ("uploads", "status"),
    [
        ('{"image": ["\\ud800"]}', 404),
        ('{"image": ["\\u0000"]}', 404),
        ('{"\\ud800": ["a"]}', 422),
        ("[" * 60_000, 422),
        ('{"image": ' + "[" * 60_000, 422),
    ],
)
def test_uploads_that_cannot_be_meant_are_refused(client, uploads, status):
    answer = client.post(ADDRESS, files={"uploads": (None, uploads)})
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)


def test_a_boundary_that_is_too_long_is_a_broken_form(client):
    headers = {"Content-Type": f"multipart/form-data; boundary={'x' * 300}"}
    answer = client.post(ADDRESS, content=b"", headers=headers)
    assert answer.status_code == 422
    assert "the form is broken" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ({"pixel_size": "inf"}, 422, "pixel_size"),
        ({"stride": "inf"}, 422, "stride"),
        ({"pixel_size": "nan"}, 422, "pixel_size"),
        ({"stride": "1e-320"}, 413, "max_chips"),
    ],
)
def test_numbers_without_an_end_are_refused(client, image, options, status, said):
    answer = client.post(ADDRESS, files={"image": image}, data=options)
    assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text


def test_a_picture_whose_pixels_are_larger_than_all_numbers_is_refused(client, tmp_path):
    scene = write_raster(tmp_path / "a.tif", smooth(64, 64), transform=None, crs=None)
    files = {"image": ("a.tif", scene.read_bytes())}
    answer = client.post(ADDRESS, files=files, data={"pixel_size": "1e308"})
    assert answer.status_code in (413, 422)
    assert chip_limit._steps(float("inf"), 1.0) == chip_limit.MOST_STEPS


def test_a_sentence_that_names_half_a_character_can_be_sent(client, image):
    headers = {"Content-Type": "application/json"}
    body = '{"name": "\\ud800.svg", "bytes": -1}'
    answer = client.post("/v1/uploads", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, PROBLEM)


NONE = ("%00", "%ED%A0%80", "0" * 31, "G" * 32, "0" * 32 + "%0A")


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("path", [ADDRESS, "/jobs", "/collections", "/v1/uploads", "/v1/models"])
def test_what_is_no_id_is_never_looked_up(client, monkeypatch, path, name):
    def asked(_database: Database) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(Database, "transaction", asked)
    assert client.get(f"{path}/{name}").status_code in (400, 404, 422)


@pytest.mark.parametrize("cursor", ["MjAyMC0wMS0wMSAA", "MjAyMC0wMS0wMSBh", "%00", "x"])
def test_a_cursor_without_an_id_is_none_of_the_service(client, cursor):
    answer = client.get(f"{ADDRESS}?cursor={cursor}")
    assert answer.status_code == 422
    assert "is none of this service" in answer.json()["detail"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, TimeoutError])
@pytest.mark.parametrize("address", [ADDRESS, "/metrics", "/jobs", f"{ADDRESS}/{'0' * 32}"])
def test_a_database_that_is_away_is_said_with_the_time_to_come_back(
    client, monkeypatch, error, address
):
    def away(_database: Database) -> None:
        raise error("secret statement", None, Exception("secret address"))

    monkeypatch.setattr(Database, "transaction", away)
    answer = client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (503, PROBLEM)
    assert answer.headers["retry-after"] == "5"
    assert "secret" not in answer.text


def test_the_texts_of_a_form_have_a_limit_together(client):
    few = [(f"x{number}", (None, "x" * 60_000)) for number in range(17)]
    assert client.post(ADDRESS, files=few).status_code == 422  # none of them is known
    answer = client.post(ADDRESS, files=[*few, ("y", (None, "x" * 60_000))])
    assert answer.status_code == 413
    assert f"longer than {multipart.TEXT_BYTES} bytes" in answer.json()["detail"]
    names = [("n" * 500 + str(number), (None, "")) for number in range(3000)]
    assert client.post(ADDRESS, files=names).status_code == 413
    assert client.get(ADDRESS).json()["jobs"] == []


def test_a_list_of_entries_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "sent.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}.txt", b"")
    with pytest.raises(ServiceError, match="lists its entries in") as caught:
        inspect_upload(path, "buildings", ServiceSettings())
    assert caught.value.status == 413
    assert str(tmp_path) not in str(caught.value)
