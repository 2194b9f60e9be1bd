"""Sends signals in every way to a command of kv that runs listener.py, and tells which of them it heard how often.

Usage: signals.py COMMAND... with the words of kv in front of those of the program."""
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

LISTENER = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "listener.py")]
SIGNALS = "INT TERM HUP QUIT USR1 USR2 ALRM CONT WINCH".split()


def until(what, holds):
    deadline = time.monotonic() + 10
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not happen; heard: {heard()}"
        time.sleep(0.002)
    return found


def heard():
    try:
        return open("heard").read().split()
    except FileNotFoundError:
        return []


def number(name):
    return getattr(signal, "SIG" + name)


def listener():
    return int(until("the start of the listener", lambda: os.path.exists("listener") and open("listener").read()))


def begin():
    for name in ["heard", "listener", "done"]:
        if os.path.exists(name):
            os.remove(name)


def finish(process):
    open("done", "w").close()
    return process.wait(10)


def settle(pid, marker="WINCH"):
    """Whatever was under way has arrived when a later signal has, twice."""
    for _ in range(2):
        before = heard().count(marker)
        os.kill(pid, number(marker))
        until(marker, lambda: heard().count(marker) > before)


def count(pid, name, send):
    """How often the program hears a signal that is sent once."""
    before = heard().count(name)
    send()
    until(name, lambda: heard().count(name) > before)
    settle(pid, "USR2" if name == "WINCH" else "WINCH")
    return heard().count(name) - before


def by_kill(words):
    begin()
    process = subprocess.Popen(words + LISTENER, start_new_session=True)
    listener()
    for name in SIGNALS:
        for way, send in [("kill", os.kill), ("killpg", os.killpg)]:
            times = count(process.pid, name, lambda: send(process.pid, number(name)))
            print(way, name, times)
    print("exit code", finish(process))


def by_terminal(words):
    """As the leader of a session, as with ssh -t."""
    begin()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(words[0], words + LISTENER)
    listener()
    size = lambda: fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    for way, name, send in [
        ("Ctrl-C", "INT", lambda: os.write(terminal, b"\x03")),
        ("Ctrl-\\", "QUIT", lambda: os.write(terminal, b"\x1c")),
        ("a new size", "WINCH", size),
    ]:
        print(way, count(pid, name, send))
    os.close(terminal)
    until("HUP", lambda: "HUP" in heard())
    settle(pid)
    print("hang-up", heard().count("HUP"))
    open("done", "w").close()
    print("exit code", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def by_shell(words):
    """With the job control of a shell, stopped and continued."""
    begin()
    shell, terminal = pty.fork()
    if shell == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    os.write(terminal, (" ".join(words + LISTENER) + "; echo code $?\n").encode())
    program = listener()
    state = lambda pid: open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    runner = int(state(program)[1])
    for times in [1, 2]:
        os.write(terminal, b"\x1a")
        until("the stop", lambda: state(program)[0] == "T" and state(runner)[0] == "T")
        # The shell has the terminal again.
        until("the prompt", lambda: os.tcgetpgrp(terminal) == shell)
        os.write(terminal, b"fg\n")
        until("CONT", lambda: heard().count("CONT") >= times)
        settle(runner)
    print("Ctrl-Z and fg, twice:", heard().count("CONT"))
    print("Ctrl-C", count(runner, "INT", lambda: os.write(terminal, b"\x03")))
    os.write(terminal, b"\x1a")
    until("the stop", lambda: state(program)[0] == "T" and state(runner)[0] == "T")
    before = heard().count("TERM")
    os.write(terminal, b"kill %1; fg\n")
    until("TERM", lambda: heard().count("TERM") > before)
    settle(runner)
    print("kill %1", heard().count("TERM") - before)
    open("done", "w").close()
    os.write(terminal, b"exit\n")
    os.waitpid(shell, 0)


def by_timeout(words):
    """It sends a signal to its child and to its group."""
    begin()
    process = subprocess.Popen(["timeout", "0.5"] + words + LISTENER, start_new_session=True)
    program = listener()
    runner = int(open(f"/proc/{program}/stat").read().rsplit(")", 1)[1].split()[1])
    until("TERM", lambda: "TERM" in heard())
    settle(runner)
    print("timeout", heard().count("TERM"))
    finish(process)


globals()[sys.argv[1]](sys.argv[2:])
