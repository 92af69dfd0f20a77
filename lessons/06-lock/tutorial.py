"""Lesson 06 in Python: the lock lies beside the balance, and every change has to remember it."""
import threading
balance, lock = 0, threading.Lock()


def change_it(n):
    global balance
    balance += n
    balance -= n


def run_thread(n):
    for _ in range(100_000):
        lock.acquire()
        try:
            change_it(n)
        finally:
            lock.release()


def run_thread_with_guard(n):
    for _ in range(100_000):
        with lock:
            change_it(n)


for name, run in ("acquire and release", run_thread), ("guard", run_thread_with_guard):
    threads = [threading.Thread(target=run, args=(n,)) for n in (5, 8)]
    [t.start() for t in threads], [t.join() for t in threads]
    print(f"{name}: balance = {balance}")
