"""procpool's worker for Python: python3 -c SOURCE MODE CODE [SETUP...]

MODE is `expression` (CODE is evaluated once per job) or `file` (the functions in the file CODE are
the commands); `check-expression` and `check-file` only report whether CODE can be used. With
`list-expression` x is the list of all args. With `live-` what a generator yields is sent at once.
Requests come on stdin and replies go to stdout, one line of JSON each. A request is the args, or an
object with `cmd` and `args`. Replies are in the same order until a result can be awaited. From then
on each reply names its request by its number.
"""
import _thread
import ast
import functools
import itertools
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
CO_COROUTINE, CO_ASYNC_GENERATOR = 0x80, 0x200
# What makes or sees the variables of a function: they would be those of another job as well.
SCOPES = (
    ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.NamedExpr, ast.Await, ast.Yield,
    ast.YieldFrom,
)
FLAT = frozenset((int, str, bool, type(None)))  # results that need no look to be sent with others
OF_SCOPES = {"locals", "vars", "dir", "eval", "exec"}
AS_TEXT = {"datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid"}

requests = []  # the requests that are being answered
results = []  # those of `answer_quickly` that are no replies yet; a reply that is one already is in a tuple
replies = []  # the replies that are not written yet, as text
requested = 0  # how many requests have been read
writing = threading.Lock()
working = threading.Event()  # set while several requests are being answered


def main(mode, code, *setups):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # end quietly
    global live
    *how, kind = mode.split("-")
    checking, live = "check" in how, "live" in how
    take_stdin_and_stdout()
    try:
        job = load(kind, code, setups, checking, "args" if "list" in how else FIRST)
    except Exception as error:
        sys.exit(trace(error).rstrip("\n"))
    if checking:
        return
    if "preload" in how:
        fork_workers(functools.partial(serve, job))
    serve(job)


def serve(job):
    _thread.start_new_thread(flush_in_time, ())
    lines = batches()
    if is_async:
        return answer_all(job, lines, [])
    for batch in lines:
        for some in parse(batch):
            requests[:] = some
            begun = answer(job)
            if begun:
                return answer_all(job, lines, begun)
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
    global requested
    try:
        some = json.loads("[" + lines.decode().replace("\n", ",") + "]")
        requested += len(some)
        yield some
    except (ValueError, RecursionError):  # at least one is not JSON: find out which
        for line in lines.split(b"\n"):
            requested += 1
            try:
                some = [json.loads(line)]
            except (ValueError, RecursionError) as error:
                number = f'"id":{requested},' if loop else ""
                with writing:
                    put_into_words()
                replies.append("{" + number + failure(error)[1:])
            else:
                yield some


def answer(job):
    """Answers the requests. If a result can be awaited, returns it, its number and the requests after it."""
    if len(requests) > 1 or live:
        working.set()
    if quick:
        return answer_quickly()
    append = replies.append
    for index, request in enumerate(requests):
        try:
            if type(request) is dict:
                result = job(request["cmd"], request["args"])
            else:
                result = job("", request)
            kind = type(result)
            if kind is int:
                append(f'{{"result":{result}}}\n')
            elif kind is str:
                append('{"result":' + quote(result) + "}\n")
            elif live and isinstance(result, Iterator):
                send_parts(result, lambda part: append("{" + part + "}\n"))
                append('{"result":null}\n')
            else:
                append('{"result":' + text(result) + "}\n")
        except Awaitable:
            working.clear()
            left = requests[index + 1:]
            return requested - len(left), result, left
        except (SystemExit, KeyboardInterrupt):
            raise  # the process ends, and this job with it
        except BaseException as error:
            append(failure(error))
    working.clear()


def answer_quickly():
    """As `answer`, by a loop that has the expression in it."""
    rest, loop_over = iter(requests), quick  # a result may change what the next requests get
    try:
        while True:
            try:
                return loop_over(rest, results.append, line_of, type, dict, FLAT)
            except Awaitable as found:
                left = list(rest)
                put_into_words()
                return requested - len(left), found.args[0], left
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                results.append((failure(error),))
    finally:
        working.clear()


def line_of(result):
    """A reply that is a line already. Where there is one, there are more: for them `answer` is as fast."""
    global quick
    quick = None
    try:
        return ('{"result":' + text(result) + "}\n",)
    except Awaitable:
        raise Awaitable(result) from None
    except Exception as error:
        return (failure(error),)


def put_into_words():
    """Makes lines of the results. That takes a fourth of the time if it is done for many at once."""
    count = len(results)  # the other thread may append more meanwhile
    some = results[:count]
    del results[:count]
    if not some:
        return
    if tuple in set(map(type, some)):
        for result in some:
            replies.append(result[0] if type(result) is tuple else f'{{"result":{text(result)}}}\n')
    else:
        replies.append('{"result":' + "".join(encode_lines(some, 0))[1:-1] + "}\n")


