"""How the application is served: processes, sockets, signals and HTTP.

`python -m app` runs `start.serve`, which checks the settings, binds the listening sockets, reads the API keys
and loads the models once. A mistake ends it with one line and exit code 2. Otherwise this process serves or,
with several workers, supervises.

- Processes: `process.Server`, a uvicorn server, runs in each worker. `supervisor.Supervisor` starts the
  workers, pings them, and replaces those that die or hang. `workers` lets them share their metrics.
- Sockets: the first process binds them, and all workers accept from the same queue.
  `sockets.ListeningSocket` accepts a few connections at a time, so that every worker gets some, and closes
  only once the queue is empty.
- Signals: on SIGTERM a server drains. It reports that it is not ready but keeps serving; then it stops
  listening, finishes the requests in flight and exits. A second SIGTERM skips the wait. SIGHUP reloads keys
  and models (`signals`). A supervisor makes its workers reload the keys (SIGUSR1), then replaces them one by
  one.
- HTTP: uvicorn's protocol with the httptools parser. `protocol.GuardedProtocol` adds limits and timeouts, and
  parses one request at a time. `connections.Connections` limits how many connections a worker keeps open.
"""
