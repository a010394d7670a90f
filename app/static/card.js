// A picture of the drawing and its answer, to share or to save.

const WIDTH = 1200; // pixels, as sites show pictures of links
const HEIGHT = 630;
const SHEET = { x: 60, y: 95, width: 550, height: 440, radius: 28 };
const LEFT = 680; // of the texts
const MAX_TEXT = 460; // pixels: the width of the texts

/** Return a PNG of a sheet's canvases, which lie on each other, and of the answer as texts: `written`, `words` and `address`. */
export async function drawCard(layers, { written, words, address }) {
  const canvas = new OffscreenCanvas(WIDTH, HEIGHT);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const write = (text, y, size, { fill, font }) => {
    context.fillStyle = colour(fill);
    context.font = `${size}px ${colour(font)}`;
    context.font = `${size * Math.min(1, MAX_TEXT / Math.max(1, context.measureText(text).width))}px ${colour(font)}`;
    context.fillText(text, LEFT, y);
  };
  context.fillStyle = colour("--paper");
  context.fillRect(0, 0, WIDTH, HEIGHT);
  drawSheet(context, layers, colour);
  const lines = written.split("\n");
  const size = Math.min(260, 330 / lines.length);
  for (const [index, line] of lines.entries()) {
    write(line, 330 - (lines.length - 1 - index) * size, size, { fill: "--say", font: "--serif" });
  }
  write(words, 420, 44, { fill: "--ink", font: "--serif" });
  write("read by digits", 480, 30, { fill: "--soft", font: "--sans" });
  write(address, 522, 30, { fill: "--soft", font: "--sans" });
  return canvas.convertToBlob({ type: "image/png" });
}

function drawSheet(context, layers, colour) {
  const { x, y, width, height, radius } = SHEET;
  context.save();
  context.beginPath();
  context.roundRect(x, y, width, height, radius);
  context.fillStyle = colour("--sheet");
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = colour("--line");
  context.stroke();
  context.clip();
  context.fillStyle = colour("--dots");
  for (let right = 14; right < width; right += 27.5) {
    for (let down = 14; down < height; down += 27.5) context.fillRect(x + right - 1, y + down - 1, 2, 2);
  }
  context.imageSmoothingQuality = "high";
  for (const layer of layers) if (layer.width) context.drawImage(layer, x, y, width, height);
  context.restore();
}

/** Offer a file to other apps where the browser can, and save it elsewhere; return which. */
export async function shareFile(blob, { name, title, text }) {
  const file = new File([blob], name, { type: blob.type });
  if (navigator.canShare?.({ files: [file] })) {
    try {
      await navigator.share({ files: [file], title, text });
      return "shared";
    } catch (error) {
      if (error.name === "AbortError") return "cancelled";
    }
  }
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return "saved";
}
