// The service that this page came from: a function for one call, and a class that repeats it while somebody draws.

const PAUSE = 100; // milliseconds between an answer and the next request
const PATIENCE = 30_000; // milliseconds: longer than the service itself allows for an upload and a prediction
const BUSY = [429, 503];

/** The service refused a request; the message is the `detail` of its answer. */
export class Problem extends Error {
  constructor(response, { detail, code }) {
    super(detail ?? `The service answered ${response.status}.`);
    this.code = code;
    this.status = response.status;
    const wait = response.headers.get("Retry-After");
    const seconds = Number.isNaN(Number(wait)) ? (Date.parse(wait) - Date.now()) / 1000 : Number(wait);
    this.wait = BUSY.includes(response.status) ? Math.max(1, Math.ceil(seconds || 0)) : 0; // seconds
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
  const ends = [AbortSignal.timeout(PATIENCE), ...(signal ? [signal] : [])];
  try {
    const started = performance.now();
    const response = await fetch(path, {
      method: picture ? "POST" : "GET",
      body: picture,
      headers,
      cache: "no-store",
      signal: AbortSignal.any(ends),
    });
    if (!response.ok) throw new Problem(response, await response.json().catch(() => ({})));
    const body = await response[as]();
    return { body, stages: response.headers.get("Server-Timing") ?? "", taken: performance.now() - started };
  } catch (error) {
    if (error instanceof Problem || error.name === "AbortError") throw error;
    throw new Unreachable("The service does not answer.");
  }
}

/** Sends at most one request at a time, and then the newest; answers to forgotten requests are dropped. */
export class Requester {
  #question;
  #answered;
  #failed;
  #wanted = false;
  #running = false;
  #asked = new AbortController();

  /** `question(signal)` returns the answer. After an error with `wait` seconds, the request is repeated. */
  constructor({ question, answered, failed }) {
    this.#question = question;
    this.#answered = answered;
    this.#failed = failed;
  }

  /** Send a request as soon as possible. */
  async ask() {
    this.#wanted = true;
    if (this.#running) return;
    this.#running = true;
    try {
      while (this.#wanted) {
        this.#wanted = false;
        const pause = await this.#askOnce();
        await new Promise((resume) => setTimeout(resume, pause));
      }
    } finally {
      this.#running = false;
    }
  }

  /** Drop the current request and its answer. */
  forget() {
    this.#wanted = false;
    this.#asked.abort();
  }

  async #askOnce() {
    const { signal } = (this.#asked = new AbortController());
    let answer;
    try {
      answer = await this.#question(signal);
    } catch (error) {
      if (signal.aborted) return PAUSE;
      this.#failed(error);
      if (!error.wait) return PAUSE;
      this.#wanted = true;
      return error.wait * 1000;
    }
    if (!signal.aborted) this.#answered(answer);
    return PAUSE;
  }
}
