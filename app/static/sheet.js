// The drawing sheet: strokes drawn by pointer or keyboard, or a picture, with undo and redo.
//
// All lengths are fractions of the sheet's width. A stroke is `{ points, erases }`, a point `{ x, y, pressure }`.

const RATIO = 0.8; // height to width, as in page.css
const WIDTH = 320; // pixels wide; the service reads 320 × 256 without handing it to a thread
const MAX_SIDE = 2048; // pixels, the longest side of a picture that is kept for display and undo
const KEY_STEP = 0.02; // of the width: how far an arrow key moves the pen
const MIN_DISTANCE = 0.002; // of the width: closer points are dropped
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const PEN = { share: 0.07, min: 0.016, max: 0.055 }; // of the largest stroke's width and height: about MNIST's pen
const ERASER = 0.08;
const MIN_LABEL = 12; // pixels on the screen
const PLAY_TIME = 900; // milliseconds in which a drawing from a link is drawn
const FRAME_TIME = 16; // milliseconds
const SVG = "http://www.w3.org/2000/svg";
const EMPTY = { picture: null, strokes: [] };

export class Sheet {
  /** Whether the pen erases. */
  erases = false;

  #root;
  #canvas;
  #boxes;
  #onChange;
  #announce;
  #state = EMPTY;
  #undone = []; // the states that redo returns to, the next one last
  #history = [];
  #pointer = null; // the id of the pointer that is drawing
  #keys = new Set(); // arrow keys that are down
  #cursor = null; // where the keyboard's pen is, while it is used
  #isPenDown = false;
  #frame = 0;

  /** Calls `onChange({ fresh })` on every change (`fresh` unless a stroke was added), and `announce(text)` to announce the pen. */
  constructor(root, { onChange, announce }) {
    this.#root = root;
    this.#canvas = root.querySelector("canvas");
    this.#boxes = root.querySelector(".boxes");
    this.#onChange = onChange;
    this.#announce = announce;
    this.#listen();
  }

  get isEmpty() {
    return !this.#state.picture && !this.#state.strokes.length;
  }

  get canUndo() {
    return this.#history.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  /** The picture that is shown, or null if the sheet holds a drawing. */
  get picture() {
    return this.#state.picture;
  }

  /** Whether the pen would leave a mark: the eraser needs strokes. */
  get #canDraw() {
    return !this.erases || this.#state.strokes.length > 0;
  }

  /** Replace what is on the sheet with a picture. */
  async show(blob, name) {
    const bitmap = await decode(blob).catch(() => null); // the service may still read it
    this.#replace({ picture: { blob, name, bitmap }, strokes: [] });
  }

  /** The strokes of the drawing, or an empty list if the sheet holds a picture. */
  get strokes() {
    return this.#state.strokes;
  }

