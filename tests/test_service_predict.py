"""`POST /v1/predict`: chips in, probabilities out, at once; what is no chip is refused in words."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from sent_chips import chips, make_telling_bundle, npy, picture
from service import DEVICE
from tiny_run import SIZE_PX, make_bundle

from api import chip_form
from api.app import create_app
from api.settings import ServiceSettings
from api.verdicts import Prediction
from damagenet.bundle import load_bundle
from damagenet.inference import Predictor

MODELS = Path("models", "local")
S = SIZE_PX


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    make_telling_bundle(folder / MODELS / "tiny")
    make_telling_bundle(folder / MODELS / "tiny-pair", inputs=("post", "pre"))
    return folder


@pytest.fixture(scope="module")
def client(folder):
    settings = ServiceSettings(data_dir=folder, device=DEVICE, predict_queue_chips=10_000)
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor(load_bundle(folder / MODELS / "tiny"), device=DEVICE)


def ask(client, *contents, pre=(), **fields):
    files = [("chips", (f"{n}.bin", content)) for n, content in enumerate(contents)]
    files += [("pre", (f"{n}.bin", content)) for n, content in enumerate(pre)]
    return client.post("/v1/predict", files=files, data={"model": "tiny"} | fields)


def probabilities(answer):
    assert answer.status_code == 200, answer.text
    return [chip["p_damaged"] for chip in answer.json()["chips"]]


def refusal(answer, status=422):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["detail"]


@pytest.mark.parametrize(
    "sent",
    [
        lambda array: [npy(array)],
        lambda array: [npy(array.transpose(0, 2, 3, 1))],
        lambda array: [npy(np.asfortranarray(array))],
        lambda array: [npy(chip.transpose(1, 2, 0)) for chip in array],
        lambda array: [picture(chip) for chip in array],
        lambda array: [picture(chip, mode="RGBA") for chip in array],
        lambda array: [npy(array[:2]), picture(array[2]), npy(array[3:])],
    ],
    ids=["N3SS", "NSS3", "Fortran", "SS3", "PNG", "RGBA", "mixed"],
)
def test_every_way_to_send_chips_gives_the_model_s_probabilities_in_order(client, predictor, sent):
    array = chips(5)
    p = probabilities(ask(client, *sent(array)))
    assert p == pytest.approx(predictor.probabilities((array,)), abs=1e-5)
    assert np.ptp(p) > 0.01


def test_a_jpeg_is_judged_by_the_pixels_it_unpacks_to(client, predictor):
    file = picture(chips(1)[0], "JPEG", quality=80)
    unpacked = np.asarray(Image.open(io.BytesIO(file))).transpose(2, 0, 1)[np.newaxis].copy()
    expected = predictor.probabilities((unpacked,))
    assert probabilities(ask(client, file)) == pytest.approx(expected, abs=1e-5)


def test_the_answer_says_who_judged_and_labels_by_the_model_s_threshold_and_band(client, predictor):
    answer = ask(client, npy(chips(40))).json()
    card = predictor.bundle.card
    assert answer["model"] == predictor.bundle.model_id
    assert (answer["threshold"], answer["uncertain_band"]) == (0.5, [0.45, 0.55])
    assert (answer["headline"], answer["sentence"]) == (card.headline, card.sentence)
    assert answer["licence"] == card.licence
    labels = [chip["label"] for chip in answer["chips"]]
    p = [chip["p_damaged"] for chip in answer["chips"]]
    sure = ["damaged" if value >= 0.5 else "undamaged" for value in p]
    assert labels == ["uncertain" if 0.45 < v < 0.55 else s for v, s in zip(p, sure, strict=True)]
    assert {"damaged", "undamaged"} <= set(labels)


def test_the_document_shows_the_form_and_an_answer_that_could_be_given(client):
    operation = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"chips", "pre", "model", "resize"}
    example = operation["responses"]["200"]["content"]["application/json"]["example"]
    assert Prediction.model_validate(example).model_dump(mode="json") == example


def test_chips_carry_their_file_s_name_without_its_path_and_a_number_within_an_array(client):
    files = [
        ("chips", ("../../etc/roof <b>.png", picture(chips(1)[0]))),
        ("chips", ("C:\\chips\\all.npy", npy(chips(2)))),
    ]
    answer = client.post("/v1/predict", files=files, data={"model": "tiny"}).json()
    names = [chip["name"] for chip in answer["chips"]]
    assert names == ["roof _b_.png", "all.npy#0", "all.npy#1"]


def test_resize_resamples_other_sizes_as_scenes_are(client, predictor):
    large = chips(2, size=3 * S)
    images = [Image.fromarray(chip.transpose(1, 2, 0)) for chip in large]
    small = [np.asarray(image.resize((S, S), Image.Resampling.BICUBIC)) for image in images]
    expected = predictor.probabilities((np.stack(small).transpose(0, 3, 1, 2).copy(),))
    for sent in ([npy(large)], [picture(chip) for chip in large]):
        p = probabilities(ask(client, *sent, resize="true"))
        assert p == pytest.approx(expected, abs=1e-5)


def test_a_model_of_two_pictures_takes_both_in_order(client, folder):
    pair = Predictor(load_bundle(folder / MODELS / "tiny-pair"), device=DEVICE)
    post, pre = chips(3), chips(3, seed=1)
    p = probabilities(ask(client, npy(post), pre=[npy(pre)], model="tiny-pair"))
    assert p == pytest.approx(pair.probabilities((post, pre)), abs=1e-5)
    detail = refusal(ask(client, npy(post), model="tiny-pair"))
    assert detail.startswith("pre: model toy compares two pictures")
    detail = refusal(ask(client, npy(post), pre=[npy(pre[:2])], model="tiny-pair"))
    assert detail == "pre: 2 chips for 3 in chips: send one for each"
    detail = refusal(ask(client, npy(post), pre=[npy(pre)]))
    assert detail == "pre: model toy looks at one picture: leave it out"


def test_without_a_model_s_name_the_best_shipped_one_judges(client):
    chip, pre = npy(chips(1, size=128)), npy(chips(1, seed=1, size=128))
    assert ask(client, chip, model="auto").json()["model"].startswith("harvey-event@")
    assert ask(client, chip, pre=[pre], model="auto").json()["model"].startswith("harvey-pair@")


def test_unknown_models_and_paths_are_refused_without_a_path_of_the_server(client, folder):
    for name in ("nothing", "../local/tiny", str(folder / MODELS / "tiny"), "models/weights"):
        detail = refusal(ask(client, npy(chips(1)), model=name))
        assert f"there is no model {name!r}" in detail
        assert str(folder) not in detail.replace(repr(name), "")


def test_a_damaged_model_is_refused_without_a_path_of_the_server(client, folder):
    make_bundle(folder / MODELS / "broken")
    (folder / MODELS / "broken" / "model.safetensors").write_bytes(b"x")
    detail = refusal(ask(client, npy(chips(1)), model="broken"), 503)
    assert detail.startswith("model broken cannot be loaded")
    assert str(folder) not in detail


def test_wrong_fields_are_named(client):
    chip = npy(chips(1))
    assert refusal(ask(client, chip, modle="x")).startswith("form: unknown setting 'modle'")
    assert "resize" in refusal(ask(client, chip, resize="perhaps"))
    files = [("chip", ("x.npy", chip))]
    sentence = "field 'chip': chips and pre are files, with file names, and model and resize are"
    assert sentence in refusal(client.post("/v1/predict", files=files))
    text = {"chips": (None, "text")}
    assert "field 'chips': chips and pre" in refusal(client.post("/v1/predict", files=text))
    form = {"model": (None, "tiny")}
    assert refusal(client.post("/v1/predict", files=form)) == "chips: send at least one file"
    assert refusal(client.post("/v1/predict", json={}), 415).startswith("the request must be")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x\r\nnonsense",
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny',
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ntiny\r\n--x\r\n',
    ],
)
def test_a_form_that_is_not_whole_is_refused(client, body):
    kind = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/predict", content=body, headers=kind)
    assert refusal(answer).startswith("the form cannot be read: send it again, whole")


def test_a_request_beyond_the_limit_is_refused_announced_or_not(client, monkeypatch):
    monkeypatch.setattr(chip_form, "BODY_BYTES", 20_000)
    assert "larger than 20000 bytes" in refusal(ask(client, npy(chips(9))), 413)
    kind = {"content-type": "multipart/form-data; boundary=x"}
    pieces = (bytes(9_000) for _ in range(3))
    answer = client.post("/v1/predict", content=pieces, headers=kind)
    assert "larger than 20000 bytes" in refusal(answer, 413)


def keep_busy(client, predictor, count=6_400):
    """Fill the line of the service with chips of somebody else."""
    batching = client.app.state.service.predictions.batching
    work = client.portal.start_task_soon(batching.probabilities, predictor, (chips(count),))
    while not batching.waiting_chips:
        continue
    return work


def test_a_full_line_answers_429_and_when_to_come_back(folder, predictor):
    small = ServiceSettings(data_dir=folder, device="cpu", predict_queue_chips=8)
    with TestClient(create_app(small)) as client:
        work = keep_busy(client, predictor)
        answer = ask(client, npy(chips(1)))
        assert "chips wait already, of at most 8" in refusal(answer, 429)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        work.cancel()
        assert ask(client, npy(chips(1))).status_code == 200


def test_chips_of_a_client_that_has_gone_never_reach_the_network(client, predictor):
    request = client.build_request(
        "POST", "/v1/predict", files=[("chips", ("x.npy", npy(chips(200))))], data={"model": "tiny"}
    )
    body = request.read()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "http_version": "1.1",
        "app": client.app,
    }
    batching = client.app.state.service.predictions.batching
    messages = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    async def come_and_go():
        await client.app(scope, receive, send)
        return batching.waiting_chips

    work = keep_busy(client, predictor)
    left = client.portal.call(come_and_go)
    assert left >= 16
    assert left % 16 == 0  # the 200 would leave a remainder
    assert sent[0]["status"] == 499
    work.cancel()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_gpu_gives_the_probabilities_of_the_cpu(folder, predictor):
    with TestClient(create_app(ServiceSettings(data_dir=folder, device="cuda"))) as client:
        p = probabilities(ask(client, npy(chips(100))))
    assert p == pytest.approx(predictor.probabilities((chips(100),)), abs=0.01)
