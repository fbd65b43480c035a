#!/usr/bin/env python3
"""Speaks to procpool in any framing, to see that others would understand it.

usage: speaker.py FRAMING raw        sends each message back, with a ! after it
       speaker.py FRAMING jsonrpc    a server of JSON-RPC that must be initialized first
       speaker.py FRAMING bazel      a persistent worker of Bazel
"""

import json
import os
import sys

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer


def exactly(count):
    data = stdin.read(count)
    if len(data) < count:
        sys.exit(0 if not data else 3)
    return data


def until(end):
    data = bytearray()
    while not data.endswith(end):
        data += exactly(1)
    return bytes(data[: -len(end)])


def read_varint():
    number = shift = 0
    while True:
        byte = exactly(1)[0]
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number


def varint(number):
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(data) + bytes([number])


def read_headers():
    length = None
    while line := until(b"\r\n"):
        name, value = line.split(b": ")
        if name == b"Content-Length":
            length = int(value)
    return length


def read_netstring():
    message = exactly(int(until(b":")))
    assert exactly(1) == b","
    return message


def read_json():
    text = ""
    while True:
        text += until(b"\n").decode()
        try:
            return json.dumps(json.loads(text)).encode()
        except json.JSONDecodeError:
            text += "\n"


READ = {
    "line": lambda: until(b"\n"),
    "nul": lambda: until(b"\0"),
    "u16": lambda: exactly(int.from_bytes(exactly(2), "big")),
    "u32": lambda: exactly(int.from_bytes(exactly(4), "big")),
    "u32le": lambda: exactly(int.from_bytes(exactly(4), "little")),
    "content-length": lambda: exactly(read_headers()),
    "netstring": read_netstring,
    "varint": lambda: exactly(read_varint()),
    "json": read_json,
}

WRITE = {
    "line": lambda m: m + b"\n",
    "nul": lambda m: m + b"\0",
    "u16": lambda m: len(m).to_bytes(2, "big") + m,
    "u32": lambda m: len(m).to_bytes(4, "big") + m,
    "u32le": lambda m: len(m).to_bytes(4, "little") + m,
    "content-length": lambda m: b"Content-Type: any\r\nContent-Length: %d\r\n\r\n" % len(m) + m,
    "netstring": lambda m: b"%d:%b," % (len(m), m),
    "varint": lambda m: varint(len(m)) + m,
    "json": lambda m: m,
}

framing, envelope = sys.argv[1:]


def read():
    return READ[framing]()


def write(message):
    stdout.write(WRITE[framing](message))
    stdout.flush()


def raw():
    while True:
        message = read()
        if message == b"die":
            os.kill(os.getpid(), 9)
        write(json.dumps(message.decode() + "!").encode() if framing == "json" else message + b"!")


def jsonrpc():
    state = "new"
    asked = 0
    held = []

    def answer(request, **what):
        write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **what}).encode())

    while True:
        request = json.loads(read())
        assert request["jsonrpc"] == "2.0"
        method, params = request.get("method"), request.get("params")
        if method == "initialize":
            write(b'{"jsonrpc":"2.0","method":"log","params":["starting"]}')
            if params == {"fail": True}:
                answer(request, error={"code": -1, "message": "not today"})
                continue
            state = "asked"
            answer(request, result={"name": "speaker"})
        elif method == "initialized":
            assert "id" not in request
            state = "ready"
        elif state != "ready":
            answer(request, error={"code": -32002, "message": "it is not initialized"})
        elif method == "ask":
            # The answer to this question is the answer to the request.
            asked += 1
            write(json.dumps({"jsonrpc": "2.0", "id": f"q{asked}", "method": params[0]}).encode())
            reply = json.loads(read())
            assert reply.pop("id") == f"q{asked}"
            answer(request, result=reply)
        elif method == "hold":
            held.append(request)
        elif method == "release":
            write(b'{"jsonrpc":"2.0","method":"progress","params":{"n":1}}')
            answer(request, result="released")
            for one in held:
                answer(one, result=one["params"])
            held.clear()
        elif method == "echo":
            answer(request, result=params)
        elif method == "state":
            answer(request, result=os.environ["PROCPOOL_PROTOCOL"])
        else:
            answer(request, error={"code": -32601, "message": f"there is no {method}"})


def fields(message):
    """The fields of a protocol buffer, as pairs of a number and a value."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            length = number()
            yield key >> 3, message[at : at + length]
            at += length


def bazel():
    while True:
        message = read()
        if framing == "json":
            request = json.loads(message)
            arguments, inputs = request["arguments"], request["inputs"]
            number = request["requestId"]
            inputs = [f"{one['path']}={one['digest']}" for one in inputs]
        else:
            all_fields = list(fields(message))
            arguments = [value.decode() for key, value in all_fields if key == 1]
            inputs = [dict(fields(value)) for key, value in all_fields if key == 2]
            inputs = [f"{one[1].decode()}={one[2].hex()}" for one in inputs]
            number = dict(all_fields)[3]
        code = len(arguments) - 1
        output = " ".join(arguments + inputs) + "\n"
        if framing == "json":
            write(json.dumps({"exitCode": code, "output": output, "requestId": number}).encode())
        else:
            text = output.encode()
            head = b"\x08" + varint(code) if code else b""
            write(head + b"\x12" + varint(len(text)) + text + b"\x18" + varint(number))


{"raw": raw, "jsonrpc": jsonrpc, "bazel": bazel}[envelope]()