  /** Replace what is on the sheet with a drawing, which is drawn before the reader's eyes. */
  async play(strokes) {
    this.#lift();
    const duration = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : PLAY_TIME;
    const started = performance.now();
    this.#change(EMPTY);
    for (let share = 0; share < 1; ) {
      share = duration ? Math.min(1, (performance.now() - started) / duration) : 1;
      const state = (this.#state = { picture: null, strokes: cutStrokes(strokes, share) });
      this.#draw();
      this.#onChange({ fresh: share === 1 });
      await new Promise((resume) => setTimeout(resume, FRAME_TIME)); // frames stop in a tab in the background
      if (this.#state !== state) return; // somebody draws
    }
  }

  clear() {
    if (!this.isEmpty) this.#replace(EMPTY);
  }

  undo() {
    this.#travel(this.#history, this.#undone);
  }

  redo() {
    this.#travel(this.#undone, this.#history);
  }

  /** Return what to send: the bytes of the picture, or the drawing in black on white. */
  async toBlob() {
    if (this.#state.picture) return this.#state.picture.blob;
    const canvas = new OffscreenCanvas(WIDTH, WIDTH * RATIO);
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    drawStrokes(context, this.#state.strokes, { scale: WIDTH, colour: "#000", paper: "#fff" });
    return canvas.convertToBlob();
  }

  /** Show boxes `[{ box, text, look }]`, given in pixels of a picture of `width` by `height`; looks are in page.css. */
  showBoxes(boxes, { width, height } = { width: WIDTH, height: WIDTH * RATIO }) {
    this.#boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const sheetWidth = Math.max(width, height / RATIO); // in the picture's pixels
    const tallest = Math.max(...boxes.map(({ box }) => box[3]));
    const unit = clamp(8 * tallest, sheetWidth / 2, sheetWidth); // smaller where the lines are close together
    const top = (height - RATIO * sheetWidth) / 2; // of the sheet
    const minSize = (MIN_LABEL * sheetWidth) / this.#root.clientWidth;
    this.#boxes.replaceChildren(...boxes.flatMap((each) => createBox(each, { unit, minSize, top })));
  }

  #replace(state) {
    this.#lift();
    this.#change(state);
    this.#onChange({ fresh: true });
  }

  /** Show another state, to which undo returns. */
  #change(state) {
    this.#history.push(this.#state);
    this.#undone = [];
    this.#state = state;
    this.#draw();
  }

  /** Go back or forth to the latest state of one list; the present one is added to the other. */
  #travel(from, to) {
    if (!from.length) return;
    this.#lift();
    to.push(this.#state);
    this.#state = from.pop();
    this.#draw();
    this.#onChange({ fresh: true });
  }

  #listen() {
    const root = this.#root;
    root.addEventListener("pointerdown", (event) => this.#press(event));
    root.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      root.addEventListener(name, (event) => {
        if (event.pointerId === this.#pointer) this.#pointer = null;
      });
    }
    root.addEventListener("keydown", (event) => this.#handleKey(event));
    root.addEventListener("keyup", (event) => this.#keys.delete(event.key));
    root.addEventListener("focus", () => {
      if (!root.matches(":focus-visible") || this.#pointer !== null) return;
      this.#cursor ??= { x: 0.5, y: RATIO / 2 };
      this.#draw();
    });
    root.addEventListener("blur", () => {
      this.#lift();
      this.#cursor = null;
      this.#draw();
    });
    new ResizeObserver(() => this.#draw()).observe(root);
    for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
      matchMedia(query).addEventListener("change", () => this.#draw());
    }
  }

  #press(event) {
    if (this.#pointer !== null || event.button !== 0 || !event.isPrimary || !this.#canDraw) return;
    this.#lift();
    this.#cursor = null;
    this.#pointer = event.pointerId;
    this.#root.setPointerCapture(event.pointerId);
    this.#begin(this.#toPoint(event));
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) this.#extend(this.#toPoint(each));
  }

  #toPoint(event) {
    const { left, top, width } = this.#root.getBoundingClientRect();
    const pressure = event.pointerType === "pen" ? 0.4 + 1.2 * event.pressure : 1;
    return { x: (event.clientX - left) / width, y: (event.clientY - top) / width, pressure };
  }

  #handleKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) this.#steer(event);
    else if (event.key === " ") this.#touch();
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Delete") this.clear();
    else return;
    event.preventDefault();
  }

  #steer({ key, shiftKey }) {
    this.#keys.add(key); // two at a time move diagonally
    const step = shiftKey ? 3 * KEY_STEP : KEY_STEP;
    const { x, y } = this.#cursor ?? { x: 0.5, y: RATIO / 2 };
    const [right, down] = [...this.#keys].reduce(([a, b], arrow) => [a + ARROWS[arrow][0], b + ARROWS[arrow][1]], [0, 0]);
    this.#cursor = { x: clamp(x + right * step, 0, 1), y: clamp(y + down * step, 0, RATIO) };
    if (this.#isPenDown) this.#extend({ ...this.#cursor, pressure: 1 });
    else this.#draw();
  }

  #touch() {
    if (this.#isPenDown) {
      this.#lift();
      this.#announce("Pen lifted");
      return;
    }
    if (!this.#canDraw) return;
    this.#cursor ??= { x: 0.5, y: RATIO / 2 };
    this.#isPenDown = true;
    this.#begin({ ...this.#cursor, pressure: 1 });
    this.#announce("Pen down");
  }

  #lift() {
    this.#isPenDown = false;
    this.#pointer = null;
    this.#keys.clear();
    this.#draw();
  }

  #begin(point) {
    const { picture, strokes } = this.#state;
    this.#change({ picture: null, strokes: [...strokes, { points: [point], erases: this.erases }] });
    this.#onChange({ fresh: picture !== null });
  }

  #extend(point) {
    const { points } = this.#state.strokes.at(-1);
    const { x, y } = points.at(-1);
    if (Math.hypot(point.x - x, point.y - y) < MIN_DISTANCE) return;
    points.push(point);
    this.#draw();
    this.#onChange({ fresh: false });
  }

  #draw() {
    this.#root.dataset.state = this.#state.picture ? "picture" : this.isEmpty ? "empty" : "drawing";
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint() {
    const scale = Math.round(this.#canvas.clientWidth * devicePixelRatio);
    this.#canvas.width = scale;
    this.#canvas.height = scale * RATIO;
    const context = this.#canvas.getContext("2d");
    const style = getComputedStyle(this.#root);
    const { picture, strokes } = this.#state;
    if (picture?.bitmap) drawFitted(context, picture.bitmap);
    else if (picture) drawName(context, picture.name, style.color);
    drawStrokes(context, strokes, { scale, colour: style.color });
    if (!this.#cursor) return;
    context.beginPath();
    const width = this.erases ? ERASER : choosePen(strokes);
    context.arc(this.#cursor.x * scale, this.#cursor.y * scale, (width * scale) / 2, 0, 2 * Math.PI);
    context.lineWidth = 2 * devicePixelRatio;
    context.strokeStyle = style.accentColor;
    context.stroke();
    if (this.#isPenDown && !this.erases) context.fill();
  }
}

/** Decode a picture, turn it upright, and shrink it to what a screen can show. */
async function decode(blob) {
  const bitmap = await createImageBitmap(blob);
  if (Math.max(bitmap.width, bitmap.height) <= MAX_SIDE) return bitmap;
  const longest = bitmap.width > bitmap.height ? "resizeWidth" : "resizeHeight"; // the other side follows
  return createImageBitmap(bitmap, { [longest]: MAX_SIDE, resizeQuality: "high" }).finally(() => bitmap.close());
}

const clamp = (value, min, max) => Math.min(max, Math.max(min, value));

/** Draw a picture as large as it fits, on white. */
function drawFitted(context, bitmap) {
  const { width, height } = context.canvas;
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  const rectangle = [(width - w) / 2, (height - h) / 2, w, h];
  context.fillStyle = "#fff";
  context.fillRect(...rectangle);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, ...rectangle);
}

/** Show the name of a picture that this browser can't display. */
function drawName(context, text, colour) {
  const { width, height } = context.canvas;
  context.font = `${width / 24}px sans-serif`;
  context.textAlign = "center";
  context.fillStyle = colour;
  context.fillText(text, width / 2, height / 2, 0.9 * width);
}

/** Return the width of the pen: in proportion to the largest stroke, so that the loops of a small digit stay open. */
function choosePen(strokes) {
  const largest = Math.max(0, ...strokes.filter(({ erases }) => !erases).map(({ points }) => measureSize(points)));
  return strokes.length ? clamp(PEN.share * largest, PEN.min, PEN.max) : PEN.max;
}

/** Return the width and height of the points' bounding box together. */
function measureSize(points) {
  const [left, top, right, bottom] = points.reduce(
    ([l, t, r, b], { x, y }) => [Math.min(l, x), Math.min(t, y), Math.max(r, x), Math.max(b, y)],
    [1, 1, 0, 0],
  );
  return right - left + (bottom - top);
}

/** Return the first part of a drawing, by its number of points; there is always one. */
function cutStrokes(strokes, share) {
  let left = Math.max(1, Math.round(share * strokes.reduce((sum, { points }) => sum + points.length, 0)));
  const cut = [];
  for (const { points, erases } of strokes) {
    if (left > 0) cut.push({ points: points.slice(0, left), erases });
    left -= points.length;
  }
  return cut;
}

/** Draw strokes in their order; erased places get the colour of the `paper`, or become transparent if there is none. */
function drawStrokes(context, strokes, { scale, colour, paper }) {
  const pen = choosePen(strokes);
  context.lineCap = context.lineJoin = "round";
  for (const { points, erases } of strokes) {
    context.globalCompositeOperation = erases && !paper ? "destination-out" : "source-over";
    context.strokeStyle = context.fillStyle = erases && paper ? paper : colour;
    drawCurve(context, points, { scale, width: (erases ? ERASER : pen) * scale });
  }
  context.globalCompositeOperation = "source-over";
}

/** Draw a curve through the midpoints between points, as wide as the pen's pressure there. */
function drawCurve(context, points, { scale, width }) {
  let from = points[0];
  context.beginPath();
  context.arc(from.x * scale, from.y * scale, (from.pressure * width) / 2, 0, 2 * Math.PI);
  context.fill();
  for (let at = 1; at < points.length; at += 1) {
    const [before, here] = [points[at - 1], points[at]];
    const last = at === points.length - 1;
    const to = last ? here : { x: (before.x + here.x) / 2, y: (before.y + here.y) / 2 };
    context.beginPath();
    context.moveTo(from.x * scale, from.y * scale);
    context.quadraticCurveTo(before.x * scale, before.y * scale, to.x * scale, to.y * scale);
    context.lineWidth = here.pressure * width;
    context.stroke();
    from = to;
  }
}

/** Return the rectangle of a box, with a casing in the sheet's colour, and its text: above it, or below if there is no room. */
function createBox({ box: [x, y, width, height], text = "", look = "" }, { unit, minSize, top }) {
  const margin = 0.012 * unit;
  const size = Math.max(0.045 * unit, minSize);
  const rectangles = ["casing", look].map((name) =>
    createSvg("rect", {
      x: x - margin,
      y: y - margin,
      width: width + 2 * margin,
      height: height + 2 * margin,
      rx: margin,
      class: name,
    }),
  );
  const above = y - 2 * margin;
  const label = createSvg("text", {
    x: x + width / 2,
    y: above - top > size ? above : y + height + 2 * margin + 0.8 * size,
    "font-size": size,
    class: look,
  });
  label.textContent = text;
  return [...rectangles, label];
}

function createSvg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
}