def flush():
    with writing:
        put_into_words()
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
    """In a child that the code has forked: its parent answers the requests."""
    requests.clear()
    results.clear()
    tasks.clear()
    replies.clear()
    os.dup2(null, source, inheritable=False)
    os.dup2(null, sink, inheritable=False)
    writing.release()


# Several requests at a time, once a result can be awaited.


def answer_all(job, lines, begun):
    """Answers all requests that have not been answered, each as a task of its own."""
    import asyncio

    global loop
    loop = event_loop(asyncio)
    replies.append('{"concurrent":true}\n')
    loop.call_soon(flush)
    if begun:
        number, result, left = begun
        start(number, lambda: result)
        begin(job, number, left)
    listen(job, lines)
    while True:
        try:
            loop.run_forever()
            break
        except (SystemExit, KeyboardInterrupt):
            pass  # it has ended a task, and the job that waits for that task gets it
    flush()
    # As asyncio.run does with what is left running.
    others = asyncio.all_tasks(loop)
    for task in others:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*others, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


def event_loop(asyncio):
    """The loop that a setup has made, or a new one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = asyncio.get_event_loop_policy().get_event_loop()
            if not found.is_closed():
                return found
        except RuntimeError:
            pass
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    return made


def listen(job, lines):
    """Reads requests whenever some have come. Those under way are answered after the last one."""
    def read():
        global is_over
        batch = next(lines, None)
        if batch is None:
            is_over = True
            if not tasks:
                loop.call_soon(loop.stop)
        else:
            for some in parse(batch):
                begin(job, requested - len(some), some)
        return not is_over

    def read_pipe():
        if not read():
            loop.remove_reader(source)

    def read_file():  # it is always ready
        if read():
            loop.call_soon(read_file)

    try:
        loop.add_reader(source, read_pipe)
    except PermissionError:
        read_file()


def begin(job, number, some):
    """Begins to answer requests, the first of which has the next number."""
    global requested
    for request in some:
        if type(request) is not dict:
            number += 1
            start(number, functools.partial(job, "", request))
        elif "cancel" in request:
            if request["cancel"] in tasks:
                tasks[request["cancel"]].cancel()
        else:
            number += 1
            start(number, functools.partial(job, request["cmd"], request["args"]))
    requested = number


def start(number, call):
    try:
        result = call()
        if live and isinstance(result, Iterator):
            send_parts(result, functools.partial(reply_to, number))
            reply = '"result":null'
        else:
            reply = '"result":' + text(result)
    except Awaitable:
        task = tasks[number] = loop.create_task(finish(number, result))
        task.add_done_callback(functools.partial(ended, number))
        return
    except BaseException as error:
        reply = failure(error)[1:-2]
    reply_to(number, reply)


async def finish(number, result):
    try:
        while hasattr(result, "__await__"):
            result = await result
        if live and (hasattr(result, "__aiter__") or isinstance(result, Iterator)):
            send = functools.partial(reply_to, number)
            send('"parts":[]')
            async for item in each(result):
                send('"part":' + text(await settled(item)))
            result = None
        reply = '"result":' + text(await settled(result))
    except BaseException as error:
        reply = failure(error)[1:-2]
    reply_to(number, reply)


async def each(items):
    """Yields what a generator yields. Other jobs have a turn even if the generator never waits."""
    from asyncio import sleep

    if not hasattr(items, "__aiter__"):
        items = in_turn(rest_of(items))
    turn = time.monotonic() + HOLD
    async for item in items:
        yield item
        if time.monotonic() > turn:
            flush()  # waits for procpool
            await sleep(0)
            turn = time.monotonic() + HOLD


async def in_turn(items):
    for item in items:
        yield item


async def settled(value):
    """The value, with the result of each awaitable in its place."""
    while hasattr(value, "__await__"):
        value = await value
    if hasattr(value, "__aiter__") or isinstance(value, Iterator):
        values = Limited()
        async for item in each(value):
            values.add(await settled(item))
        return values
    if isinstance(value, (list, tuple)):
        return [await settled(item) for item in value]
    if isinstance(value, dict):
        return {key: await settled(item) for key, item in value.items()}
    return value


def reply_to(number, reply):
    if not replies:
        loop.call_soon(flush_loop)
        working.set()  # what the loop runs before that may be slow
    replies.append(f'{{"id":{number},{reply}}}\n')


def flush_loop():
    working.clear()
    flush()


def ended(number, task):
    del tasks[number]
    if task.cancelled():  # before it had begun
        reply_to(number, '"error":"CancelledError"')
    if is_over and not tasks:
        loop.stop()


# The code.


def load(kind, code, setups, checking, x):
    """Returns a function of `cmd` and `args`."""
    global is_async, quick
    if kind == "file":
        path = os.path.abspath(code)
        sys.argv[:] = [path]
        sys.path[0] = os.path.dirname(path)
        module = module_of(path)
        setups = compile_setups(setups)
        commands = commands_of(module)
        is_async = any(map(is_coroutine, commands.values()))
        job = functools.partial(command, commands)
    else:
        sys.argv[:] = ["-c"]
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        job = function_of(code, vars(module), x)
        is_async = is_coroutine(job)
        if not live:
            quick = loop_of(code, vars(module), x)
        setups = compile_setups(setups)
    if not checking:
        for setup in setups:
            exec(setup, vars(module))
    return job


def is_coroutine(function):
    code = getattr(function, "__code__", None)
    return bool(code and code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR))


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


def loop_of(code, namespace, x):
    """Returns a function that answers requests, if the code is an expression that leaves nothing behind. That takes
    two thirds of the time of a function that is called for each."""
    name, code = remember("<expression>", code)
    try:
        expression = ast.parse(code, name, "eval").body
    except SyntaxError:
        return None
    for node in ast.walk(expression):
        if isinstance(node, SCOPES) or getattr(node, "id", "") in OF_SCOPES:
            return None
    tree = ast.parse(
        "def job(__rest, __append, __line, __type, __dict, __flat):\n"
        "    for args in __rest:\n"
        "        if __type(args) is __dict:\n"
        "            cmd, args = args['cmd'], args['args']\n"
        "        else:\n"
        "            cmd = ''\n"
        f"        x = {x}\n"
        "        __result = 0\n"
        "        if __type(__result) in __flat:\n"
        "            __append(__result)\n"
        "        else:\n"
        "            __append(__line(__result))\n"
    )
    tree.body[0].body[0].body[2].value = expression
    found = {}
    exec(compile(tree, name, "exec"), namespace, found)
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


class Awaitable(Exception):
    """A result can be awaited, or a part of it."""


def text(value):
    return "".join(encode(value, 0))


class Limited(list):
    """What a generator yields. It may have no end, so a result has a limit."""

    size = 0

    def add(self, value):
        self.append(value)
        self.size += 1 + len(value if type(value) is str else text(value))
        if self.size > most:
            raise ValueError(f"a generator yields more than {most} bytes{most_by}")


def collect(items):
    values, rest = Limited(), rest_of(items)
    try:
        for value in rest:
            values.add(value)
    except Awaitable:
        rests[id(items)] = items, itertools.chain(values, rest)
        raise
    return values


def rest_of(items):
    """The values of a generator, with those that were taken before it was known that they can be awaited."""
    return rests.pop(id(items), (items, items))[1]


def send_parts(items, send):
    """Sends what a generator yields at once."""
    send('"parts":[]')
    rest = rest_of(items)
    for item in rest:
        try:
            item = text(item)
        except Awaitable:
            rests[id(items)] = items, itertools.chain([item], rest)
            raise
        send('"part":' + item)
        if len(replies) > 100 or len(item) > 1000:
            flush()  # waits for procpool


def plain(value):
    """Returns a replacement for a value of a type that json does not know."""
    kind = type(value)
    if hasattr(value, "__await__") or hasattr(value, "__aiter__"):
        raise Awaitable
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
        if isinstance(value, (Iterator, range)):
            return collect(value)
        if isinstance(value, (Set, ValuesView, deque)):
            return list(value)
        if any(base.__module__.partition(".")[0] in AS_TEXT for base in kind.__mro__):
            return str(value)
    raise TypeError(f"{kind.__name__} has no form in JSON: return str, int, list, dict, ...")


def make_encoder(comma):
    """Returns a function of a value and 0 that returns the pieces of its JSON."""
    if json.encoder.c_make_encoder is None:  # not CPython
        encoder = json.JSONEncoder(
            default=plain, ensure_ascii=False, allow_nan=False, separators=(comma, ":")
        )
        return lambda value, _: encoder.encode(value)
    # JSONEncoder makes an encoder for every call. That takes longer than most results take.
    return json.encoder.c_make_encoder(
        None, plain, json.encoder.encode_basestring, None, ":", comma, False, False, False
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


most, _, most_by = os.environ.pop("PROCPOOL_MAX_REPLY", "67108864").partition(" ")
most, most_by = int(most), most_by and f" ({most_by})"
rests = {}  # generators of which some values can be awaited, by id: what is left of each
tasks = {}  # the jobs under way, by the number of their request
loop = None  # of a worker that has met a result that can be awaited
live = is_async = is_over = False
quick = None  # a function that answers all requests, if the code allows it
encode = make_encoder(",")
encode_lines = make_encoder('}\n{"result":')
quote = json.encoder.encode_basestring

try:
    main(*sys.argv[1:])
finally:
    flush()
