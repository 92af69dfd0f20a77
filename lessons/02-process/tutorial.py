"""A child process with multiprocessing: the twin of src/main.rs."""
import multiprocessing
import os


# The child process runs this.
def run_proc(name):
    print(f"Run child process {name} ({os.getpid()})...")


# Where a child imports this file again (spawn), everything outside of this `if` runs twice.
if __name__ == "__main__":
    print(f"Parent process {os.getpid()}.")
    p = multiprocessing.Process(target=run_proc, args=("test",))
    print("Child process will start.")
    p.start()
    p.join()
    print("Child process end.")
