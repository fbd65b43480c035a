"""What the jobs of the benchmark do, for the peers in Python."""
import json


def work(line):
    job = json.loads(line)
    cmd, args = job["cmd"], job["args"]
    if cmd == "double":
        return 2 * args[0]
    if cmd == "echo":
        return args[0]
    raise ValueError(f"unknown command {cmd!r}")
