"""Drives `millstream sql` through a terminal, as a user would: Tab, history, a caret, Ctrl-C.

    shell_check.py BINARY http://HOST:PORT
"""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time

WAIT_S = 10


class Shell:
    def __init__(self, binary, server):
        self.seen = ""
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            home = tempfile.mkdtemp()
            os.execve(binary, [binary, "sql", "--server", server],
                      {"HOME": home, "PATH": os.environ["PATH"], "TERM": "xterm-256color"})
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))

    def read(self, seconds):
        until = time.time() + seconds
        while time.time() < until:
            if not select.select([self.terminal], [], [], 0.05)[0]:
                continue
            try:
                text = os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:
                return
            # The line editor asks where the cursor is.
            for _ in range(text.count("\x1b[6n")):
                os.write(self.terminal, b"\x1b[1;1R")
            self.seen += text

    def type(self, keys):
        self.read(0.3)
        self.seen = ""
        os.write(self.terminal, keys.encode())

    def expect(self, text):
        until = time.time() + WAIT_S
        while time.time() < until:
            self.read(0.1)
            plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen)
            if text in plain:
                return
        raise SystemExit(f"shell_check: {text!r} did not come, but\n{plain}")


def main():
    shell = Shell(*sys.argv[1:3])
    shell.expect("Statements end with")
    shell.expect("sql")
    shell.type("CREATE STREAM shell_check (id STRING KEY, amount INT) WITH (kafka_topic = 'shell_check', "
               "value_format = 'JSON', partitions = 1);\r")
    shell.expect("SHELL_CHECK created")
    shell.type("sel\t")
    shell.expect("select")
    shell.type(" * from shell_c\t")
    shell.expect("shell_check")
    shell.type(" where am\t")
    shell.expect("amount")
    shell.type(" > 3;\r")
    shell.expect("0 rows")
    shell.type("SELECT amont FROM shell_check;\r")
    shell.expect("^^^^^")
    shell.expect('Did you mean "AMOUNT"?')
    shell.type("\x1b[A")
    shell.expect("SELECT amont FROM shell_check;")
    shell.type("\x03")
    shell.type("SELECT * FROM shell_check EMIT CHANGES;\r")
    shell.expect("AMOUNT")
    shell.type("\x03")
    shell.expect("Query stopped.")
    shell.type("EXPLAIN SELECT id FROM shell_check EMIT CHANGES;\r")
    shell.expect("KsqlTopic (stream): SHELL_CHECK from topic shell_check")
    shell.type("DROP STREAM shell_check DELETE TOPIC;\r")
    shell.expect("was dropped")
    shell.type("exit\r")
    shell.read(1)
    _, status = os.waitpid(shell.child, 0)
    print(f"shell_check: all right, exit code {os.waitstatus_to_exitcode(status)}")


if __name__ == "__main__":
    main()
