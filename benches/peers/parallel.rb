# The gem parallel with two processes and results in order: parallel.rb CHUNKSIZE < jobs > results
require 'json'
require 'parallel'

def work(line)
  job = JSON.parse(line)
  raise ArgumentError, "unknown command #{job['cmd']}" unless job['cmd'] == 'double'

  2 * job['args'][0]
end

chunks = $stdin.each_line.each_slice(Integer(ARGV[0])).to_a
results = Parallel.map(chunks, in_processes: 2) { |lines| lines.map { |line| work(line) } }
$stdout.write(results.flatten.join("\n"), "\n")
