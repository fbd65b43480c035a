"""procpool's worker for Python: python3 -c SOURCE MODE CODE [SETUP...]

MODE is `expression` (CODE is evaluated once per job) or `file` (the functions in the file CODE are
the commands); `check-expression` and `check-file` only report whether CODE can be used. With
`list-expression` x is the list of all args.
Requests come on stdin and replies go to stdout, one line of JSON each, in the same order.
"""
import ast
import functools
import json
import os
import signal
import sys
import threading
import time
import types
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Set, ValuesView

FIRST = "args if type(args) is not list else args[0] if args else None"
HOLD = 0.001  # a reply waits up to this many seconds, to be written with others
BETWEEN = {"ast", "asyncio.base_events", "asyncio.futures", "asyncio.tasks"}
AS_TEXT = {"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"}

requests = []  # the requests that are being answered
replies = []  # the replies that are not written yet, as text
writing = threading.Lock()
working = threading.Event()  # set while several requests are being answered


def main(mode, code, *setups):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly
    how, _, kind = mode.rpartition("-")
    checking = how == "check"
    take_stdin_and_stdout()
    try:
        job = load(kind, code, setups, checking, "args" if how == "list" else FIRST)
    except Exception as error:
        sys.exit(trace(error).rstrip("\n"))
    if checking:
        return
    for lines in batches():
        for some in parse(lines):
            requests[:] = some
            answer(job)
        flush()


# Requests and replies. The code must not get at them: its stdin is empty, its stdout is stderr.


def take_stdin_and_stdout():
    global source, sink, null
    source, sink, null = os.dup(0), os.dup(1), os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")

    os.register_at_fork(
        before=writing.acquire, after_in_parent=writing.release, after_in_child=forget
    )
    for name in "_exit", "abort", "kill", "killpg", "execv", "execve":
        setattr(os, name, flushing(getattr(os, name)))  # the process may end in it
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    threading.Thread(target=flush_in_time, daemon=True).start()


def batches():
    """Yields the lines that have arrived, without the last newline."""
    pieces = []
    while True:
        piece = os.read(source, 1 << 16)
        if not piece:
            return
        lines, newline, rest = piece.rpartition(b"\n")
        if newline:
            pieces.append(lines)
            yield b"".join(pieces)
            pieces.clear()
        pieces.append(rest)


def parse(lines):
    """Yields lists of requests: one list of all, since that is fastest."""
    try:
        yield json.loads("[" + lines.decode().replace("\n", ",") + "]")
    except (ValueError, RecursionError):  # at least one is not JSON: find out which
        for line in lines.split(b"\n"):
            try:
                yield [json.loads(line)]
            except (ValueError, RecursionError) as error:
                replies.append(failure(error))


def answer(job):
    if len(requests) > 1:
        working.set()
    for request in requests:
        try:
            result = encode(job(request["cmd"], request["args"]), 0)
            replies.append('{"result":' + "".join(result) + "}\n")
        except (SystemExit, KeyboardInterrupt):
            raise  # the process ends, and this job with it
        except BaseException as error:
            replies.append(failure(error))
    working.clear()


def flush():
    with writing:
        count = len(replies)  # the other thread may append more meanwhile
        data = "".join(replies[:count])
        del replies[:count]
        # Lone surrogates, which UTF-8 does not have, become \udcff, as JSON writes them.
        data = memoryview(data.encode(errors="backslashreplace"))
        while data:
            data = data[os.write(sink, data):]


def flush_in_time():
    """Runs in a thread: a slow job must not delay the replies to earlier jobs."""
    while working.wait():
        time.sleep(HOLD)
        flush()


