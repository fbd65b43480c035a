"""python3 -m unittest test_worker.py: each test starts the worker as a process, as procpool does."""
import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from pathlib import Path

SOURCE = (Path(__file__).parents[2] / "src/interpreter/worker.py").read_text()
DEADLINE = 30  # seconds


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", SOURCE, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )


def request(args, cmd="", id=0):
    return json.dumps({"id": id, "cmd": cmd, "args": args}, ensure_ascii=False).encode() + b"\n"


def run(arguments, lines):
    """Returns the replies, what came on stderr, and the exit status."""
    with start(*arguments) as process:
        out, err = process.communicate(b"".join(lines), timeout=DEADLINE)
    replies = [json.loads(line) for line in out.splitlines()]
    if {"concurrent": True} in replies:
        replies.remove({"concurrent": True})
        replies.sort(key=lambda reply: reply.get("id", 0))
        for reply in replies:
            reply.pop("id", None)
    return replies, err.decode(), process.returncode


class Case(unittest.TestCase):
    def results(self, code, *jobs, setup=()):
        replies, err, status = run(["expression", code, *setup], map(request, jobs))
        self.assertEqual(status, 0, err)
        self.assertEqual([r for r in replies if "result" not in r], [])
        return [reply["result"] for reply in replies]

    def error(self, code, *args, setup=()):
        replies, err, status = run(["expression", code, *setup], [request(args)])
        self.assertEqual((len(replies), status), (1, 0), err)
        return replies[0]["error"]


