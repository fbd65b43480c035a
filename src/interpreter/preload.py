# Before the worker: how it forks others (--preload). The parent runs the setup, and forks a worker for each
# request that comes over a socket. A request carries the worker's stdin, stdout and stderr, and has the folder and
# the variables, with a NUL byte after each. A message without open files is the number of a worker that is to be
# reaped. The parent says `ready`, and then `forked PID` or `refused ERRNO` for each request.
import array
import atexit
import gc
import io
import os
import signal
import socket
import sys
import threading
import traceback
import weakref

raw_fork, raw_exit = os.fork, os._exit
MOST = 1 << 19  # bytes of a message
STREAMS = io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom, io.BufferedRWPair


def fork_workers(serve):
    """Forks workers, which call `serve`, until nobody asks for them any more."""
    control = socket.socket(fileno=source)
    warn_of_threads()
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # procpool says when a worker may be reaped
    gc.collect()
    files = open_files()
    if hasattr(gc, "freeze"):
        gc.freeze()  # a collection in a worker does not touch what it shares
    os.write(sink, b"ready\n")
    while True:
        message, streams = receive(control)
        if not message:
            break
        if not streams:
            reap(int(message))
            continue
        flush_all([*files, sys.stdout, sys.stderr])
        try:
            worker = fork_with(streams[2])
        except OSError as error:
            said = b"refused %d\n" % error.errno
        else:
            if not worker:
                control.detach()
                become_worker(serve, message, streams, files)
            said = b"forked %d\n" % worker
        for stream in streams:
            os.close(stream)
        os.write(sink, said)
    while reap(-1):
        pass
    end(0, files)


def warn_of_threads():
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        names = ", ".join(others)
        sys.stderr.write(f"the setup has started threads, and no worker has them: {names}\n")


def receive(control):
    """A message and the open files that came with it; empty: procpool is gone."""
    import array
    streams = array.array("i")
    message, ancillary, *_ = control.recvmsg(MOST, socket.CMSG_SPACE(3 * streams.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            streams.frombytes(data[:len(data) // streams.itemsize * streams.itemsize])
    return message, list(streams)


def reap(worker):
    try:
        return os.waitpid(worker, os.WNOHANG)[0]
    except ChildProcessError:
        return 0  # the setup waits for all children


def fork_with(stderr):
    """Forks a worker. From its first moment it has its own stderr: if procpool is killed, that shows whose it is."""
    ours = os.dup(2)
    try:
        os.dup2(stderr, 1)
        os.dup2(stderr, 2)
        worker = raw_fork()
        if worker:
            os.setpgid(worker, worker)
        else:
            os.setpgid(0, 0)
            return 0
    finally:
        if os.getpid() == parent:
            os.dup2(ours, 1)
            os.dup2(ours, 2)
        os.close(ours)
    return worker


def become_worker(serve, message, streams, files):
    status = 1
    try:
        take(streams)
        # What the setup has said is to be done at the end is done in the parent.
        atexit._clear()
        weakref.finalize._registry.clear()
        weakref.finalize._registered_with_atexit = False
        if "asyncio" in sys.modules:
            sys.modules["asyncio"].set_event_loop(None)  # that of the parent waits for what others wait for
        if "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()  # the module random does that by itself
        folder, *variables, _ = message.split(b"\0")
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


def take(streams):
    """The worker has its own requests and replies, and not those of its parent."""
    global source, sink
    for unneeded in source, sink, streams.pop():
        os.close(unneeded)
    source, sink = streams
    for stream in streams:
        os.set_inheritable(stream, False)


def end(status, files):
    """Ends the process. What it shares with others is not taken apart, since that would copy it first."""
    import atexit
    threading._shutdown()
    atexit._run_exitfuncs()
    own = open_files()  # without those that it shares
    flush_all(files + own)
    for thing in own:
        if not issubclass(type(thing), (*STREAMS, io.RawIOBase, io.BufferedReader)):
            quietly(thing.close)  # it may write more, as GzipFile does
    flush_all([*own, sys.stdout, sys.stderr])
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


parent = os.getpid()

