"""Five tasks for a pool of four: the twin of src/main.rs."""
import multiprocessing
import os
import random
import time


# A worker runs this.
def long_time_task(name):
    print(f"Run task {name} ({os.getpid()})...", flush=True)
    start = time.time()
    time.sleep(random.random() * 3)
    print(f"Task {name} runs {time.time() - start:.2f} seconds.", flush=True)


if __name__ == "__main__":
    print(f"Parent process {os.getpid()}.", flush=True)
    pool = multiprocessing.Pool(4)  # Pool(): as many workers as cores
    results = [pool.apply_async(long_time_task, (i,)) for i in range(5)]
    print("Waiting for all subprocesses done...", flush=True)
    pool.close()  # after this, apply_async raises ValueError
    pool.join()  # before close, this raises ValueError
    print("All subprocesses done.")
    for result in results:
        result.get()  # raises what the task raised; nobody hears of it otherwise