def flushing(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        flush()
        return function(*args, **kwargs)
    return wrapper


def forget():
    """In a forked child: its parent answers the requests."""
    requests.clear()
    replies.clear()
    os.dup2(null, source, inheritable=False)
    os.dup2(null, sink, inheritable=False)
    writing.release()


# The code.


def load(kind, code, setups, checking, x):
    """Returns a function of `cmd` and `args`."""
    if kind == "file":
        path = os.path.abspath(code)
        sys.argv[:] = [path]
        sys.path[0] = os.path.dirname(path)
        module = module_of(path)
        setups = compile_setups(setups)
        job = functools.partial(command, commands_of(module))
    else:
        sys.argv[:] = ["-c"]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        job = function_of(code, vars(module), x)
        setups = compile_setups(setups)
    if not checking:
        for setup in setups:
            exec(setup, vars(module))
    return job


def function_of(code, namespace, x):
    name, code = remember("<expression>", code)
    body = body_of(code, name)
    tree = ast.parse(
        ("async " if any(map(awaits, body)) else "") + "def job(cmd, args):\n"
        f"    x = {x}\n"
    )
    tree.body[0].body += body
    found = {}
    exec(compile(ast.fix_missing_locations(tree), name, "exec"), namespace, found)
    return found["job"]


def body_of(code, name):
    try:
        return [ast.Return(ast.parse(code, name, "eval").body)]
    except SyntaxError:
        pass  # the code has statements: if the last one is an expression, it is the value
    body = ast.parse(code, name).body
    if body and isinstance(body[-1], ast.Expr):
        body[-1] = ast.Return(body[-1].value)
    return body


def awaits(node):
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return False  # an inner function awaits for itself
    return (
        isinstance(node, (ast.Await, ast.AsyncFor, ast.AsyncWith))
        or getattr(node, "is_async", False)
        or any(map(awaits, ast.iter_child_nodes(node)))
    )


def compile_setups(setups):
    return [
        compile(code, name, "exec")
        for name, code in (remember(f"<setup {n}>", code) for n, code in enumerate(setups, 1))
    ]


def remember(name, code):
    """Makes tracebacks quote the code's lines, and removes the indentation that all of them have."""
    import linecache
    import textwrap

    code = textwrap.dedent(code).strip() + "\n"
    linecache.cache[name] = len(code), None, code.splitlines(True), name
    return name, code


def module_of(path):
    name = os.path.splitext(os.path.basename(path))[0]
    module = types.ModuleType(name if name not in sys.modules else name + "_")
    module.__file__ = path
    sys.modules[module.__name__] = module
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"), vars(module))
    return module


def commands_of(module):
    exported = getattr(module, "__all__", ())
    return {
        name: value for name, value in vars(module).items()
        if callable(value) and (name in exported or not name.startswith("_")
            and not isinstance(value, type)
            and getattr(value, "__module__", None) == module.__name__)
    }


def command(commands, cmd, args):
    if cmd not in commands:
        known = ", ".join(sorted(commands)) or "(none)"
        raise ValueError(f"unknown command {cmd!r}, expected one of: {known}")
    if isinstance(args, list):
        return commands[cmd](*args)
    if isinstance(args, dict):
        return commands[cmd](**args)
    return commands[cmd]() if args is None else commands[cmd](args)


# Results and errors.


def plain(value):
    """Returns a replacement for a value of a type that json does not know."""
    kind = type(value)
    if hasattr(value, "__await__"):
        return wait_for(value)
    if hasattr(value, "__aiter__"):
        return wait_for(collect(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{kind.__name__} has no form in JSON: decode it, or use base64")
    if not isinstance(value, type):
        for method in "tolist", "item":  # numpy and its like
            if hasattr(value, method):
                return getattr(value, method)()
        if hasattr(value, "__dataclass_fields__"):
            import dataclasses
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            return dict(value)
        if isinstance(value, (Iterator, Set, ValuesView, range, deque)):
            return list(value)
        if any(base.__module__.partition(".")[0] in AS_TEXT for base in kind.__mro__):
            return str(value)
    raise TypeError(f"{kind.__name__} has no form in JSON: return str, int, list, dict, ...")


def wait_for(awaitable):
    import asyncio

    async def wait():
        return await awaitable

    global loop
    if loop is None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop.run_until_complete(wait())


async def collect(iterator):
    return [item async for item in iterator]


def make_encoder():
    """Returns a function of a value and 0 that returns the pieces of its JSON."""
    if json.encoder.c_make_encoder is None:  # not CPython
        encoder = json.JSONEncoder(
            default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return lambda value, _: encoder.encode(value)
    # JSONEncoder makes an encoder for every call. That takes longer than most results take.
    return json.encoder.c_make_encoder(
        None, plain, json.encoder.encode_basestring, None, ":", ",", False, False, False
    )


def failure(error):
    name = type(error).__name__
    try:
        message = f"{name}: {error}" if str(error) else name
    except Exception:
        message = name
    place = place_of(error)
    error = {"message": message, "class": name, "data": trace(error)}
    if place:
        error["at"] = place
    return json.dumps({"error": error}) + "\n"


def place_of(error):
    """The last frame of the traceback: `ops.py:3`, with the line in the code that led there."""
    frames = own_frames(error)
    places = []
    while frames:
        places.append((frames.tb_frame.f_code.co_filename, frames.tb_lineno))
        frames = frames.tb_next
    if not places:
        return None
    is_code = lambda place: place[0] == sys.argv[0] or place[0].startswith("<")
    last = places[-1]
    called = next(filter(is_code, reversed(places)), last)
    text = f"{os.path.basename(last[0])}:{last[1]}"
    if called[0] != last[0]:
        text += f", called from {os.path.basename(called[0])}:{called[1]}"
    return text


def trace(error):
    """The traceback, from the code's own first frame on."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, own_frames(error)))


def own_frames(error):
    frames = error.__traceback__
    while frames and is_foreign(frames.tb_frame.f_globals):
        frames = frames.tb_next
    return frames


def is_foreign(namespace):
    """Whether this namespace is the worker's, or that of a module between it and the code."""
    return namespace is globals() or namespace.get("__name__") in BETWEEN


loop = None
encode = make_encoder()

try:
    main(*sys.argv[1:])
finally:
    flush()
