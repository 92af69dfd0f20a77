"""The bench's measures with Python's multiprocessing. Reads lines such as `apply_async 2 20000` (what, workers, how many),
and answers each with a number, or with `-` if there is no such thing here.

Argument: `pool` (multiprocessing, its default start method), `spawn` (the same, but spawned), `executor` (ProcessPoolExecutor).
"""
import collections
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor


# How many bytes are on their way, there and back, at a time.
UNDER_WAY = 16 << 20


def next_(i):
    return i + 1


def who(_):
    """Long enough that others take the next one."""
    time.sleep(0.001)
    return os.getpid()


def echo(data):
    return data


def compute(rounds):
    x = 1
    for i in range(rounds):
        x = (x ^ i) * 5 & 0xFFFFFF
    return x


def calibrate():
    best = min(timed(lambda: compute(2000)) for _ in range(9))
    return int(2000 * 1e-3 / best)


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def check(results, expected):
    if list(results) != list(expected):
        sys.exit("a wrong result")


def quantile(times, what):
    times.sort()
    return times[len(times) // 2 if what == "apply_median" else len(times) * 99 // 100]


def cpu_time(pids):
    """Seconds of processor time that the threads of these processes have had (Linux), except for this one, which asks."""
    total = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            if int(thread) == os.getpid():
                continue
            with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
                total += int(stat.read().split()[0])
    return total / 1e9


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def with_pool(context, what, workers, count):
    if what == "start":
        def work():
            for i in range(count):
                process = context.Process(target=next_, args=(i,))
                process.start()
                process.join()
                check([process.exitcode], [0])
        return timed(work) / count
    if what == "make":
        def work():
            for _ in range(count):
                with context.Pool(workers) as pool:
                    check(pool.map(next_, range(workers)), range(1, workers + 1))
                    pool.close()
                    pool.join()
        return timed(work) / count
    if what in ("queue_time", "queue_bytes"):
        # In a process of its own, whose memory has no holes that the tasks might fill.
        answer = subprocess.run(
            [sys.executable, __file__, sys.argv[1]], input=f"{what}_alone {workers} {count}", stdout=subprocess.PIPE,
            text=True, check=True)
        return float(answer.stdout)
    with context.Pool(workers) as pool:
        begun = set()
        while len(begun) < workers:
            begun.update(pool.map(who, range(workers), 1))
        items = range(count)
        expected = range(1, count + 1)
        if what == "apply_async":
            def work():
                results = [pool.apply_async(next_, (i,)) for i in items]
                check((result.get() for result in results), expected)
            return timed(work) / count
        if what == "imap":
            return timed(lambda: check(pool.imap(next_, items), expected)) / count
        if what == "imap_unordered":
            return timed(lambda: check([sum(pool.imap_unordered(next_, items))], [sum(expected)])) / count
        if what == "map":
            return timed(lambda: check(pool.map(next_, items), expected)) / count
        if what == "map_single":
            return timed(lambda: check(pool.map(next_, items, chunksize=1), expected)) / count
        if what == "speed_up":
            rounds = calibrate()
            expected = [compute(rounds)] * count

            def work():
                results = [pool.apply_async(compute, (rounds,)) for _ in items]
                check((result.get() for result in results), expected)
            return timed(lambda: check((compute(rounds) for _ in items), expected)) / timed(work)
        if what in ("apply_median", "apply_99th"):
            return quantile([timed(lambda: check([pool.apply(next_, (i,))], [i + 1])) for i in items], what)
        if what.startswith("echo_"):
            size = int(what[5:])
            data = (bytes(range(256)) * (size // 256 + 1))[:size]

            def work():
                under_way = collections.deque()
                for _ in items:
                    if len(under_way) == max(2, UNDER_WAY // size):
                        check([under_way.popleft().get()], [data])
                    under_way.append(pool.apply_async(echo, (data,)))
                check((result.get() for result in under_way), [data] * len(under_way))
            return timed(work) / count
        if what == "idle":
            pids = [os.getpid()] + [process.pid for process in multiprocessing.active_children()]
            before = cpu_time(pids)
            time.sleep(1)
            return cpu_time(pids) - before
        if what in ("queue_time_alone", "queue_bytes_alone"):
            for _ in range(workers):
                pool.apply_async(time.sleep, (60,))
            time.sleep(0.2)
            before = resident()
            results = []
            seconds = timed(lambda: results.extend(pool.apply_async(next_, (i,)) for i in items)) / count
            size = (resident() - before) / count - 32  # beside the argument, an int
            pool.terminate()
            return seconds if what == "queue_time_alone" else size
    return None


def with_executor(what, workers, count):
    if what == "make":
        def work():
            for _ in range(count):
                with ProcessPoolExecutor(workers) as pool:
                    check(pool.map(next_, range(workers)), range(1, workers + 1))
        return timed(work) / count
    with ProcessPoolExecutor(workers) as pool:
        check(pool.map(next_, range(100)), range(1, 101))
        items = range(count)
        expected = range(1, count + 1)
        if what == "apply_async":
            def work():
                results = [pool.submit(next_, i) for i in items]
                check((result.result() for result in results), expected)
            return timed(work) / count
        if what == "map":  # its own chunks are single items
            return timed(lambda: check(pool.map(next_, items, chunksize=max(1, count // (4 * workers))), expected)) / count
        if what == "map_single":
            return timed(lambda: check(pool.map(next_, items), expected)) / count
        if what in ("apply_median", "apply_99th"):
            return quantile([timed(lambda: check([pool.submit(next_, i).result()], [i + 1])) for i in items], what)
    return None


def main():
    kind = sys.argv[1]
    for line in sys.stdin:
        what, workers, count = line.split()
        if kind == "executor":
            value = with_executor(what, int(workers), int(count))
        else:
            context = multiprocessing.get_context("spawn" if kind == "spawn" else None)
            value = with_pool(context, what, int(workers), int(count))
        print("-" if value is None else value, flush=True)


if __name__ == "__main__":
    main()
