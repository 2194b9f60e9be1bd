#!/usr/bin/env python3
"""A client of kv with the standard library alone: put, get, compare-and-set, and a subscription that resumes."""
import json
import os
import socket
import subprocess
import sys
import time


class KvError(Exception):
    """The daemon answered with an error."""
    def __init__(self, error):
        super().__init__(f"{error['message']} ({error['code']})")
        self.code, self.retry = error["code"], error.get("retry", False)


class Kv:
    """A connection to the daemon of the store. `kv socket` finds the daemon, or starts it."""

    def __init__(self):
        path = os.environ.get("KV_SOCKET") or subprocess.check_output(["kv", "socket"], text=True).rstrip("\n")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")

    def read(self):
        line = self.lines.readline()
        if not line.endswith(b"\n"):  # A line without its newline was cut off.
            raise ConnectionError("the daemon went away")
        return json.loads(line)

    def call(self, op, **fields):
        self.socket.sendall(json.dumps({"op": op, **fields}).encode() + b"\n")
        reply = self.read()
        if not reply["ok"]:
            raise KvError(reply["error"])
        return reply

    def increment(self, key):
        while True:  # Version 0: only if the key is still absent.
            record = (self.call("get", keys=[key])["records"] or [{"version": 0, "value": 0}])[0]
            try:
                self.call("put", key=key, value=record["value"] + 1, version=record["version"])
                return record["value"] + 1
            except KvError as error:
                if error.code != "version_mismatch":
                    raise


def follow(prefix, after="now", epoch=None):
    """Yields the changes after a seq, each once and in order, from one daemon after the other."""
    while True:
        try:
            kv = Kv()
            begun = kv.call("subscribe", prefix=prefix, after=after, **({"epoch": epoch} if epoch else {}))
            epoch, after = begun["epoch"], begun["seq"] if after == "now" else after
            while (event := kv.read())["event"] != "end":
                after = event.get("seq", after)
                if event["event"] == "change":
                    yield event
            raise KvError(event["error"])
        except (OSError, subprocess.CalledProcessError, KvError) as error:
            if epoch is None or not getattr(error, "retry", True):  # It never began, or cannot go on.
                raise
            time.sleep(0.1)


try:
    command, words = sys.argv[1], sys.argv[2:]
    if command == "follow":
        for change in follow(words[0], *map(int, words[1:])):
            print(change["seq"], change["action"], change["record"]["key"], flush=True)
    run = {"put": lambda key, value: Kv().call("put", key=key, value=json.loads(value))["version"],
           "get": lambda key: json.dumps(Kv().call("get", key=key)["value"], ensure_ascii=False),
           "increment": lambda key: Kv().increment(key)}
    print(run[command](*words))
except (KvError, OSError, ValueError, subprocess.CalledProcessError) as error:
    sys.exit(f"kv.py: {error}")
