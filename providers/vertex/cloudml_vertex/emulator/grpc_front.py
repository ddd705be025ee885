"""gRPC: every method by its path, messages as bytes, refusals as a status with its text."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from cloudml_vertex.emulator.core import Core
from cloudml_vertex.emulator.problems import Lost, Problem
from cloudml_vertex.emulator.signin import Directory

THREADS = 32
LONGEST_MESSAGE = 64 << 20  # bytes


class GrpcFront(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A server on a loopback port, in plain HTTP/2."""

    def __init__(self, core: Core, directory: Directory) -> None:
        self._core = core
        self._directory = directory
        size = [("grpc.max_receive_message_length", LONGEST_MESSAGE), ("grpc.so_reuseport", 0)]
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="vertex-grpc")
        self._server = grpc.server(self._pool, [self], options=size)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def service(self, details: Any) -> Any:
        method = self._core.methods.get(details.method)
        if method is None:
            return None  # UNIMPLEMENTED

        def answer(message: Any, context: Any) -> Any:
            return self._answer(details.method, message, context)

        return grpc.unary_unary_rpc_method_handler(
            answer, request_deserializer=method.request.FromString, response_serializer=_bytes
        )

    def stop(self) -> None:
        """No more calls; those that still run are not answered."""
        self._server.stop(0).wait()

    def close(self) -> None:
        """Ends its threads, once what they wait for has ended."""
        self.stop()
        self._pool.shutdown()

    def _answer(self, path: str, message: Any, context: Any) -> Any:
        sent = dict(context.invocation_metadata())
        try:
            self._directory.admit(str(sent.get("authorization", "")))
            return self._core.call(path, message)
        except Problem as problem:
            context.abort(getattr(grpc.StatusCode, problem.status), problem.message)
        except Lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def _bytes(message: Any) -> bytes:
    found: bytes = message.SerializeToString()
    return found
