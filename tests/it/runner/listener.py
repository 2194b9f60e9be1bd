"""Writes the name of every signal that it gets into the file `heard`, until the file `done` is there."""
import os
import signal
import sys
import time

heard = os.open("heard", os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def note(number, _):
    os.write(heard, (signal.Signals(number).name[3:] + "\n").encode())


for name in "INT TERM HUP QUIT USR1 USR2 ALRM CONT WINCH".split():
    signal.signal(getattr(signal, "SIG" + name), note)
with open("listener.new", "w") as file:
    file.write(f"{os.getpid()}")
os.rename("listener.new", "listener")
while not os.path.exists("done"):
    time.sleep(0.01)
sys.exit(7)