class Expression(Case):
    def test_values(self):
        jobs = [0, -1, 2**70, 1.5, True, None, "", "é\n\"😀\x00", [], [1, [2]], {"ü": {"a": None}}]
        self.assertEqual(self.results("x", *([job] for job in jobs)), jobs)

    def test_x_args_cmd(self):
        jobs = [1, 2], [], {"a": 1}, "s", None
        self.assertEqual(self.results("[x, args, cmd]", *jobs), [
            [1, [1, 2], ""], [None, [], ""], [{"a": 1}, {"a": 1}, ""], ["s", "s", ""],
            [None, None, ""],
        ])

    def test_text_is_utf8_and_lone_surrogates_are_escaped(self):
        with start("expression", r"'é' + x") as process:
            out, _ = process.communicate(b'{"id":1,"cmd":"","args":["\\udc80"]}\n', timeout=DEADLINE)
        self.assertEqual(out, '{"result":"é\\udc80"}\n'.encode())

    def test_statements(self):
        code = """
            total = 0
            for n in range(int(x)):
                total += n
            total
        """
        self.assertEqual(self.results(code, ["4"], ["5"]), [6, 10])
        self.assertEqual(self.results("global n; n += 1; n", [], [], setup=["n = 0"]), [1, 2])
        self.assertEqual(self.results("y = x", [1]), [None])

    def test_names_are_shared_with_setups_but_not_with_the_worker(self):
        setup = ["import re", "def f(y): return [re.sub('a', 'b', z) for z in y]"]
        self.assertEqual(self.results("[f(z) for z in [x]]", ["a"], setup=setup), [[["b"]]])
        self.assertEqual(self.error("json")["class"], "NameError")
        self.assertEqual(self.results("f.__module__", [], setup=setup), ["__main__"])

    def test_types(self):
        setup = [textwrap.dedent("""
            import collections, dataclasses, datetime, decimal, enum, pathlib, uuid
            @dataclasses.dataclass
            class Point:
                x: int
                y: object = None
            class Scalar:
                def item(self): return 7
            class Array:
                def tolist(self): return [Scalar(), 2]
            class Color(enum.IntEnum):
                RED = 1
            def generate():
                yield 1
                yield (2, {3})
        """)]
        for code, expected in {
            "(1, 2)": [1, 2], "{5}": [5], "frozenset([1])": [1], "range(3)": [0, 1, 2],
            "map(str, [1])": ["1"], "generate()": [1, [2, [3]]], "{1: 2}": {"1": 2},
            "{1: 2}.keys()": [1], "{1: 2}.values()": [2], "{1: 2}.items()": [[1, 2]],
            "collections.deque([1])": [1], "collections.Counter('a')": {"a": 1},
            "collections.ChainMap({'a': 1})": {"a": 1},
            "Point(1, Point(2))": {"x": 1, "y": {"x": 2, "y": None}},
            "Array()": [7, 2], "Color.RED": 1,
            "decimal.Decimal('1.50')": "1.50", "datetime.date(2020, 1, 2)": "2020-01-02",
            "pathlib.Path('a/b')": "a/b", "uuid.UUID(int=1)": str(__import__("uuid").UUID(int=1)),
        }.items():
            with self.subTest(code):
                self.assertEqual(self.results(code, [], setup=setup), [expected])

    def test_what_json_has_no_form_for(self):
        for code, message in {
            "b'a'": "bytes", "{'a': [bytearray()]}": "bytearray", "object()": "object",
            "float('nan')": "not JSON compliant", "[float('inf')]": "not JSON compliant",
            "int": "type", "{(1,): 2}": "keys must be", "len": "builtin_function_or_method",
        }.items():
            with self.subTest(code):
                self.assertIn(message, self.error(code)["message"])

    def test_circular(self):
        error = self.error("a = []; a.append(a); a")
        self.assertIn(error["class"], ("RecursionError", "ValueError"))

    def test_exception(self):
        error = self.error("int(x)", "abc")
        self.assertEqual(error["class"], "ValueError")
        self.assertTrue(error["message"].startswith("ValueError: invalid literal"))
        self.assertIn('File "<expression>", line 1', error["data"])
        self.assertIn("int(x)", error["data"])
        self.assertNotIn('"<string>"', error["data"])

    def test_exception_in_a_setups_function(self):
        error = self.error("f(x)", 0, setup=["", "def f(y):\n    return 1 / y"])
        self.assertIn('File "<setup 2>", line 2, in f\n    return 1 / y', error["data"])

    def test_exceptions_of_all_kinds(self):
        setup = ["import asyncio", "def f(): f()", "def r(e): raise e",
                 "class Odd(Exception):\n def __str__(self): return 1 / 0"]
        for code, name in {
            "f()": "RecursionError", "r(MemoryError())": "MemoryError", "bytearray(1 << 62)":
            "MemoryError", "r(asyncio.CancelledError())": "CancelledError", "r(Odd())": "Odd",
            "r(GeneratorExit())": "GeneratorExit", "(r(KeyError(y)) for y in 'a')": "KeyError",
        }.items():
            with self.subTest(code):
                self.assertEqual(self.error(code, setup=setup)["class"], name)

    def test_the_worker_outlives_errors(self):
        replies, _, status = run(["expression", "1 / x"], map(request, [[1], [0], [2]]))
        self.assertEqual([list(reply) for reply in replies], [["result"], ["error"], ["result"]])

    def test_await(self):
        setup = ["import asyncio", "async def f(y):\n await asyncio.sleep(0)\n return y",
                 "async def g():\n yield 1\n yield 2", "same = set()"]
        self.assertEqual(self.results("f(x)", [1], [2], setup=setup), [1, 2])
        self.assertEqual(self.results("await f(x) + 1", [1], setup=setup), [2])
        self.assertEqual(self.results("[y async for y in g()]", [], setup=setup), [[1, 2]])
        self.assertEqual(self.results("g()", [], setup=setup), [[1, 2]])
        code = "same.add(asyncio.get_running_loop())\nawait f(1)\nlen(same)"
        self.assertEqual(self.results(code, [], [], setup=setup), [1, 1])
        code = "async def h(): return await f(3)\nasyncio.run(h())"
        self.assertEqual(self.results(code, [], setup=setup), [3])

    def test_exception_in_a_coroutine(self):
        error = self.error("await f(x)", 0, setup=["async def f(y):\n    return 1 / y"])
        self.assertEqual(error["class"], "ZeroDivisionError")
        self.assertIn("    return 1 / y", error["data"])
        self.assertNotIn("asyncio", error["data"])
        self.assertNotIn('"<string>"', error["data"])

    def test_huge_number_is_an_error_of_its_job(self):
        lines = [request([1]), b'{"id":2,"cmd":"","args":[' + b"1" * 5000 + b"]}\n", request([3])]
        replies, _, _ = run(["expression", "str(x)[:3]"], lines)
        self.assertEqual([replies[0], replies[2]], [{"result": "1"}, {"result": "3"}])
        if hasattr(sys, "get_int_max_str_digits"):
            self.assertEqual(replies[1]["error"]["class"], "ValueError")

    def test_large_argument(self):
        replies, _, _ = run(["expression", "[len(x), x]"], [request(["é" * 5_000_000])])
        self.assertEqual(replies[0]["result"], [5_000_000, "é" * 5_000_000])


