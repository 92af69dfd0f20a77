"""Two writers, a queue, a reader, a pipe: the twin of src/main.rs."""
from multiprocessing import Pipe, Process, Queue
import os

def write(queue, values):
    print(f"Process to write: {os.getpid()}", flush=True)
    for value in values:
        print(f"Put {value} to queue...", flush=True)
        queue.put(value)
    queue.put(None)  # the queue itself never reports that this writer is done

def read(queue, pipe):
    pipe.send(f"Process to read: {os.getpid()}")
    for _ in range(2):  # so the reader has to know how many writers there are
        for value in iter(queue.get, None):
            pipe.send(f"Get {value} from queue.")

if __name__ == "__main__":
    queue = Queue()
    output, pipe = Pipe(duplex=False)
    pr = Process(target=read, args=(queue, pipe))
    pws = [Process(target=write, args=(queue, v)) for v in ("ABC", "XYZ")]
    for p in [pr, *pws]:
        p.start()
    pipe.close()  # the parent's copy; end of file comes when all are closed
    try:
        while True:
            print(output.recv(), flush=True)
    except EOFError:
        print("All subprocesses done.")
