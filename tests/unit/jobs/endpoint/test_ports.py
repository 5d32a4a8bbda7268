"""Ports that are free, and ports that are held for an endpoint."""

import socket

import pytest

from segray.errors import ClusterError
from segray.jobs.endpoint import ports


def listening(host, port):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, port))
    one.listen()
    return one


def test_any_free_port_is_found_and_can_be_listened_on():
    port = ports.free_port("127.0.0.1", 0)
    with listening("127.0.0.1", port), pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{port} "):
        ports.free_port("127.0.0.1", port)


def test_held_ports_are_distinct_and_only_those_who_know_them_listen_there():
    with ports.held_ports(50) as first, ports.held_ports(50) as second:
        assert len({*first, *second}) == 100
        with listening("127.0.0.1", first[0]) as one, listening("0.0.0.0", second[0]) as other:
            assert [one.getsockname()[1], other.getsockname()[1]] == [first[0], second[0]]


def test_ranges_do_not_overlap_and_come_back():
    with ports.held_range() as first:
        with ports.held_range() as second:
            assert len(first) == len(second) == 99
            assert not set(first) & set(second)
        with ports.held_range() as third:
            assert third == second


def test_no_free_range_is_an_error(monkeypatch):
    with ports.held_range() as taken:
        monkeypatch.setattr(ports, "RANGES", (range(taken.start - 1, taken.stop),))
        with pytest.raises(ClusterError, match="no port range from"), ports.held_range():
            pytest.fail("it holds a range that is taken")
