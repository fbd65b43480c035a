# Before the worker: how it forks others (--preload). See preload.py.
require "socket"

module Procpool
  module_function

  # Forks workers until nobody asks for them any more. Returns in each worker: its requests and replies.
  def fork_workers(control, replies)
    control = UNIXSocket.for_fd(control.fileno).tap { control.autoclose = false }
    replies.sync = true
    warn_of_threads
    shrink
    replies.write("ready\n")
    while (streams, folder, variables = read_request(control))
      flush_all
      said = fork_between(streams)
      return become_worker(streams, folder, variables, [control, replies]) unless said

      streams.each(&:close)
      replies.write(said)
    end
    exit
  end

  def warn_of_threads
    others = Thread.list - [Thread.main]
    others.reject! { |thread| thread.inspect.include?("timeout.rb") } # it is started anew
    return if others.empty?

    warn "the setup has started threads, which no worker has: #{others.map(&:inspect).join(", ")}"
  end

  # So that a collection in a worker touches little of what it shares.
  def shrink
    return Process.warmup if Process.respond_to?(:warmup)

    4.times { GC.start }
    begin
      GC.compact if GC.respond_to?(:compact)
    rescue NotImplementedError
      nil
    end
  end

  # The streams, the folder and the variables of a worker; nil: procpool is gone.
  def read_request(control)
    head, _, _, *ancillary = control.recvmsg(4, 0, 64, scm_rights: true)
    return if head.nil? || head.empty?

    streams = ancillary.select { |data| data.cmsg_is?(:SOCKET, :RIGHTS) }.flat_map(&:unix_rights)
    head << control.read(4 - head.bytesize) if head.bytesize < 4
    length = head.unpack1("N")
    data = control.read(length)
    return if data.nil? || data.bytesize < length

    folder, *variables = data.split("\0", -1)[0..-2]
    [streams, folder, variables]
  end

  # Forks a process that forks the worker and ends: so the worker becomes a child of procpool. Returns what to say
  # about it, and nil in the worker.
  def fork_between(streams)
    heard, told = IO.pipe
    between = Process.fork
    unless between
      say_and_end(told) { fork_worker(streams) }
      heard.close
      return
    end
    told.close
    said = heard.read
    heard.close
    Process.wait(between)
    abort "it could not fork a worker: the process that was to do it was killed" if said.empty?
    said
  rescue SystemCallError => error
    "refused #{error.errno}\n"
  end

  # Returns in the worker only.
  def say_and_end(told)
    me = Process.pid
    begin
      said = yield
      told.write(said) if said
    ensure
      Process.exit!(true) if Process.pid == me
    end
    told.close
  end

  # Returns what to say about the worker, and nil in the worker.
  def fork_worker(streams)
    # From its first moment the worker has its own stderr. If procpool is killed, that shows whose it is.
    [$stdout, $stderr].each { |stream| stream.reopen(streams[2]).sync = true }
    worker = Process.fork
    Process.setpgid(worker || 0, worker || 0)
    worker && "forked #{worker}\n"
  rescue SystemCallError => error
    "refused #{error.errno}\n"
  end

  def become_worker(streams, folder, variables, others)
    others.each(&:close)
    requests, replies, error = streams
    error.close
    # What the setup has said is to be done at the end is done in the parent: this is done before that.
    at_exit { end_at_once }
    Dir.chdir(folder) unless folder.empty?
    variables.each do |variable|
      name, _, value = variable.partition("=")
      ENV[name] = value
    end
    [requests.binmode, replies.binmode]
  end

  # Ends the process as Ruby does, but without the blocks of at_exit that are left.
  def end_at_once
    flush
    flush_all
    case $!
    when nil then Process.exit!(true)
    when SystemExit then Process.exit!($!.status)
    when SignalException
      trap($!.signo, "SYSTEM_DEFAULT")
      Process.kill($!.signo, Process.pid)
      sleep
    else
      warn $!.full_message(highlight: false)
      Process.exit!(false)
    end
  end

  def flush_all
    ObjectSpace.each_object(IO) do |stream|
      stream.flush unless stream.closed?
    rescue IOError, SystemCallError
      nil # it is for reading, or its reader is gone
    end
  end
end

