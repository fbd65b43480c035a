# procpool's worker for Ruby: ruby -e SOURCE -- MODE CODE [SETUP...]
#
# MODE is `expression` (CODE is evaluated once per job) or `file` (the methods that the file CODE
# defines at its top level are the commands); `check-expression` and `check-file` only report whether
# CODE can be used. With `list-expression` x is the list of all args. With `live-` what an Enumerator
# yields is sent at once.
# Requests come on stdin and replies go to stdout, one line of JSON each, in the same order. A request is
# the args, or an object with `cmd` and `args`.
require "json"

module Procpool # a module, so that the code does not see its methods and variables
  AS_TEXT = %w[BigDecimal Complex Date IPAddr Pathname Rational Time URI::Generic].freeze

  HOLD = 0.001 # a reply waits up to this many seconds, to be written with others

  # How many bytes an Enumerator may yield, and the option that says so.
  @most, @most_by = (ENV.delete("PROCPOOL_MAX_REPLY") || "67108864").split(" ", 2)

  @sources = {} # file name => its lines, for backtraces
  @waiting = +"" # the replies that are not written yet
  @writing = Mutex.new
  @begun = Queue.new # has an item once several requests are being answered
  @working = false # several requests are being answered

  module_function

  def main(mode, code, *setups)
    trap("INT", "SYSTEM_DEFAULT") # end quietly
    how = mode.split("-")
    checking = how.include?("check")
    is_list = how.include?("list")
    @live = how.include?("live")
    requests, @replies = take_stdin_and_stdout
    begin
      job = load_file(code) if mode.end_with?("file")
      setups.each.with_index(1) do |setup, number|
        name = "<setup #{number}>"
        checking ? compile("", setup, name) : run(setup, name)
      end
      job ||= load_expression(code, is_list) # after the setups: it sees their variables
    rescue SystemExit, SignalException
      raise
    rescue Exception => error
      abort trace(error)
    end
    return if checking

    requests, @replies = fork_workers(requests, @replies) if how.include?("preload")
    serve(job, requests)
  end

  # The code must not get at requests and replies: its stdin is empty, its stdout is stderr.
  def take_stdin_and_stdout
    requests, replies = $stdin.dup, $stdout.dup
    $stdin.reopen(File::NULL)
    $stdout.reopen($stderr)
    $stdout.sync = true
    [requests.binmode, replies.binmode]
  end

  def serve(job, requests)
    @process = Process.pid
    at_exit { flush } # the code may end the process
    Process.singleton_class.prepend(Flushing)
    Kernel.prepend(Flushing)
    each_batch(requests) do |lines|
      parse(lines) { |some| answer(job, some) }
      flush
    end
  end

  # What ends the process without at_exit.
  module Flushing
    %i[kill exec exit! abort].each do |name|
      define_method(name) do |*args, **options|
        Procpool.flush
        super(*args, **options)
      end
    end
  end

  # Yields the lines that have arrived, without the last newline.
  def each_batch(requests)
    pieces = []
    loop do
      piece = requests.readpartial(1 << 16)
      lines, newline, rest = piece.rpartition("\n")
      unless newline.empty?
        yield (pieces << lines).join.force_encoding("UTF-8")
        pieces.clear
      end
      pieces << rest
    end
  rescue EOFError
    nil
  end

  # Yields lists of requests: one list of all, since that is fastest.
  def parse(lines)
    begin
      some = JSON.parse("[#{lines.tr("\n", ",")}]", max_nesting: false)
    rescue JSON::ParserError
      some = nil # at least one is not JSON: find out which
    end
    return yield(some) if some

    lines.split("\n", -1).each do |line|
      begin
        request = JSON.parse(line, max_nesting: false)
      rescue JSON::ParserError => error
        @waiting << JSON.generate({ error: failure(error) }) << "\n"
        next
      end
      yield [request]
    end
  end

  def answer(job, requests)
    if requests.size > 1 || @live
      @working = true
      start_flusher unless @flusher&.alive?
      @begun << true if @begun.empty?
    end
    requests.each do |request|
      begin
        result = request.is_a?(Hash) ? job.call(request["cmd"], request["args"]) : job.call("", request)
        reply = %({"result":#{result.is_a?(Integer) ? result : encode(result)}}\n)
      rescue SystemExit, SignalException
        raise # the process ends, and this job with it
      rescue Exception => error
        raise if Process.pid != @process
        reply = JSON.generate({ error: failure(error) }) << "\n"
      end
      exit if Process.pid != @process # in a child that the code forked: the parent answers
      @waiting << reply
    end
    @working = false
  end

  def encode(result)
    return JSON.generate(result) if result.is_a?(String)
    return JSON.generate(plain(result), max_nesting: false) unless @live && result.is_a?(Enumerator)

    @waiting << %({"parts":[]}\n)
    result.each_entry do |item|
      @waiting << %({"part":#{encode(item)}}\n)
      flush if @waiting.bytesize > 1 << 16 # waits for procpool
    end
    "null"
  end

  # A slow job must not delay the replies to earlier jobs.
  def start_flusher
    @flusher = Thread.new do
      while @begun.pop
        while @working
          sleep(HOLD)
          flush
        end
      end
    end
  end

  def flush
    return if @waiting.empty? || Process.pid != @process

    @writing.synchronize do
      data = @waiting
      @waiting = +""
      data = data.byteslice(@replies.syswrite(data)..) until data.empty?
    end
  end

  # The code.

  def load_expression(code, is_list)
    function = compile("|x, args, cmd|", code, "<expression>")
    ->(cmd, args) { function.call(args.is_a?(Array) && !is_list ? args.first : args, args, cmd) }
  end

  def load_file(name)
    path = File.expand_path(name)
    $PROGRAM_NAME = "procpool #{path}" # not the path: `if __FILE__ == $0` must not run
    $LOAD_PATH.unshift(File.dirname(path))
    load path
    names = Object.private_instance_methods(false) + Object.public_instance_methods(false)
    commands = names.map(&:to_s).reject { |command| command.start_with?("_") }.select do |command|
      Object.instance_method(command).source_location&.first == path
    end
    ->(cmd, args) { command(commands, cmd, args) }
  end

  def command(commands, cmd, args)
    unless commands.include?(cmd)
      known = commands.empty? ? "(none)" : commands.sort.join(", ")
      raise ArgumentError, "unknown command '#{cmd}', expected one of: #{known}"
    end
    object = TOPLEVEL_BINDING.receiver
    case args
    when Hash then object.send(cmd, **args.transform_keys(&:to_sym))
    when nil then object.send(cmd)
    else object.send(cmd, *args)
    end
  end

  def compile(parameters, code, name)
    run("lambda { #{parameters}\n#{code}\n}", name, 0)
  rescue SyntaxError
    RubyVM::InstructionSequence.compile(code, name) # its message is about the code alone
    raise
  end

  def run(code, name, line = 1)
    @sources[name] = code.lines.drop(1 - line)
    TOPLEVEL_BINDING.eval(code, name, line)
  end

  # Results and errors.

  # Turns a value into one that JSON has: JSON.generate would write "#<Object:0x...>" for any object.
  def plain(value)
    case value
    when nil, true, false, Integer, Float, String, Symbol then value
    when Array then value.map { |item| plain(item) }
    when Hash then value.transform_values { |item| plain(item) }
    else other(value)
    end
  end

  def other(value)
    if (value.class.ancestors.map(&:name) & AS_TEXT).any?
      value.to_s
    elsif value.class.respond_to?(:members) # Struct, Data
      plain(value.to_h)
    elsif value.is_a?(Enumerable)
      collect(value)
    elsif value.method(:to_json).owner.name.start_with?("JSON::")
      raise TypeError, "#{value.class} has no form in JSON: return String, Integer, Array, Hash, ..."
    else
      value
    end
  end

  # An Enumerator and a Range may have no end, so a result has a limit.
  def collect(values)
    items = []
    size = 0
    values.each_entry do |item|
      items << item = plain(item)
      size += 1 + (item.is_a?(String) ? item : JSON.generate(item, max_nesting: false)).bytesize
      next if size <= @most.to_i

      by = @most_by && " (#{@most_by})"
      raise RangeError, "#{values.class} yields more than #{@most} bytes#{by}"
    end
    items
  end

  def failure(error)
    name = error.class.name || "Exception"
    failed = { message: "#{name}: #{error.message}".scrub, class: name, data: trace(error).scrub }
    place = place_of(error)
    place ? failed.merge(at: place.scrub) : failed
  end

  # The innermost frame: `ops.rb:3`, with the line in the code that led there.
  def place_of(error)
    places = own_frames(error).filter_map { |frame| frame.match(/\A(.+?):(\d+)/)&.captures }
    return if places.empty?

    show = ->((file, line)) { "#{File.basename(file)}:#{line}" }
    code = $PROGRAM_NAME.delete_prefix("procpool ")
    called = places.find { |file, _| file == code || file.start_with?("<") } || places.first
    return show.(places.first) if called.first == places.first.first

    "#{show.(places.first)}, called from #{show.(called)}"
  end

  def own_frames(error)
    (error.backtrace || []).reject { |frame| frame.start_with?("-e:", "<internal:") }
  end

  # The message and the code's own frames, each with its line.
  def trace(error)
    return error.message if error.is_a?(SyntaxError)

    frames = own_frames(error).first(50).map { |frame| "    #{frame}\n        #{source(frame)}\n" }
    "#{error.class}: #{error.message}\n#{frames.join}"
  end

  def source(frame)
    name, line = frame.match(/\A(.+?):(\d+)/)&.captures
    @sources[name] ||= name && File.file?(name) ? File.readlines(name) : []
    @sources[name][line.to_i - 1].to_s.strip
  end
end

Procpool.main(*ARGV.shift(ARGV.size))
