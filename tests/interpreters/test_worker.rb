# ruby test_worker.rb: each test starts the worker as a process, as procpool does.
require "io/wait"
require "json"
require "minitest/autorun"
require "open3"
require "rbconfig"
require "tmpdir"

class WorkerTest < Minitest::Test
  SOURCE = File.read(File.join(__dir__, "../../src/interpreter/worker.rb"))
  DEADLINE = 30 # seconds

  def command(arguments)
    [RbConfig.ruby, "-e", SOURCE, "--", *arguments]
  end

  def request(args, cmd = "")
    JSON.generate({ id: 1, cmd: cmd, args: args }) << "\n"
  end

  def run_worker(*arguments, lines)
    out, err, status = Open3.capture3(*command(arguments), stdin_data: lines.join)
    [out.lines.map { |line| JSON.parse(line) }, err, status]
  end

  def results(code, *jobs, setups: [])
    replies, err, status = run_worker("expression", code, *setups, jobs.map { |job| request(job) })
    assert_equal 0, status.exitstatus, err
    replies.map { |reply| reply.fetch("result", reply) }
  end

  def error(code, *args, setups: [])
    results(code, args, setups: setups).first["error"]
  end

  def test_values
    values = [0, -1, 2**70, 1.5, true, nil, "", "é\n\"😀", [], [1, [2]], { "ü" => { "a" => nil } }]
    assert_equal values, results("x", *values.map { |value| [value] })
    assert_equal [[1, [1, 2], ""], [nil, [], ""], [{ "a" => 1 }, { "a" => 1 }, ""], ["s", "s", ""]],
                 results("[x, args, cmd]", [1, 2], [], { "a" => 1 }, "s")
    assert_equal [6], results("y = x\ny + 1 # comment", [5])
    assert_equal [[5_000_000, "é" * 5_000_000]], results("[x.size, x]", ["é" * 5_000_000])
  end

  def test_types
    setups = ["require 'set'; require 'date'; require 'bigdecimal'; require 'pathname'"]
    {
      ":a" => "a", "1..3" => [1, 2, 3], "Set[1, [2..3]]" => [1, [[2, 3]]], "{ 1 => :b }" => { "1" => "b" },
      "[1].each" => [1], "Struct.new(:q).new(3)" => { "q" => 3 }, "Date.new(2020, 1, 2)" => "2020-01-02",
      "Pathname('a')" => "a", "BigDecimal('1.5').class.name" => "BigDecimal", "1r / 2" => "1/2",
      "(1..).lazy.map { |y| y * 2 }.first(2)" => [2, 4],
    }.each { |code, expected| assert_equal [expected], results(code, [], setups: setups), code }
  end

  def test_what_json_has_no_form_for
    assert_match(/Object has no form in JSON/, error("[Object.new]")["message"])
    assert_match(/NaN/, error("[Float::NAN]")["message"])
    assert_match(/Infinity/, error("1 / 0.0")["message"])
    assert_equal "JSON::GeneratorError", error(%q("\xff"))["class"]
    assert_equal "SystemStackError", error("a = []; a << a; a")["class"]
  end

  def test_errors
    failure = error("Integer(x)", "abc")
    assert_equal "ArgumentError", failure["class"]
    assert_match(/\AArgumentError: invalid value for Integer/, failure["message"])
    assert_match(/<expression>:1:in .*\n        Integer\(x\)\n/, failure["data"])
    refute_match(/-e:/, failure["data"])
    failure = error("f(x)", 0, setups: ["", "def f(y)\n  1 / y\nend"])
    assert_match(/<setup 2>:2:in .*\n        1 \/ y\n/, failure["data"])
    assert_equal "SystemStackError", error("f", setups: ["def f; f; end"])["class"]
    assert_equal "NotImplementedError", error("raise NotImplementedError")["class"]
    replies, = run_worker("expression", "1 / x", [request([1]), "rubbish\n", request([0]), request([1])])
    assert_equal %w[result error error result], replies.flat_map(&:keys)
  end

  def test_stdin_and_stdout
    replies, err, = run_worker("expression", "puts 'pröt'; system('echo child'); 5", [request([])])
    assert_equal [{ "result" => 5 }], replies
    assert_equal "pröt\nchild\n", err
    assert_equal [["", ""]] * 2, results("[$stdin.read, `cat`]", [], [])
  end

  def test_each_reply_comes_at_once
    Open3.popen3(*command(["expression", "x ? sleep : 7"])) do |input, output, err, process|
      [request([nil]), request([nil]), request([nil]) + request([1])].each do |lines|
        input.write(lines)
        assert output.wait_readable(DEADLINE), "no reply"
        assert_equal %({"result":7}\n), output.gets
      end
      Process.kill("INT", process.pid)
      assert_equal Signal.list["INT"], process.value.termsig
      assert_equal "", err.read
    end
  end

  def test_fork
    ["fork ? Process.wait && x : 7", "fork ? Process.wait && x : exit(7)"].each do |code|
      assert_equal [1, 2, 3], results(code, [1], [2], [3])
    end
  end

  def test_exit
    { "exit 3" => 3, "exit! 4" => 4, "abort" => 1, "Process.kill(:KILL, $$)" => 9 }.each do |code, expected|
      replies, _, status = run_worker("expression", "x == 1 ? (#{code}) : x", [0, 0, 1, 0].map { |n| request([n]) })
      assert_equal [{ "result" => 0 }] * 2, replies
      assert_equal expected, status.exitstatus || status.termsig
    end
  end

  def test_setups
    assert_equal %w[f2 f3], results("f(n += 1)", [], [], setups: ["n = 1", 'def f(y) "f#{y}" end'])
    replies, err, status = run_worker("expression", "x", "\nnope", [request([])])
    assert_equal [[], 1], [replies, status.exitstatus]
    assert_match(/nope.*\n    <setup 1>:2:in .*\n        nope\n/m, err)
    refute_match(/-e:/, err)
  end

  def check(*arguments)
    Open3.popen3(*command(["check-#{arguments.shift}", *arguments])) do |_input, output, err, process|
      [process.value.exitstatus, err.read, output.read] # its stdin is open until here
    end
  end

  def test_check
    assert_equal [0, "", ""], check("expression", "f(x)", "nope")
    status, err, = check("expression", "int(x * 2")
    assert_equal 1, status
    assert_match(/<expression>:1: syntax error|<expression>:1: .*syntax/, err)
    assert_match(/int\(x \* 2\n.*\^/, err)
    status, err, = check("expression", "x", "2", "= 3")
    assert_equal 1, status
    assert_match(/<setup 2>:1: /, err)
  end

  def test_file
    Dir.mktmpdir do |directory|
      directory = File.realpath(directory)
      File.write("#{directory}/helper.rb", "def double(y) y * 2 end\n")
      path = "#{directory}/tasks.rb"
      File.write(path, <<~RUBY)
        require "helper"
        raise "run as a program" if __FILE__ == $0
        def resize(path, width = 1, height: 2)
          [path, width, height]
        end
        def named(width:, height: 2)
          [width, height, $offset]
        end
        def bad
          raise "bad thing"
        end
        def twice(y)
          double(y)
        end
        def _private; end
      RUBY
      jobs = [request(["a", 5], "resize"), request({ width: 7 }, "named"), request([4], "twice"),
              request("s", "resize"), request([], "bad"), request([1], "nope"), request([1], "double")]
      replies, err, = run_worker("file", path, "$offset = 10", jobs)
      assert_equal [["a", 5, 2], [7, 2, 10], 8, ["s", 1, 2]], replies.first(4).map { |r| r["result"] }, err
      assert_match(/tasks.rb:10:in .*\n        raise "bad thing"\n/, replies[4]["error"]["data"])
      assert_equal ["nope", "double"].map { |name|
        "ArgumentError: unknown command '#{name}', expected one of: bad, named, resize, twice"
      }, replies.last(2).map { |r| r["error"]["message"] }

      assert_equal [0, "", ""], check("file", path)
      File.write(path, "require 'nonesuch'\n")
      status, err, = check("file", path)
      assert_equal 1, status
      assert_match(/cannot load such file -- nonesuch.*\n.*tasks.rb:1:in .*\n        require 'nonesuch'/m, err)
      File.write(path, "def f(\n")
      status, err, = check("file", path)
      assert_equal 1, status
      assert_match(/tasks.rb:/, err)
      assert_equal 1, check("file", "#{directory}/none.rb").first
    end
  end
end
