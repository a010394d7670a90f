"""The Open Inference Protocol over gRPC, beside /v2: DIGITS_GRPC_PORT, and the extra `grpc`.

A call is served as what it is, an HTTP request: `transport` turns it into an ASGI request to the path of the
method, which passes through the same guards as every other one (`app.main`), and the answer into a message or
a status. `methods` answers it with the functions that answer /v2. `messages` defines the protocol's
messages, and `cost` refuses those whose parsing would cost too much.

Nothing of this is imported unless a port is configured.
"""
