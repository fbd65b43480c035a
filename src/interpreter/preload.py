# Before the worker: how it forks others (--preload). The parent runs the setup, and forks a worker for each
# request. A request comes over a socket: the ends of the worker's stdin, stdout and stderr, a length, and that
# many bytes: the folder and the variables, with a NUL byte after each. The parent says `ready`, and then
# `forked PID` or `refused ERRNO` for each request.
import gc
import io
import os
import sys

raw_fork, raw_exit, raw_wait = os.fork, os._exit, os.waitpid
is_between = False  # the fork is not that of a worker
STREAMS = io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair


def skipping(register):
    """What is to be done at a fork is not done for the process between the parent and a worker."""
    def skip(function):
        return function and (lambda: None if is_between else function())
    def wrapper(**functions):
        register(**{when: skip(function) for when, function in functions.items()})
    return wrapper


if hasattr(os, "register_at_fork"):
    os.register_at_fork = skipping(os.register_at_fork)


def fork_workers(serve):
    """Forks workers, which call `serve`, until nobody asks for them any more."""
    import socket

    control = socket.socket(fileno=source)
    warn_of_threads()
    gc.collect()
    files = open_files()
    if hasattr(gc, "freeze"):
        gc.freeze()  # a collection in a worker does not touch what it shares
    os.write(sink, b"ready\n")
    while True:
        request = read_request(control)
        if not request:
            break
        flush_all(files)
        streams, folder, variables = request
        said = fork_between(streams)
        if said is None:
            control.detach()
            become_worker(serve, folder, variables, files)
        for stream in streams:
            os.close(stream)
        os.write(sink, said)
    end(0, files)


def warn_of_threads():
    import threading

    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        names = ", ".join(others)
        print(f"--preload: the setup has started threads, which no worker has: {names}", file=sys.stderr)


def read_request(control):
    """The streams, the folder and the variables of a worker; None: procpool is gone."""
    import array
    import socket

    streams = array.array("i")
    head, ancillary, *_ = control.recvmsg(4, socket.CMSG_SPACE(3 * streams.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            streams.frombytes(data[:len(data) // streams.itemsize * streams.itemsize])
    if not head:
        return None
    while len(head) < 4:
        head += control.recv(4 - len(head))
    data = bytearray()
    length = int.from_bytes(head, "big")
    while len(data) < length:
        piece = control.recv(length - len(data))
        if not piece:
            return None
        data += piece
    folder, *variables, _ = bytes(data).split(b"\0")
    return list(streams), folder, variables


def fork_between(streams):
    """Forks a process that forks the worker and ends: so the worker becomes a child of procpool. Returns what to
    say about it, and None in the worker."""
    global is_between
    heard, told = os.pipe()
    is_between = True
    try:
        between = raw_fork()
    except OSError as error:
        os.close(heard)
        os.close(told)
        return b"refused %d\n" % error.errno
    finally:
        is_between = False
    if between:
        os.close(told)
        said = os.read(heard, 64)
        os.close(heard)
        try:
            raw_wait(between, 0)
        except ChildProcessError:
            pass  # the setup has had the system ignore children
        if not said:
            sys.exit("it could not fork a worker: the process that was to do it was killed")
        return said
    try:
        # From its first moment the worker has its own stderr. If procpool is killed, that shows whose it is.
        os.dup2(streams[2], 1)
        os.dup2(streams[2], 2)
        worker = raw_fork()
    except OSError as error:
        os.write(told, b"refused %d\n" % error.errno)
        raw_exit(0)
    except BaseException:
        raw_exit(1)
    if worker:
        try:
            os.setpgid(worker, worker)
            os.write(told, b"forked %d\n" % worker)
        finally:
            raw_exit(0)
    os.setpgid(0, 0)
    for unneeded in told, heard, streams.pop():
        os.close(unneeded)
    take(streams)
    return None


def take(streams):
    """The worker has its own requests and replies, and not those of its parent."""
    global source, sink
    os.close(source)
    os.close(sink)
    source, sink = streams
    for stream in streams:
        os.set_inheritable(stream, False)


def become_worker(serve, folder, variables, files):
    import atexit
    import traceback
    import weakref

    status = 1
    # What the setup has said is to be done at the end is done in the parent.
    atexit._clear()
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
    if "asyncio" in sys.modules:
        sys.modules["asyncio"].set_event_loop(None)  # the parent's waits for what others wait for
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()  # Python's own has a hook for that
    try:
        if folder:
            os.chdir(folder)
        for variable in variables:
            name, _, value = variable.partition(b"=")
            os.environb[name] = value
        serve()
        status = 0
    except SystemExit as error:
        status = error.code
        if status is None:
            status = 0
        elif not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
    quietly(flush)
    end(status, files)


def end(status, files):
    """Ends the process. What it shares with others is not taken apart, since that would copy it first."""
    import atexit
    import threading

    threading._shutdown()
    atexit._run_exitfuncs()
    own = open_files()  # without those that it shares
    flush_all(files + own)
    for thing in own:
        if not issubclass(type(thing), (*STREAMS, io.RawIOBase, io.BufferedReader)):
            quietly(thing.close)  # it may write more, as GzipFile does
    flush_all(own)
    flush_all([sys.stdout, sys.stderr])
    raw_exit(status & 0xFF)


def open_files():
    things = gc.get_objects()
    kinds = {kind for kind in set(map(type, things)) if io.IOBase.__base__ in kind.__mro__}
    return [thing for thing in things if type(thing) in kinds] if kinds else []


def flush_all(files):
    for file in files:
        if issubclass(type(file), STREAMS):
            quietly(file.flush)


def quietly(function):
    try:
        function()
    except Exception:
        pass  # it is closed, or its reader is gone