class Process(Case):
    def test_each_reply_comes_at_once(self):
        with start("expression", "x") as process:
            for n in range(3):
                process.stdin.write(request([n]))
                process.stdin.flush()
                self.assertEqual(read_line(process), {"result": n})
            process.stdin.close()
            self.assertEqual(process.wait(DEADLINE), 0)

    def test_a_slow_job_does_not_hold_back_replies_before_it(self):
        with tempfile.TemporaryDirectory() as directory:
            fifo = os.path.join(directory, "fifo")
            os.mkfifo(fifo)
            with start("expression", "x and open(x).read()") as process:
                process.stdin.write(request([0]) + request([fifo]))
                process.stdin.flush()
                self.assertEqual(read_line(process), {"result": 0})
                with open(fifo, "w") as file:
                    file.write("now")
                self.assertEqual(read_line(process), {"result": "now"})

    def test_print_goes_to_stderr(self):
        code = "print('pröt'), os.system('echo child'), sys.stdout.flush(), print('\\udc80')"
        replies, err, _ = run(["expression", code + " and 5", "import os, sys"], [request([])])
        self.assertEqual(replies[0]["result"][1:3], [0, None])
        self.assertIn("child\n", err)
        self.assertIn("pröt\n", err)

    def test_stdin_is_empty(self):
        code = "[sys.stdin.read(), subprocess.check_output('cat').decode(), os.read(0, 9).decode()]"
        setup = ["import os, subprocess, sys"]
        self.assertEqual(self.results(code, [], [], setup=setup), [["", "", ""]] * 2)

    def test_fork(self):
        for code in ("os.fork() and (os.wait(), x)[1]",
                     "os.fork() or sys.exit(7), os.wait()[1] >> 8",
                     "os.fork() or os._exit(7), os.wait()[1] >> 8"):
            with self.subTest(code):
                replies, err, status = run(
                    ["expression", code, "import os, sys"], map(request, [[1], [2], [3]]))
                self.assertEqual(len(replies), 3)
                self.assertEqual((status, err), (0, ""))

    def test_multiprocessing(self):
        setup = ["import multiprocessing", "def f(y): return y * 2",
                 "pool = multiprocessing.get_context('fork').Pool(2)"]
        self.assertEqual(
            self.results("pool.map(f, x)", [[1, 2]], [[3]], setup=setup), [[2, 4], [6]])

    def test_exit(self):
        for code, status in {
            "sys.exit(3)": 3, "os._exit(4)": 4, "exit(5)": 5, "os.abort()": -6, "sys.exit()": 0,
            "os.kill(os.getpid(), 9)": -9,
        }.items():
            with self.subTest(code):
                jobs = map(request, [[0], [0], [1], [0]])
                replies, _, ended = run(["expression", f"x and {code}", "import os, sys"], jobs)
                self.assertEqual(replies, [{"result": 0}] * 2)
                self.assertEqual(ended, status)

    def test_interrupt_is_quiet(self):
        with start("expression", "x") as process:
            process.stdin.write(request([1]))
            process.stdin.flush()
            read_line(process)
            process.send_signal(2)
            _, err = process.communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, err), (-2, b""))

    def test_setup_that_fails(self):
        replies, err, status = run(["expression", "x", "y = 1\nz = nope"], [request([1])])
        self.assertEqual((replies, status), ([], 1))
        self.assertIn('File "<setup 1>", line 2', err)
        self.assertNotIn('"<string>"', err)
        self.assertIn("NameError", err)


