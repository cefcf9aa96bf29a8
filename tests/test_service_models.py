"""The list of models: what can be asked for, how good it is, and what is broken."""

import shutil

from fastapi.testclient import TestClient
from test_service_keys import app_with_a_door

from api.store.jobs import NewJob
from damagenet.bundle import read_card, shipped_bundles, weights_folder


def test_shipped_models_come_with_their_card(tmp_path):
    with TestClient(app_with_a_door(tmp_path)) as client:
        models = client.get("/v1/models").json()["models"]
    assert [model["name"] for model in models] == shipped_bundles()
    assert {(model["origin"], model["status"]) for model in models} == {("shipped", "ready")}
    for model in models:
        card, told = read_card(model["name"]), model["card"]
        assert told["id"].startswith(f"{card.name}@")
        assert (told["sentence"], told["headline"]) == (card.sentence, card.headline)
        assert told["threshold"] == card.threshold
        assert told["calibration"]["temperature"] == card.calibration.temperature
        assert told["ground"] == {"size_px": 128, "height_m": 63.71, "width_m": 55.64}
        assert len(told["scores"]) == len(card.scores)
        assert {"protocol", "fold", "metric", "value", "n"} <= told["scores"][0].keys()


def test_a_licence_that_forbids_uses_is_warned_of(tmp_path):
    with TestClient(app_with_a_door(tmp_path)) as client:
        pair = client.get("/v1/models/harvey-pair").json()["card"]
        plain = client.get("/v1/models/harvey").json()["card"]
    assert pair["licence_warning"] == "Non-commercial use only."
    assert pair["inputs"] == ["post", "pre"]
    assert plain["licence_warning"] is None
    assert plain["activation"] == "relu"


def test_models_of_the_service_are_everybodys_and_adapted_ones_their_makers(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True)
    keys = app.state.service.keys
    mine, other = keys.add("mine"), keys.add("other")
    shutil.copytree(weights_folder() / "harvey", tmp_path / "models" / "house")
    shutil.copytree(weights_folder() / "harvey", tmp_path / "models" / mine.id / "event")
    with TestClient(app) as client:

        def listed(key):
            found = client.get("/v1/models", headers={"X-API-Key": key.text}).json()["models"]
            return {one["name"]: one["origin"] for one in found if one["origin"] != "shipped"}

        assert listed(mine) == {"house": "added", "event": "adapted"}
        assert listed(other) == {"house": "added"}
        hidden = client.get("/v1/models/event", headers={"X-API-Key": other.text})
        assert hidden.status_code == 404


def test_a_model_that_cannot_be_read_is_listed_as_broken_and_spoils_no_other(tmp_path):
    folder = tmp_path / "models"
    shutil.copytree(weights_folder() / "harvey", folder / "half")
    (folder / "half" / "model.safetensors").unlink()
    (folder / "odd").mkdir()
    for name in ("card.json", "model.safetensors", "training_tiles.parquet"):
        (folder / "odd" / name).write_text("{")
    (folder / "no model").mkdir()
    with TestClient(app_with_a_door(tmp_path)) as client:
        answer = client.get("/v1/models")
    models = {model["name"]: model for model in answer.json()["models"]}
    assert set(models) == {*shipped_bundles(), "half", "odd"}
    assert models["half"]["status"] == "broken"
    assert models["half"]["card"] is None
    assert models["half"]["problem"] == "bundle half lacks model.safetensors: copy it again, whole"
    assert models["odd"]["problem"].startswith("card card.json is not readable JSON")
    assert str(tmp_path) not in answer.text


def test_a_caller_deletes_own_models_only_and_none_that_a_job_needs(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True)
    service = app.state.service
    mine, other = service.keys.add("mine"), service.keys.add("other")
    shutil.copytree(weights_folder() / "harvey", tmp_path / "models" / "house")
    own = tmp_path / "models" / mine.id
    shutil.copytree(weights_folder() / "harvey", own / "event")
    needed = NewJob(
        id="0" * 32, process="assess", owner=mine.id, options={"model": "event"}, inputs={}
    )
    service.jobs.create(needed)
    with TestClient(app) as client:

        def delete(name, key):
            return client.delete(f"/v1/models/{name}", headers={"X-API-Key": key.text})

        assert delete("event", other).status_code == 404
        assert delete("house", mine).status_code == delete("harvey", mine).status_code == 403
        waited_for = delete("event", mine)
        assert (waited_for.status_code, needed.id in waited_for.json()["detail"]) == (409, True)
        service.jobs.dismiss(needed.id, mine.id)
        assert delete("event", mine).status_code == 204
        assert delete("event", mine).status_code == 404
    assert list(own.iterdir()) == []
    assert (tmp_path / "models" / "house" / "card.json").is_file()


def test_an_added_model_cannot_take_the_name_of_a_shipped_one(tmp_path):
    (tmp_path / "models" / "harvey").mkdir(parents=True)
    (tmp_path / "models" / "harvey" / "card.json").write_text("{")
    with TestClient(app_with_a_door(tmp_path)) as client:
        assert client.get("/v1/models/harvey").json()["status"] == "ready"


def test_there_is_no_model_of_an_unknown_name_and_none_by_a_path(tmp_path):
    with TestClient(app_with_a_door(tmp_path)) as client:
        for name in ("nothing", "%2e%2e%2fharvey", "models%2Fharvey"):
            assert client.get(f"/v1/models/{name}").status_code == 404
