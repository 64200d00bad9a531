"""The hand-over between threads: order, waiting, dropping, closing, cancelling."""

import threading

import pytest

from br2focus.realtime.channel import Channel


def test_keeps_order_and_ends_after_close():
    channel: Channel[int] = Channel(3)
    for number in range(3):
        assert channel.put(number)
    channel.close()
    assert list(channel) == [0, 1, 2]


def test_error_comes_after_the_items_before_it():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close(OSError("gone"))
    assert next(channel) == 1
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            next(channel)


def test_it_has_ended_when_it_is_closed_and_read():
    channel = Channel(2)
    channel.put("a")
    assert not channel.ended
    channel.close(OSError())
    assert not channel.ended
    next(channel)
    assert channel.ended


def test_first_close_counts():
    channel: Channel[int] = Channel(1)
    channel.close(OSError("first"))
    channel.close()
    with pytest.raises(OSError, match="first"):
        next(channel)


def test_dropping_keeps_the_newest():
    channel: Channel[int] = Channel(1, drop=True)
    for number in range(5):
        assert channel.put(number)
    channel.close()
    assert list(channel) == [4] and channel.dropped == 4


def test_full_channel_waits_for_the_reader():
    channel: Channel[int] = Channel(1)
    done = []

    def produce() -> None:
        done.extend(channel.put(number) for number in range(3))
        channel.close()

    thread = threading.Thread(target=produce)
    thread.start()
    assert list(channel) == [0, 1, 2]
    thread.join(5)
    assert done == [True, True, True] and channel.dropped == 0


def test_cancel_releases_a_waiting_put():
    channel: Channel[int] = Channel(1)
    channel.put(0)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(channel.put(1)))
    thread.start()
    channel.cancel()
    thread.join(5)
    assert answers == [False]
    assert channel.put(2) is False and list(channel) == []


def test_cancel_releases_a_waiting_reader():
    channel: Channel[int] = Channel(1)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(list(channel)))
    thread.start()
    channel.cancel()
    thread.join(5)
    assert seen == [[]]


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="capacity"):
        Channel(0)
    channel: Channel[int] = Channel(1)
    channel.close()
    with pytest.raises(ValueError, match="after close"):
        channel.put(1)
