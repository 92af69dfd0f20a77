"""Lesson 01 in Python: os.fork() is called once and returns twice."""
import os


def say(text):  # one write for the whole line, flushed at once: a child would print unflushed text again
    print(text + "\n", end="", flush=True)


def run_child(parent):
    say(f"I am child process ({os.getpid()}) and my parent is {os.getppid()}.")
    os._exit(0 if os.getppid() == parent else 1)  # never back into the parent's loop


parent = os.getpid()
say(f"Process ({parent}) start...")
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        run_child(parent)
    say(f"I ({parent}) just created a child process ({pid}).")
    children.append(pid)

for child in children:
    _, status = os.waitpid(child, 0)
    say(f"Child process ({child}) end.")
    assert status == 0