class Check(Case):
    def check(self, kind, *arguments):
        with start("check-" + kind, *arguments) as process:  # its stdin stays open
            process.wait(DEADLINE)
            out, err = process.communicate()
        self.assertEqual(out, b"")
        return process.returncode, err.decode()

    def test_good(self):
        self.assertEqual(self.check("expression", "await f(x)", "import nope"), (0, ""))

    def test_bad_expression(self):
        status, err = self.check("expression", "int(x * 2")
        self.assertEqual(status, 1)
        self.assertIn('File "<expression>", line 1\n    int(x * 2\n', err)
        self.assertIn("^", err)
        self.assertIn("SyntaxError", err)
        self.assertNotIn("During handling", err)
        self.assertNotIn("Traceback", err)
        status, err = self.check("expression", "x = 1\nbreak")
        self.assertIn("SyntaxError: 'break' outside loop", err)

    def test_bad_setup(self):
        status, err = self.check("expression", "x", "a = 1", "b = = 2")
        self.assertEqual(status, 1)
        self.assertIn('File "<setup 2>", line 1\n    b = = 2\n', err)


class File(Case):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()
        self.path = self.write("my-tasks.py", """
            from os.path import join
            import functools
            import helper

            assert __name__ != "__main__"
            offset = 0

            def resize(path, width=1, *, height=2):
                return [path, width, height]
            async def later(y):
                return y + offset
            @functools.lru_cache(None)
            def cached(y):
                return helper.double(y)
            def bad():
                return {}["no"]
            def where():
                return [__file__, __import__("sys").argv]
            def _private(): pass
            class Thing: pass
        """)
        self.write("helper.py", "def double(y): return y * 2")

    def write(self, name, text):
        path = self.directory / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    def run_file(self, *jobs, path=None, setup=()):
        lines = [request(args, cmd) for cmd, args in jobs]
        replies, err, status = run(["file", path or self.path, *setup], lines)
        self.assertEqual(status, 0, err)
        return replies

    def test_commands(self):
        replies = self.run_file(
            ("resize", ["a", 5]), ("resize", {"path": "b", "height": 7}), ("resize", "c"),
            ("later", [1]), ("cached", [4]), ("where", []), ("where", None), setup=["offset = 10"])
        self.assertEqual([reply.get("result") for reply in replies], [
            ["a", 5, 2], ["b", 1, 7], ["c", 1, 2], 11, 8, *[[self.path, [self.path]]] * 2])

    def test_errors(self):
        for cmd in "nope", "join", "_private", "Thing":
            error = self.run_file((cmd, []))[0]["error"]
            self.assertEqual(error["message"], f"ValueError: unknown command {cmd!r}, expected "
                             "one of: bad, cached, later, resize, where")
        bad, wrong = self.run_file(("bad", []), ("resize", {"size": 1}))
        self.assertIn(f'File "{self.path}", line', bad["error"]["data"])
        self.assertIn('return {}["no"]', bad["error"]["data"])
        self.assertNotIn('"<string>"', bad["error"]["data"])
        self.assertIn("unexpected keyword argument 'size'", wrong["error"]["message"])

    def test_all(self):
        path = self.write("all.py", "from os.path import join\n__all__ = ['join']\ndef f(): pass")
        self.assertEqual(self.run_file(("join", ["a", "b"]), path=path), [{"result": "a/b"}])

    def test_name_of_a_module_in_use(self):
        path = self.write("json.py", "import json\ndef f(): return json.dumps([1])")
        self.assertEqual(self.run_file(("f", []), path=path), [{"result": "[1]"}])

    def test_check(self):
        check = Check.check
        self.assertEqual(check(self, "file", self.path), (0, ""))
        status, err = check(self, "file", self.write("a.py", "import nonesuch\n"))
        self.assertEqual(status, 1)
        self.assertRegex(err, r'a.py", line 1, in <module>\n    import nonesuch\n')
        self.assertIn("ModuleNotFoundError: No module named 'nonesuch'", err)
        self.assertNotIn('"<string>"', err)
        status, err = check(self, "file", self.write("b.py", "def f(:\n"))
        self.assertEqual(status, 1)
        self.assertIn("    def f(:\n", err)
        status, err = check(self, "file", str(self.directory / "none.py"))
        self.assertEqual(status, 1)
        self.assertIn("none.py", err)


def read_line(process):
    """Fails, rather than hangs, if there is no reply."""
    readable, _, _ = select.select([process.stdout], [], [], DEADLINE)
    if not readable:
        process.kill()
        raise AssertionError("no reply")
    return json.loads(process.stdout.readline())


if __name__ == "__main__":
    unittest.main()
