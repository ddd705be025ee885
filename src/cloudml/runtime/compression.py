"""Bodies that come compressed: ``content-encoding`` gzip or deflate, as Triton's and other clients send on request."""

from __future__ import annotations

import zlib

from cloudml.runtime.rows import Refused

# what zlib is told of the format: gzip's frame, zlib's frame
WINDOWS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
PLAIN = (b"", b"identity")


def unpacked(body: bytes, encoding: bytes, most: int) -> bytes:
    """The body itself. Raises Refused: 400 for broken data, 413 beyond ``most`` bytes, 415 for another encoding."""
    named = encoding.strip().lower()
    if named in PLAIN:
        return body
    if named not in WINDOWS:
        raise Refused(f"content-encoding {named.decode('latin-1')[:40]!r} is not read here; gzip and deflate are", 415)
    reader = zlib.decompressobj(WINDOWS[named])
    try:
        found = reader.decompress(body, most + 1)
    except zlib.error as error:
        raise Refused(f"the body is not {named.decode()}: {error}") from None
    if len(found) > most:
        raise Refused(f"the body has more than {most} bytes when it is unpacked", 413)
    if not reader.eof or reader.unused_data:
        raise Refused(f"the body is not {named.decode()}: it is cut off, or something follows it")
    return found
