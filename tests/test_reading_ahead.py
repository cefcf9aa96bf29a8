"""Several batches at once: in order, with errors in their place, leaving torch as it was."""

import threading
from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_run import make_bundle, make_scene

from damagenet.bundle import load_bundle
from damagenet.devices import GPU_CREW, MAX_CREW, crew_of
from damagenet.engine.assess import piece_maker
from damagenet.engine.before import Seen
from damagenet.engine.inputs import Inputs
from damagenet.engine.pieces import CUTTERS, PieceMaker
from damagenet.engine.prefetch import prefetched
from damagenet.engine.work import plan_work
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.pairing import Pictures
from data_prep.scene import Scene


@given(count=st.integers(0, 30), ahead=st.integers(0, 5), workers=st.integers(1, 4))
def test_answers_come_in_the_order_of_the_requests(count, ahead, workers):
    with closing(prefetched(str, range(count), ahead=ahead, workers=workers)) as answers:
        assert list(answers) == [str(number) for number in range(count)]


def test_an_error_is_raised_at_its_place():
    def read(number):
        if number == 2:
            raise OSError("block 2 is broken")
        return number

    with closing(prefetched(read, range(5), workers=3, ahead=3)) as answers:
        assert [next(answers), next(answers)] == [0, 1]
        with pytest.raises(OSError, match="block 2"):
            next(answers)


def test_only_so_many_answers_are_asked_for_ahead():
    asked = []
    with closing(prefetched(asked.append, range(100), ahead=3)) as answers:
        next(answers)
    assert len(asked) <= 4


def test_every_worker_is_prepared_in_its_own_thread():
    prepared = []
    with closing(
        prefetched(str, range(8), workers=2, prepare=lambda: prepared.append(threading.get_ident()))
    ) as answers:
        assert len(list(answers)) == 8
    assert 1 <= len(prepared) <= 2
    assert threading.get_ident() not in prepared


def test_a_crew_deals_out_the_threads_and_gives_them_back():
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    try:
        with crew_of(torch.device("cpu")) as crew:
            assert crew.workers == MAX_CREW
            share = threading.Thread(target=crew.prepare)
            share.start()
            share.join()
        assert torch.get_num_threads() == 6
        with crew_of(torch.device("cuda")) as crew:
            assert crew.workers == GPU_CREW
    finally:
        torch.set_num_threads(before)


def test_a_slow_consumer_stops_the_reading(tmp_path, monkeypatch):
    make_bundle(tmp_path / "toy")
    predictor = Predictor(load_bundle(str(tmp_path / "toy")), device="cpu", batch_size=1)
    read = []
    reading = PieceMaker._read_raw
    monkeypatch.setattr(
        PieceMaker, "_read_raw", lambda maker, some: read.append(some) or reading(maker, some)
    )
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 4)
    with Scene.open(make_scene(tmp_path / "a.tif", columns=12, rows=10)) as scene:
        options = AssessOptions(device="cpu")
        work = plan_work(scene, predictor.bundle.card.chip, options, None)
        seen = Seen(pictures=Pictures(scene=scene))
        maker = piece_maker(seen, work, options, predictor, Inputs())
        with closing(maker.tables(range(len(work.sizes)))) as tables:
            next(tables)
            # What each of the three stages may hold, and the batch that it hands on.
            most = 4 + 2 * (1 + CUTTERS) + 4 * MAX_CREW + 3
            assert 4 <= len(read) <= most < 120
            assert len(list(tables)) == len(work.sizes) - 1
    assert len(read) == 120
