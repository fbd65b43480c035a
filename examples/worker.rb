#!/usr/bin/env ruby
# A worker for procpool. Save it as worker.rb and try it:
#
#     printf 'greet ["Ada"]\ngreet ["Grace"]\n' | procpool --worker 'ruby worker.rb'
require "json"

$stdin.set_encoding(Encoding::UTF_8)
$stdout.sync = true # each reply is written at once

# What takes long to load or to open is loaded here, once: libraries, models, connections.

# The cmd of a job, and its function.
COMMANDS = {
  "greet" => ->(name) { "hello, #{name}" }
}.freeze

$stdin.each_line do |line| # it ends when procpool closes stdin
  request = JSON.parse(line)
  reply = { id: request["id"] }
  begin
    function = COMMANDS.fetch(request["cmd"]) { |cmd| raise "there is no command '#{cmd}'" }
    args = request["args"] # an object, as with --header, if they have names
    reply[:result] = args.is_a?(Hash) ? function.call(args) : function.call(*args)
  rescue StandardError => e # this job fails, and the worker goes on
    reply[:error] = "#{e.class}: #{e.message}"
  end
  # stdout is for replies. Print everything else to stderr: warn "…".
  $stdout.write(JSON.generate(reply) + "\n")
end
