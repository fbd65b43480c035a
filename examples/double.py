#!/usr/bin/env python3
"""The worker of double.rs in Python: `double [21]` is 42."""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    cmd, args = request["cmd"], request["args"]
    reply = {"id": request["id"]}
    if cmd != "double":
        reply["error"] = f"unknown command {cmd!r}, expected double"
    elif isinstance(args, list) and args and type(args[0]) is int:
        reply["result"] = 2 * args[0]
    else:
        reply["error"] = "double needs an integer, as in double [21]"
    # One write, so that a reply is never on its way in two halves.
    sys.stdout.write(json.dumps(reply) + "\n")
    sys.stdout.flush()
