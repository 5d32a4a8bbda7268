// Masks and marks on a canvas of any size. Knows canvases and instances; knows no page.

import { css } from "./colours.js";

const FILL = 0.42;
const ACCENT = "rgb(255 255 255)";
const SHADE = "rgb(0 0 0 / 0.65)";

/** The picture (a plain ground where the browser cannot show it), and its masks, small ones over large ones. */
export function drawPicture(context, view, grid, instances, classOf) {
  const { width, height } = context.canvas;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#7b8087";
  context.imageSmoothingQuality = "high";
  if (view) context.drawImage(view, 0, 0, width, height);
  else context.fillRect(0, 0, width, height);
  inGrid(context, grid, (unit) => {
    for (const one of [...instances].sort((first, second) => second.area - first.area)) {
      const index = classOf(one);
      context.fillStyle = css(index, FILL);
      context.fill(one.path, "evenodd");
      context.strokeStyle = css(index);
      context.lineWidth = 1.5 * unit;
      context.stroke(one.path);
    }
  });
}

/** One mask so that it cannot be overlooked. */
export function drawHighlight(context, grid, { path }, fill) {
  inGrid(context, grid, (unit) => {
    context.fillStyle = fill;
    context.fill(path, "evenodd");
    context.lineJoin = "round";
    context.strokeStyle = SHADE;
    context.lineWidth = 5 * unit;
    context.stroke(path);
    context.strokeStyle = ACCENT;
    context.lineWidth = 2.5 * unit;
    context.stroke(path);
  });
}

/** Clicks as discs with a plus or a minus, boxes as frames; `scale` is canvas pixels per pixel of the picture. */
export function drawClicks(context, clicks, scale, unit) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  for (const click of clicks) {
    if (click.box) drawBox(context, click.box, scale, unit);
    else drawPoint(context, click, scale, unit);
  }
}

/** A cross for those who mark by keyboard. */
export function drawCursor(context, { x, y }, scale, unit) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  const arm = 14 * unit;
  for (const [style, width] of [[SHADE, 4], [ACCENT, 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.beginPath();
    context.moveTo(x * scale - arm, y * scale);
    context.lineTo(x * scale + arm, y * scale);
    context.moveTo(x * scale, y * scale - arm);
    context.lineTo(x * scale, y * scale + arm);
    context.stroke();
  }
}

function drawBox(context, [x0, y0, x1, y1], scale, unit) {
  for (const [style, width, dash] of [[SHADE, 3, []], [ACCENT, 2, [6 * unit, 4 * unit]]]) {
    context.setLineDash(dash);
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.strokeRect(x0 * scale, y0 * scale, (x1 - x0) * scale, (y1 - y0) * scale);
  }
  context.setLineDash([]);
}

function drawPoint(context, { x, y, label }, scale, unit) {
  const radius = 8 * unit;
  const arm = 4 * unit;
  context.beginPath();
  context.arc(x * scale, y * scale, radius, 0, 2 * Math.PI);
  context.fillStyle = label ? "#0b6b3a" : "#a3242c";
  context.fill();
  context.strokeStyle = ACCENT;
  context.lineWidth = 2 * unit;
  context.moveTo(x * scale - arm, y * scale);
  context.lineTo(x * scale + arm, y * scale);
  if (label) {
    context.moveTo(x * scale, y * scale - arm);
    context.lineTo(x * scale, y * scale + arm);
  }
  context.stroke();
}

/** Draw in cells of the grid; `unit` is one pixel of the screen in cells. */
function inGrid(context, grid, draw) {
  const scale = context.canvas.width / grid.width;
  context.setTransform(scale, 0, 0, context.canvas.height / grid.height, 0, 0);
  draw(screenPixel(context.canvas) / scale);
}

/** Canvas pixels in a pixel of the screen's layout; on a canvas that is not shown, what looks alike. */
export function screenPixel(canvas) {
  if (canvas.clientWidth) return canvas.width / canvas.clientWidth;
  return Math.max(1, Math.max(canvas.width, canvas.height) / 900);
}
