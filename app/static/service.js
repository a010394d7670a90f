// The service that this page came from: one call, and whoever asks it again and again while somebody draws.

const PAUSE = 100; // milliseconds from an answer to the next question
const PATIENCE = 30_000; // milliseconds: longer than the service itself waits for an upload and for an answer
const BUSY = [429, 503];

/** The service refused; the message is its own sentence. */
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

/** Nobody answered. */
export class Unreachable extends Error {}

/** The key that a service with keys asks for, until the tab is closed. */
export const key = {
  get: () => sessionStorage.getItem("digits.key") ?? "",
  set: (value) => sessionStorage.setItem("digits.key", value),
};

/** Ask for JSON, or for text; with a picture by POST. Throws Problem, Unreachable, or the AbortError of `signal`. */
export async function call(path, { picture, signal, as = "json" } = {}) {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
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

/** Asks at most one question at a time, and next the newest; an answer to what is no longer there is dropped. */
export class Asker {
  #question;
  #answered;
  #failed;
  #wanted = false;
  #running = false;
  #asked = new AbortController();

  /** `question(signal)` returns the answer. An error with `wait` seconds is followed by another question. */
  constructor({ question, answered, failed }) {
    this.#question = question;
    this.#answered = answered;
    this.#failed = failed;
  }

  /** Ask as soon as may be. */
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

  /** What was asked is no longer of interest. */
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
