"""Types into an interactive shell on a terminal, and prints as JSON what became of each text.

shell.py SHELL FILE TEXT...

FILE is loaded first. Behind each text a key is pressed that makes the shell print its line: keys are read in order, so the
line is printed once everything before, as a completion, is done. A text that ends with a newline runs the line too, and
what the terminal shows until the end of the command is printed as well.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import time

PATIENCE_S = 60

SETUP = {
    "bash": r"""
PS1='$ '
_line() { printf '<line %s>\n' "$READLINE_LINE"; }
bind -x '"\C-x\C-l": _line'
""",
    "zsh": r"""
PROMPT='$ '
unsetopt zle_bracketed_paste 2>/dev/null
autoload -U compinit && compinit -u -D
_line() { print -r -- "<line $BUFFER>" }
zle -N _line
bindkey -e
bindkey '^X^L' _line
""",
    "fish": r"""
function fish_prompt; echo '$ '; end
function fish_greeting; end
function _line; printf '<line %s>\n' (commandline); end
bind \cx\cl _line
""",
}


def start(shell, file):
    """A shell on a new terminal, as the end of that terminal."""
    home = tempfile.mkdtemp()
    with open(os.path.join(home, ".zshrc" if shell == "zsh" else "rc"), "w", encoding="utf-8") as rc:
        rc.write(f"{SETUP[shell]}\nsource '{file}'\necho '<ready>'\n")
    arguments = {
        "bash": ["bash", "--noprofile", "--rcfile", f"{home}/rc", "-i"],
        "zsh": ["zsh", "-d", "-i"],
        "fish": ["fish", "--no-config", "--init-command", f"source {home}/rc", "-i"],
    }[shell]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(ZDOTDIR=home, TERM="dumb" if shell == "bash" else "xterm", LANG="C.UTF-8")
        os.execvp(arguments[0], arguments)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
    return terminal


def read_until(terminal, pattern):
    """What the terminal shows up to a pattern, and the match."""
    deadline = time.monotonic() + PATIENCE_S
    shown = ""
    while True:
        match = re.search(pattern, shown)
        if match:
            return shown, match
        if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            sys.exit(f"{pattern!r} was not shown: {shown!r}")
        shown += os.read(terminal, 65536).decode(errors="replace")


def main():
    shell, file, *texts = sys.argv[1:]
    terminal = start(shell, file)
    read_until(terminal, r"<ready>\r\n")
    answers = []
    for text in texts:
        os.write(terminal, text.rstrip("\n").encode() + b"\x18\x0c")
        shown, line = read_until(terminal, r"<line ([^\n]*)>\r?\n")
        answer = line[1]
        if text.endswith("\n"):
            os.write(terminal, b"\r")
            os.write(terminal, b"\x18\x0c")
            shown, _ = read_until(terminal, r"<line >\r?\n")
            answer = shown
        os.write(terminal, b"\x15")
        answers.append(answer)
    print(json.dumps(answers))


main()
