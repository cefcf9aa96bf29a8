"""Several batches at once: in order, with errors in their place, leaving torch as it was."""

import threading
from contextlib import closing

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from damagenet.devices import MAX_CREW, crew_of
from damagenet.engine.prefetch import prefetched


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
            assert crew.workers == 1
    finally:
        torch.set_num_threads(before)
