import threading

from evtools.cam.stacks import stacks


def test_every_thread_is_shown_with_where_it_is():
    begun, go = threading.Event(), threading.Event()

    def wait_in_here():
        begun.set()
        go.wait(10)

    thread = threading.Thread(target=wait_in_here, name="a-waiter", daemon=True)
    thread.start()
    begun.wait(10)
    text = stacks()
    go.set()
    thread.join(10)
    assert text.startswith("thread MainThread:\n")
    assert "thread a-waiter (daemon):\n" in text
    assert "in wait_in_here" in text
    assert "in test_every_thread_is_shown_with_where_it_is" in text


def test_a_thread_that_is_not_running_yet_has_no_stack(monkeypatch):
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.Thread(name="not-yet")])
    assert stacks() == "thread not-yet:"
