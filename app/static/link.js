// Links that carry a drawing in their fragment, which browsers never send to a service.
//
// #drawing=1… is version 1: in base64url, the mode, and for each stroke its number of points and whether it erases, the
// pen's pressure, its first point, and from there the steps to each next one. Numbers are variable-length integers of
// 7 bits a byte; lengths are in 1/1024 of the sheet's width.

const NAME = "#drawing=";
const VERSION = "1";
const MODES = ["auto", "digit", "number"];
const UNIT = 1024;
const RATIO = 0.8; // the sheet's height to its width
const MIN_STEP = 0.008; // of the width: closer points are left out, and nobody sees the difference
const MAX_TEXT = 16_384; // characters: a page full of digits has 4,000
const MAX_STROKES = 500;
const MAX_POINTS = 6_000;
const PRESSURE = 64; // units of the pen's pressure, which is 1 for a mouse
const MAX_PRESSURE = 2;
const BITS = 7; // of a number in each byte

/** Return the fragment of a drawing, or "" if it is too long for a link. */
export function encodeDrawing(strokes, mode) {
  if (strokes.length > MAX_STROKES) return "";
  const bytes = [MODES.indexOf(mode), ...strokes.flatMap(encodeStroke)];
  const text = btoa(bytes.map((byte) => String.fromCharCode(byte)).join("")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  const fragment = NAME + VERSION + text;
  return fragment.length > MAX_TEXT ? "" : fragment;
}

/** Return `{ strokes, mode }` of a fragment, null if it holds no drawing; throws if it is damaged or of another version. */
export function decodeDrawing(fragment) {
  if (!fragment.startsWith(NAME)) return null;
  const text = fragment.slice(NAME.length);
  check(fragment.length <= MAX_TEXT && text.startsWith(VERSION));
  const reader = new Reader(decodeBase64(text.slice(VERSION.length)));
  const mode = MODES[reader.read()];
  check(mode);
  const strokes = [];
  for (let points = 0; !reader.isAtEnd; points += strokes.at(-1).points.length) {
    check(strokes.length < MAX_STROKES && points < MAX_POINTS);
    strokes.push(decodeStroke(reader));
  }
  check(strokes.length > 0);
  return { strokes, mode };
}

function decodeBase64(text) {
  check(/^[\w-]*$/.test(text) && text.length % 4 !== 1);
  return Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

function encodeStroke({ points: all, erases }) {
  const points = thin(all).map(({ x, y }) => [toUnits(x, 1), toUnits(y, RATIO)]);
  const pressure = all.reduce((sum, point) => sum + point.pressure, 0) / all.length;
  const numbers = [2 * points.length + (erases ? 1 : 0), Math.round(PRESSURE * pressure), ...points[0]];
  for (let at = 1; at < points.length; at += 1) {
    numbers.push(...points[at].map((value, axis) => zigzag(value - points[at - 1][axis])));
  }
  return numbers.flatMap(encodeNumber);
}

function decodeStroke(reader) {
  const header = reader.read();
  const count = header >> 1;
  check(count > 0 && count <= MAX_POINTS);
  const pressure = reader.read() / PRESSURE;
  check(pressure <= MAX_PRESSURE);
  let [x, y] = [reader.read(), reader.read()];
  const points = [];
  while (points.length < count) {
    if (points.length) [x, y] = [x + unzigzag(reader.read()), y + unzigzag(reader.read())];
    check(x >= 0 && x <= UNIT && y >= 0 && y <= Math.round(UNIT * RATIO));
    points.push({ x: x / UNIT, y: y / UNIT, pressure });
  }
  return { points, erases: header % 2 === 1 };
}

/** Leave out points that are close to the last one that is kept; the first and last stay. */
function thin(points) {
  const kept = [points[0]];
  for (const point of points.slice(1, -1)) {
    if (Math.hypot(point.x - kept.at(-1).x, point.y - kept.at(-1).y) >= MIN_STEP) kept.push(point);
  }
  return points.length > 1 ? [...kept, points.at(-1)] : kept;
}

/** Return a length in units, within the sheet: a pen may leave it while it is down. */
const toUnits = (length, max) => Math.round(UNIT * Math.min(max, Math.max(0, length)));
const zigzag = (value) => (value < 0 ? -2 * value - 1 : 2 * value);
const unzigzag = (value) => (value % 2 ? -(value + 1) / 2 : value / 2);

function encodeNumber(value) {
  const bytes = [];
  for (; value >= 2 ** BITS; value = Math.floor(value / 2 ** BITS)) bytes.push((value % 2 ** BITS) + 2 ** BITS);
  return [...bytes, value];
}

class Reader {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  get isAtEnd() {
    return this.#at >= this.#bytes.length;
  }

  /** Return the next number, which has at most three bytes. */
  read() {
    for (let value = 0, factor = 1; factor < 2 ** (3 * BITS); factor *= 2 ** BITS) {
      check(!this.isAtEnd);
      const byte = this.#bytes[this.#at];
      this.#at += 1;
      value += (byte % 2 ** BITS) * factor;
      if (byte < 2 ** BITS) return value;
    }
    return check(false);
  }
}

function check(isRight) {
  if (!isRight) throw new RangeError("This link is damaged, or made by another version of this page.");
}
