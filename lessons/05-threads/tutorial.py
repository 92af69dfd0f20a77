"""Lesson 05 in Python: _thread (low level) and threading (high level)."""
import _thread, queue, threading, time


def run_loop():
    name = threading.current_thread().name
    print(f"thread {name} is running...")
    for n in range(1, 6):
        print(f"thread {name} >>> {n}")
        time.sleep(0.1)
    print(f"thread {name} ended.")


def add(part, sums):
    print(f"scoped thread: I add {len(part)} numbers.\n", end="")
    sums.append(sum(part))


threading.current_thread().name = "main"  # as Rust calls it; Python's own is MainThread
print("thread main is running...")
inbox = queue.Queue()
_thread.start_new_thread(inbox.put, ("I am done",))
print(f"detached thread: {inbox.get()}.")
t = threading.Thread(target=run_loop, name="LoopThread")
t.start(), t.join()
numbers, sums = list(range(1, 1001)), []
parts = [threading.Thread(target=add, args=(p, sums)) for p in (numbers[:500], numbers[500:])]
[p.start() for p in parts], [p.join() for p in parts]
print(f"sum of {len(numbers)} numbers: {sum(sums)}.\nthread main ended.")
