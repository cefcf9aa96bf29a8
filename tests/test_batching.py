"""Batches that requests share: fair, bounded, and no matter to anybody's probabilities."""

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sent_chips import chips, make_telling_bundle
from tiny_run import make_bundle

from api.batching import COMING_BYTES, Batching
from api.predictors import Predictors
from api.problems import ServiceError
from api.waiting_line import Ask, WaitingLine
from damagenet.errors import BundleError, ConfigError

MANY = 4_000
"""Chips that keep the device busy for far longer than a request needs to join the line."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return make_telling_bundle(tmp_path_factory.mktemp("models") / "tiny")


@contextmanager
def batching(*, wait_s=0.0, queue_chips=10**6):
    opened = Batching(wait_s=wait_s, queue_chips=queue_chips)
    try:
        yield opened
    finally:
        opened.close()


@given(counts=st.lists(st.integers(0, 40), max_size=12), seed=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_whatever_requests_share_batches_each_gets_its_own_probabilities(predictor, counts, seed):
    requests = [chips(count, seed=seed + number) for number, count in enumerate(counts)]

    async def ask_all(batches):
        asks = (batches.probabilities(predictor, (images,)) for images in requests)
        return await asyncio.gather(*asks)

    with batching() as batches:
        found = asyncio.run(ask_all(batches))
        assert batches.waiting_chips == 0
    for images, p in zip(requests, found, strict=True):
        assert p == pytest.approx(predictor.probabilities((images,)), abs=1e-5)


@dataclass(frozen=True)
class Model:
    """All that the line asks of a predictor."""

    name: str
    batch_size: int = 16


def numbered(count, model):
    return Ask(predictor=model, images=(np.arange(count),))


asked = st.lists(st.tuples(st.integers(1, 60), st.sampled_from("ab")), min_size=1, max_size=12)


@given(asked=asked, threads=st.integers(1, 4))
def test_every_chip_is_handed_out_once_in_order_and_batches_hold_one_model(asked, threads):
    models = {name: Model(name) for name in "ab"}
    line, asks = WaitingLine(), [numbered(count, models[name]) for count, name in asked]
    for ask in asks:
        line.join(ask)
    handed = {id(ask): [] for ask in asks}
    while line.chips:
        batch = line.batch_for(threads)
        assert 1 <= len(batch) <= 16
        for ask, rows in batch.shares:
            assert ask.predictor is batch.predictor
            handed[id(ask)] += ask.images[0][rows].tolist()
    assert [handed[id(ask)] for ask in asks] == [list(range(count)) for count, _ in asked]


@given(before=st.lists(st.integers(1, 200), max_size=10), count=st.integers(1, 16))
def test_a_small_request_waits_for_one_batch_of_each_before_it_at_most(before, count):
    model, line = Model("a"), WaitingLine()
    for chips_before in before:
        line.join(numbered(chips_before, model))
    mine = numbered(count, model)
    line.join(mine)
    batches = 0
    while mine.left:
        line.batch_for(1)
        batches += 1
    assert batches <= len(before) + 1


def test_few_chips_are_spread_over_idle_threads_and_many_fill_their_batches():
    model, line = Model("a"), WaitingLine()
    line.join(numbered(10, model))
    assert [len(line.batch_for(2)), len(line.batch_for(1))] == [5, 5]
    line.join(numbered(40, model))
    assert [len(line.batch_for(2)), len(line.batch_for(1))] == [16, 16]


def test_a_full_line_refuses_with_a_time_to_come_back_and_takes_more_later(predictor):
    async def ask(batches):
        first = asyncio.create_task(batches.probabilities(predictor, (chips(MANY),)))
        await asyncio.sleep(0)
        with pytest.raises(ServiceError, match=r"chips wait already, of at most 8 .*try ag") as no:
            await batches.probabilities(predictor, (chips(1),))
        with pytest.raises(ServiceError, match="chips wait already"), batches.coming(0):
            pytest.fail("a request was read that cannot be taken")
        found = await first
        later = await batches.probabilities(predictor, (chips(8),))
        return no.value, found, later

    with batching(queue_chips=8) as batches:
        error, found, later = asyncio.run(ask(batches))
    assert error.status == 429
    assert 1 <= int(error.headers["Retry-After"]) <= 60
    assert len(found) == MANY
    assert later == pytest.approx(predictor.probabilities((chips(8),)), abs=1e-5)


def test_chips_of_a_request_that_was_given_up_leave_the_line(predictor):
    async def give_up(batches):
        first = asyncio.create_task(batches.probabilities(predictor, (chips(MANY),)))
        second = asyncio.create_task(batches.probabilities(predictor, (chips(3),)))
        await asyncio.sleep(0)
        assert batches.waiting_chips > MANY // 2
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert batches.waiting_chips <= 3
        return await second

    with batching() as batches:
        p = asyncio.run(give_up(batches))
    assert p == pytest.approx(predictor.probabilities((chips(3),)), abs=1e-5)


def test_wrong_chips_are_refused_and_their_neighbours_answered(predictor):
    async def ask(batches):
        wrong = chips(2)[:, :, :5]
        asks = [batches.probabilities(predictor, (images,)) for images in (chips(2), wrong)]
        return await asyncio.gather(*asks, return_exceptions=True)

    with batching() as batches:
        right, wrong = asyncio.run(ask(batches))
    assert len(right) == 2
    assert isinstance(wrong, ConfigError)
    assert "chips must be uint8" in str(wrong)


def test_a_batch_with_room_waits_only_for_requests_that_are_being_read(predictor):
    async def ask(batches):
        # Nobody is coming: the answer would take an hour if it waited.
        await batches.probabilities(predictor, (chips(1),))
        with batches.coming(0):
            first = asyncio.create_task(batches.probabilities(predictor, (chips(10),)))
            await asyncio.sleep(0.05)
            assert batches.waiting_chips == 10
            await batches.probabilities(predictor, (chips(6),))
            await first

    with batching(wait_s=3600) as batches:
        asyncio.run(asyncio.wait_for(ask(batches), 60))


def test_a_batch_does_not_wait_longer_than_it_may(predictor):
    async def ask(batches):
        with batches.coming(0):
            return await batches.probabilities(predictor, (chips(1),))

    with batching(wait_s=0.01) as batches:
        assert len(asyncio.run(asyncio.wait_for(ask(batches), 60))) == 1


def test_requests_that_are_read_at_a_time_hold_a_bounded_number_of_bytes():
    with batching() as batches, batches.coming(COMING_BYTES):
        with pytest.raises(ServiceError, match="are being read already") as no, batches.coming(1):
            pytest.fail("it was let in")
        assert no.value.status == 429


def test_who_waits_when_the_service_stops_is_told_so(predictor):
    async def stop(batches):
        with batches.coming(0):
            waiting = asyncio.create_task(batches.probabilities(predictor, (chips(1),)))
            await asyncio.sleep(0)
            batches.close()
            with pytest.raises(ServiceError, match="being stopped") as no:
                await waiting
            with pytest.raises(ServiceError, match="being stopped"):
                await batches.probabilities(predictor, (chips(1),))
            return no.value.status

    with batching(wait_s=3600) as batches:
        assert asyncio.run(stop(batches)) == 503


def test_models_are_loaded_once_and_the_longest_unused_one_goes(tmp_path):
    for name in "abc":
        make_bundle(tmp_path / name)

    async def use(predictors):
        a, same = await asyncio.gather(*(predictors.of(tmp_path / "a") for _ in range(2)))
        b = await predictors.of(tmp_path / "b")
        assert await predictors.of(tmp_path / "a") is a is same
        await predictors.of(tmp_path / "c")
        assert await predictors.of(tmp_path / "a") is a
        assert await predictors.of(tmp_path / "b") is not b

    predictors = Predictors("cpu", most_loaded=2)
    asyncio.run(use(predictors))
    predictors.close()


def test_a_model_made_anew_under_its_name_is_loaded_anew_and_a_damaged_one_once_mended(tmp_path):
    folder = tmp_path / "a"
    make_bundle(folder)

    async def use(predictors):
        old = await predictors.of(folder)
        make_bundle(folder, seed=1)
        new = await predictors.of(folder)
        assert new.bundle.model_id != old.bundle.model_id
        weights = (folder / "model.safetensors").read_bytes()
        make_bundle(folder, seed=2)
        (folder / "model.safetensors").write_bytes(weights)
        with pytest.raises(BundleError, match="was altered or damaged"):
            await predictors.of(folder)
        make_bundle(folder, seed=3)
        await predictors.of(folder)

    predictors = Predictors("cpu")
    asyncio.run(use(predictors))
    predictors.close()
