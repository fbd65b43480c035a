#!/usr/bin/env python3
"""A worker for procpool. Save it as worker.py and try it:

    printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker 'python3 worker.py'
"""
import json
import sys

# What takes long to load or to open is loaded here, once: imports, models, connections.


def greet(name):
    return f"hello, {name}"


COMMANDS = {"greet": greet}  # the cmd of a job, and its function


def run(cmd, args):
    if cmd not in COMMANDS:
        raise ValueError(f"there is no command {cmd!r}")
    # Args that are an object, as with --header, have names.
    return COMMANDS[cmd](**args) if isinstance(args, dict) else COMMANDS[cmd](*args)


for line in sys.stdin:  # it ends when procpool closes stdin
    request = json.loads(line)
    reply = {"id": request["id"]}
    try:
        reply["result"] = run(request["cmd"], request["args"])
    except Exception as error:  # this job fails, and the worker goes on
        reply["error"] = f"{type(error).__name__}: {error}"
    # stdout is for replies. Print everything else to stderr: print(…, file=sys.stderr).
    print(json.dumps(reply), flush=True)
