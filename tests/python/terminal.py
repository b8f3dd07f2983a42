"""python terminal.py COMMAND ARGUMENT...: runs the command on a terminal of its own, types what stands on standard
input, a line at each prompt, and prints what the terminal shows."""

import os
import pty
import sys

os.environ["TERM"] = "dumb"
typed = sys.stdin.read().splitlines()
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])

shown = b""
seen_prompts = 0
while True:
    try:
        block = os.read(terminal, 65536)
    except OSError:  # Linux says so when the program has closed the terminal.
        break
    shown += block
    if shown.endswith(b"> ") and typed:
        os.write(terminal, typed.pop(0).encode() + b"\n")
print(shown.decode().replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
