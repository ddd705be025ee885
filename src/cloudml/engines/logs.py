"""A task's log: what its command says, passed on by the supervisor, of which the beginning and the end are kept.

    log                  the first half of what may be kept
    log.000000032000000  a piece of the rest, named by the number of bytes that were said before it; the oldest go

Positions count what was said, not what was kept. Part of the supervisor's program, so it imports little.
"""

from __future__ import annotations

import contextlib
import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 1 << 16
AT_ONCE = 16  # blocks that are passed on before the supervisor looks at anything else
PIECES = 4


class Log:
    """The log in the current folder, and the pipe to it; ``full`` is why something could not be written."""

    def __init__(self, limit: int) -> None:
        self.source, self.sink = os.pipe()
        os.set_blocking(self.source, False)
        self.full: str | None = None
        self._file = _opened("log")
        self._said, self._room, self._size = 0, limit // 2, limit // (2 * PIECES)
        self._filled, self._line = 0, 0  # bytes of this file, and those of them that are its unfinished last line
        self._pieces: list[str] = []

    def pass_on(self) -> bool:
        """Write down what was said since; False once there is no more for now."""
        for _ in range(AT_ONCE):
            try:
                self.put(os.read(self.source, BLOCK))
            except BlockingIOError:
                return False
        return True

    def put(self, said: bytes) -> None:
        """Write at the end; where a piece is full, the next one begins with a line, if that is not too long."""
        while said:
            if not self._room and not self._next():
                return
            fits = len(said) <= self._room
            end = len(said) if fits else said.rfind(b"\n", 0, self._room) + 1
            if not end and not self._movable:
                end = self._room
            self._room = self._room - end if fits else 0
            self._append(said[:end])
            said = said[end:]

    @property
    def _movable(self) -> bool:
        """Whether the unfinished line can be the next piece's first: something stays, and there is room for more."""
        return self._line < self._filled and self._line <= self._size // 2

    def _append(self, part: bytes) -> None:
        try:
            while part:
                count = os.write(self._file, part)
                self._said, self._filled = self._said + count, self._filled + count
                end = part.rfind(b"\n", 0, count) + 1
                self._line = count - end if end else self._line + count
                part = part[count:]
        except OSError as error:
            self._refused(error)

    def _next(self) -> bool:
        """Go on in another piece, with the line that this one ends within; False if there can be none."""
        moved = self._line if self._movable else 0
        name = f"log.{self._said - moved:015d}"
        try:
            file = _opened(name)
            if os.write(file, os.pread(self._file, moved, self._filled - moved)) < moved:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            self._refused(error)
            return False
        os.ftruncate(self._file, self._filled - moved)
        os.close(self._file)
        self._file, self._room = file, self._size - moved
        self._filled = self._line = moved
        self._pieces.append(name)
        if len(self._pieces) > PIECES:
            os.unlink(self._pieces.pop(0))
        return True

    def close(self) -> None:
        for file in (self.source, self.sink, self._file):
            os.close(file)

    def _refused(self, error: OSError) -> None:
        """The command goes on where its log cannot: it must not wait for somebody to make room."""
        if error.errno not in FULL:
            raise error
        self.full = os.strerror(error.errno)


def _opened(name: str) -> int:
    return os.open(name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)


def read(folder: str, cursor: int, most: int) -> tuple[bytes, int]:
    """From a position on, at most so many bytes, and the next position; one line more says what is not there any more.

    Raises FileNotFoundError if there is no log.
    """
    said = b""
    while len(said) < most:
        pieces = _pieces(folder)  # before the read: all but the last are complete
        index = max(at for at, (start, _) in enumerate(pieces) if start <= cursor)
        start, name = pieces[index]
        try:
            chunk = _read(os.path.join(folder, name), cursor - start, most - len(said))
        except FileNotFoundError:
            if not index:
                raise
            continue  # the oldest went between the two looks
        said, cursor = said + chunk, cursor + len(chunk)
        if not chunk and index + 1 == len(pieces):
            break
        if not chunk:
            after = pieces[index + 1][0]
            cut = f"cloudml: {after - cursor} bytes of output were cut here\n".encode()
            return said + (b"\n" if said and not said.endswith(b"\n") else b"") + cut, after
    return said, cursor


def _pieces(folder: str) -> list[tuple[int, str]]:
    """The files of a log with the positions at which they begin, in order."""
    names = [name for name in os.listdir(folder) if name.startswith("log.")]
    return [(0, "log"), *sorted((int(name[4:]), name) for name in names)]


def _read(path: str, offset: int, most: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(most)
