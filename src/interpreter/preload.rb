# Before the worker: how it forks others (--preload). See preload.py.
require "socket"

module Procpool
  MOST = 1 << 19 # bytes of a message

  module_function

  # Forks workers until nobody asks for them any more. Returns in each worker: its requests and replies.
  def fork_workers(requests, replies)
    control = UNIXSocket.for_fd(requests.fileno)
    requests.autoclose = false
    replies.sync = true
    trap("CHLD", "SYSTEM_DEFAULT") # procpool says when a worker may be reaped
    warn_of_threads
    shrink
    replies.write("ready\n")
    loop do
      message, *streams = receive(control)
      if message.empty?
        nil while reap(-1)
        exit
      end
      next reap(message.to_i) if streams.empty?

      flush_all
      said = fork_with(streams[2])
      return become_worker(message, streams, [control, replies]) unless said

      streams.each(&:close)
      replies.write(said)
    end
  end

  def warn_of_threads
    others = Thread.list - [Thread.main]
    others.reject! { |thread| thread.inspect.include?("timeout.rb") } # it is started anew
    return if others.empty?

    warn "the setup has started threads, and no worker has them: #{others.map(&:inspect).join(", ")}"
  end

  # So that a collection in a worker touches little of what it shares.
  def shrink
    return Process.warmup if Process.respond_to?(:warmup)

    3.times { GC.start } # what lives through these is old
    begin
      GC.compact if GC.respond_to?(:compact)
    rescue NotImplementedError
      nil
    end
  end

  # A message and the open files that came with it; empty: procpool is gone.
  def receive(control)
    message, _, _, *ancillary = control.recvmsg(MOST, 0, 64, scm_rights: true)
    [message || "", *ancillary.select { |data| data.cmsg_is?(:SOCKET, :RIGHTS) }.flat_map(&:unix_rights)]
  end

  def reap(worker)
    Process.wait(worker, Process::WNOHANG)
  rescue Errno::ECHILD
    nil # the setup waits for all children
  end

  # Forks a worker. From its first moment it has its own stderr: if procpool is killed, that shows whose it is.
  # Returns what to say about it, and nil in the worker.
  def fork_with(stderr)
    ours = $stderr.dup
    outputs = [$stdout, $stderr]
    outputs.each { |stream| stream.reopen(stderr).sync = true }
    worker = Process.fork
    Process.setpgid(worker || 0, worker || 0)
    outputs.each { |stream| stream.reopen(ours).sync = true } if worker
    ours.close
    worker && "forked #{worker}\n"
  rescue SystemCallError => error
    outputs.each { |stream| stream.reopen(ours).sync = true }
    "refused #{error.errno}\n"
  end

  def become_worker(message, streams, others)
    requests, replies, stderr = streams
    [*others, stderr].each(&:close)
    # What the setup has said is to be done at the end is done in the parent: this comes before it.
    at_exit { end_at_once }
    folder, *variables = message.split("\0", -1)[0..-2]
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

