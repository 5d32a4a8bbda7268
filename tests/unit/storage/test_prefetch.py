"""Working ahead: in order, not too far, and with the errors that happen."""

import itertools
import threading

import pytest

from segray.storage.prefetch import map_in_order


def test_order_is_kept_though_the_first_ends_last() -> None:
    second_done = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(10)
        if item == 1:
            second_done.set()
        return item * item

    assert list(map_in_order(work, range(30))) == [item * item for item in range(30)]


def test_an_endless_stream_is_taken_from_only_a_little_ahead() -> None:
    taken = itertools.count()
    assert list(itertools.islice(map_in_order(str, taken), 5)) == ["0", "1", "2", "3", "4"]
    assert next(taken) < 20


@pytest.mark.parametrize(("threads", "ahead"), [(2, 1), (1, 3), (4, 16)])
def test_ahead_is_the_number_taken_before_a_result(threads: int, ahead: int) -> None:
    taken = itertools.count()
    assert next(map_in_order(str, taken, threads=threads, ahead=ahead)) == "0"
    assert next(taken) == ahead


def test_nothing_in_nothing_out() -> None:
    assert list(map_in_order(str, [])) == []


def test_errors_come_in_their_turn() -> None:
    results = map_in_order(lambda item: 1 // item, [2, 1, 0, 1])
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
