// The service that this page came from: a function for one call, and a class that repeats it while somebody draws.

const ROOT = new URL("..", import.meta.url); // the service may be behind a prefix
const PAUSE = 100; // milliseconds between an answer and the next request, at least
const TIMEOUT = 30_000; // milliseconds: longer than the service itself allows for an upload and a prediction
const BUSY_STATUSES = [429, 503];

/** Return the address of a path of the service. */
export const locate = (path) => new URL(`.${path}`, ROOT).href;

/** The service refused a request; the message is the `detail` of its answer. */
export class Problem extends Error {
  constructor(response, { detail }) {
    super(detail ?? `The service answered ${response.status}.`);
    this.status = response.status;
    const wait = response.headers.get("Retry-After");
    const seconds = Number.isNaN(Number(wait)) ? (Date.parse(wait) - Date.now()) / 1000 : Number(wait);
    this.wait = BUSY_STATUSES.includes(response.status) ? Math.max(1, Math.ceil(seconds || 0)) : 0; // seconds
  }
}

export class Unreachable extends Error {}

/** The API key, stored until the tab is closed. */
export const apiKey = {
  get: () => sessionStorage.getItem("digits.key") ?? "",
  set: (value) => sessionStorage.setItem("digits.key", value),
};

/** Request JSON or text, by POST if there is a picture. Throws Problem, Unreachable, or the AbortError of `signal`. */
export async function sendRequest(path, { picture, signal, as = "json" } = {}) {
  const headers = apiKey.get() ? { Authorization: `Bearer ${apiKey.get()}` } : {};
  if (picture) headers["Content-Type"] = "application/octet-stream";
  const signals = [AbortSignal.timeout(TIMEOUT), ...(signal ? [signal] : [])];
  try {
    const started = performance.now();
    const response = await fetch(locate(path), {
      method: picture ? "POST" : "GET",
      body: picture,
      headers,
      cache: "no-store",
      signal: AbortSignal.any(signals),
    });
    if (!response.ok) throw new Problem(response, await response.json().catch(() => ({})));
    const body = await response[as]();
    const pause = choosePause(response.headers);
    return { body, pause, stages: response.headers.get("Server-Timing") ?? "", duration: performance.now() - started };
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Unreachable("The service does not answer.");
  }
}

/**
 * Return the milliseconds to wait before the next request, so that the service's rate limit never has to refuse one.
 *
 * The fewer requests remain, the longer: from half of them on, the pause grows to the time in which one is added.
 */
function choosePause(headers) {
  const [, quota, window] = /q=(\d+);w=(\d+)/.exec(headers.get("RateLimit-Policy")) ?? [];
  const [, remaining] = /r=(\d+)/.exec(headers.get("RateLimit")) ?? [];
  if (!remaining) return PAUSE;
  const interval = (1000 * window) / quota;
  return Math.max(PAUSE, interval * Math.min(1, 2 - (2 * remaining) / quota));
}

/** Sends at most one request at a time, and then the newest; answers to dropped requests are ignored. */
export class Requester {
  #send;
  #onAnswer;
  #onFailure;
  #isPending = false;
  #isRunning = false;
  #isServed = false;
  #controller = new AbortController();

  /** `send(signal)` returns the answer. After an error with `wait` seconds, the request is repeated. */
  constructor({ send, onAnswer, onFailure }) {
    this.#send = send;
    this.#onAnswer = onAnswer;
    this.#onFailure = onFailure;
  }

  /** Whether the newest request has an answer, or may still get one. */
  get isServed() {
    return this.#isServed;
  }

  /** Send a request as soon as possible. */
  async request() {
    this.#isPending = true;
    this.#isServed = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#isPending) {
        this.#isPending = false;
        const pause = await this.#sendOnce();
        await new Promise((resume) => setTimeout(resume, pause));
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Drop the current request and its answer. */
  drop() {
    this.#isPending = false;
    this.#isServed = false;
    this.#controller.abort();
  }

  async #sendOnce() {
    const { signal } = (this.#controller = new AbortController());
    let answer;
    try {
      answer = await this.#send(signal);
    } catch (error) {
      if (signal.aborted) return PAUSE;
      this.#onFailure(error);
      if (!error.wait) {
        this.#isServed = this.#isPending;
        return PAUSE;
      }
      this.#isPending = true;
      return error.wait * 1000;
    }
    if (!signal.aborted) this.#onAnswer(answer);
    return answer.pause;
  }
}
