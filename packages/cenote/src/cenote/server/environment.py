"""What the service is started in: variables, mask, limits, signals, directory, descriptors.

What it depends on is set here, once, before anything is forked; everything else is removed, so that it cannot
matter.  Programs that the service starts get ``model.environment.OF_PROGRAMS``.
"""

from __future__ import annotations

import codecs
import contextlib
import locale
import os
import re
import resource
import signal
import ssl
import sys
import tempfile

from cenote.host import oom, processes
from cenote.model import environment

MASK = 0o022  # accounts of servers and API pass through our folders; every secret has a mode of its own

# What stays: where things are, what the interpreter needs to find our modules, and the time zone of the log.
_KEPT = re.compile(r"PATH|HOME|USER|LOGNAME|TMPDIR|TZ|LD_LIBRARY_PATH|(XDG|CENOTE|COVERAGE)_\w+|PYTHON\w+")
# What the interpreter or one of its libraries has read before a line of ours runs.
_READ_AT_START = re.compile(
    r"OPENSSL_\w+|SSLKEYLOGFILE"
    r"|PYTHON(?!(PATH|HOME|UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|USERBASE|NOUSERSITE|SAFEPATH|UTF8"
    r"|EXECUTABLE|PLATLIBDIR)$)\w+"
)
# Certificates to trust, which an operator may have set for log sinks, or for an etcd of their own.
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")
# Ignored because Python has it so, or because the operator's nohup has.
_LEFT_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP)
_NAMED = {
    resource.RLIMIT_FSIZE: ("ulimit -Hf", "the size of a file"),
    resource.RLIMIT_AS: ("ulimit -Hv", "the memory of each process"),
    resource.RLIMIT_DATA: ("ulimit -Hd", "the data of each process"),
}
_RAISED = (*_NAMED, resource.RLIMIT_NPROC)
ENOUGH_FILES = 8192  # the 5,000 clients of most sizes, their servers, and some


def start_anew() -> None:
    """Start this process again, with the same arguments, if how the interpreter was started matters.

    Nothing happens in one that was started as it has to be, such as that new one.
    """
    wanted = {name: value for name, value in os.environ.items() if not _READ_AT_START.fullmatch(name)}
    if not _is_utf8():
        wanted |= {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}
    if wanted == dict(os.environ):
        return
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with contextlib.suppress(OSError):  # an interpreter that cannot be found again; go on with this one
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], wanted)  # noqa: S606 - ourselves


def settle() -> list[str]:
    """Set what the service depends on and remove the rest; return what is lost by that, in words."""
    _open_standard_streams()
    os.umask(MASK)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - set(_LEFT_IGNORED):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    oom.protect()
    processes.raise_descriptor_limit()
    for limit in _RAISED:
        _raise(limit)
    lost = _settle_variables() + notices()
    os.chdir("/")
    return lost


def notices() -> list[str]:
    """Return which hard limits and variables are in the way, in words; only the operator can change them."""
    found = []
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and files < ENOUGH_FILES:
        found.append(
            f"each process may open {files} files at most (ulimit -Hn, LimitNOFILE= of a unit), so a "
            f"cluster admits fewer clients than its size has; {ENOUGH_FILES} are enough for most"
        )
    for limit, (name, what) in _NAMED.items():
        hard = resource.getrlimit(limit)[1]
        if hard != resource.RLIM_INFINITY:
            found.append(
                f"{what} is limited to {hard >> 20} MiB ({name}): servers may fail once they need more"
            )
    if "PYTHONPATH" in os.environ:
        found.append("PYTHONPATH is set: modules that lie there are taken instead of Cenote's own")
    return found


def _settle_variables() -> list[str]:
    lost = []
    for name in list(os.environ):
        if name in _TRUST:
            if not os.path.exists(os.environ[name]) or not _holds_certificates(name):
                lost.append(f"{name}={os.environ[name]} has no certificates that can be read; it is ignored")
                del os.environ[name]
        elif not _KEPT.fullmatch(name):
            del os.environ[name]
    os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), environment.PATH)))
    os.environ["LC_ALL"] = environment.OF_PROGRAMS["LC_ALL"]
    tempfile.tempdir = None  # chosen again, from TMPDIR or the system's
    return lost


def _holds_certificates(name: str) -> bool:
    if name == "SSL_CERT_DIR":
        return os.access(os.environ[name], os.R_OK | os.X_OK)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(os.environ[name])
    except OSError:
        return False
    return True


def _open_standard_streams() -> None:
    """Have descriptors 0 to 2 open, or a file of ours would take their place, and get what is printed."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:  # one of them was closed; this has taken its place
        null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.set_inheritable(number, True)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, "w", encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


def _raise(limit: int) -> None:
    soft, hard = resource.getrlimit(limit)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (hard, hard))


def _is_utf8() -> bool:
    encodings = (locale.getpreferredencoding(do_setlocale=False), sys.getfilesystemencoding())
    return all(codecs.lookup(name).name == "utf-8" for name in encodings)
