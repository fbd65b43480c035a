# The formula for Homebrew. packaging/build fills in the words between @ signs. packaging/test runs it with stand-ins for
# Homebrew's methods. It has not been run by Homebrew.
class Procpool < Formula
  desc "Xargs with warm workers"
  homepage "@REPOSITORY@"
  url "@REPOSITORY@/releases/download/v@VERSION@/procpool-@VERSION@-source.tar.gz"
  sha256 "@SHA256@"
  license "BSD-3-Clause"

  depends_on "rust" => :build

  def install
    system "cargo", "install", "--features", "nats", *std_cargo_args
    man1.install "man/procpool.1"
    man7.install "man/procpool-from-parallel.7"
    generate_completions_from_executable(bin/"procpool", "--generate", shells: [:bash, :zsh, :fish])
  end

  test do
    assert_equal "2\n4\n", pipe_output("#{bin}/procpool echo", "2\n4\n")
    assert_equal "2\n4\n6\n", pipe_output("#{bin}/procpool --perl '$_ * 2'", "1\n2\n3\n")
  end
end
