"""Processes, sockets, signals and HTTP: how the application is started, reached, reloaded and ended.

**Processes.** `start.serve` reads the settings, binds the sockets, and checks keys and models before anything
serves. With one worker it then runs `process.Server`, which is uvicorn's server, in its own process. With
more, it becomes the parent (`supervisor`): it starts the workers, hands them the bound sockets, checks them
ten times a second, and replaces those that die or hang. Each worker runs the same `Server`; requests never
pass through the parent. `workers` adds up the metrics of all workers.

**Sockets.** All workers accept from the same port. `sockets.ListeningSocket` lets each take only a few
connections at a time, so that the load is shared, and closes the port only once nobody waits before it.

**HTTP.** uvicorn creates a `protocol.GuardedProtocol` for each connection. It parses one request at a time
and bounds what a client may send, how fast, and how slowly it may take the answer. `connections` bounds their
number: a new connection replaces the one that has been idle for longest.

**Signals.** Each signal goes from the parent to its workers.

- SIGTERM drains: for `DIGITS_DRAIN_DELAY` seconds the server goes on but reports that it isn't ready, then it
  closes the port and answers the requests in flight. A second SIGTERM ends it at once.
- SIGHUP reloads keys and models (`signals`). A single process swaps them while it serves. With several
  workers, the parent has them reload their keys (SIGUSR1), then replaces them one by one with new workers
  that load the new models.
"""
