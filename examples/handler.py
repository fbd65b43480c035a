#!/usr/bin/env python3
"""A worker: for each request it reads, a line of JSON, it prints a reply, a line of JSON.

    procpool --worker examples/handler.py < examples/jobs.jsonl
Only replies go to stdout. Messages for people: print("...", file=sys.stderr)
"""
import hashlib
import json
import sys
from pathlib import Path

def count(path):
    data = Path(path).read_bytes()
    return {"lines": data.count(b"\n"), "words": len(data.split()), "bytes": len(data)}

def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()

def longest(path):
    with open(path, "rb") as file:
        lines = ((number, line.rstrip(b"\n")) for number, line in enumerate(file, start=1))
        number, line = max(lines, key=lambda pair: len(pair[1]), default=(0, b""))
    return {"line": number, "text": line.decode(errors="replace")}

COMMANDS = {"count": count, "hash": sha256, "longest": longest}  # yours go here

for line in sys.stdin:  # one request a line; when stdin ends, so does the worker
    request = json.loads(line)  # {"id": 17, "cmd": "count", "args": ["a.txt"]}
    cmd, args = request["cmd"], request["args"]
    reply = {"id": request["id"]}  # tells procpool which request this answers
    try:
        if cmd not in COMMANDS:
            raise ValueError(f"unknown command {cmd!r}, expected one of: {', '.join(COMMANDS)}")
        if not (isinstance(args, list) and args and isinstance(args[0], str)):
            raise ValueError(f'{cmd} needs a path, as in {cmd} ["a.txt"]')
        reply["result"] = COMMANDS[cmd](args[0])
    except Exception as error:  # this job failed; the worker goes on with the next one
        reply["error"] = str(error)
    print(json.dumps(reply), flush=True)  # flush, or procpool waits for ever
