// Where a picture is shown: fits it to the page, and turns what a pointer does into pixels of the picture.
// Knows one picture at a time; what a click is for, others know.

import { css } from "./colours.js";
import { drawClicks, drawCursor, drawHighlight, drawPicture, screenPixel } from "./drawing.js";

const narrow = matchMedia("(max-width: 860px)");
const SHARE = { true: 0.5, false: 0.74 }; // Of the window's height, on narrow windows and others.
const DRAG = 6; // From so many pixels of the screen on, a press is a drag.

export class Stage {
  /** `on` holds hover(instance), press({x, y, outside}), drag(box, done) and key(event). */
  constructor(root, on) {
    this.root = root;
    this.on = on;
    this.picture = null;
    this.scene = { instances: [], classOf: () => 0, highlight: null, candidate: null, clicks: [], cursor: null };
    this.back = root.querySelector("#picture").getContext("2d");
    this.front = root.querySelector("#over").getContext("2d");
    this.tip = root.querySelector("#tip");
    new ResizeObserver(() => this.fit()).observe(root);
    this.listen(this.front.canvas);
  }

  show(picture) {
    this.picture = picture;
    this.fit();
  }

  /** What those hear who do not see it. */
  describe(text) {
    this.front.canvas.setAttribute("aria-label", text);
  }

  /** Draw with these changes to what is drawn; once per frame, however often it is called. */
  update(changes) {
    const below = "instances" in changes;
    Object.assign(this.scene, changes);
    this.stale = { below: below || this.stale?.below };
    this.frame ??= requestAnimationFrame(() => {
      const { below: all } = this.stale;
      this.frame = this.stale = null;
      if (!this.picture?.size) return;
      if (all) drawPicture(this.back, this.picture.view, this.picture.grid, this.scene.instances, this.scene.classOf);
      this.drawFront();
    });
  }

  /** The smallest of the instances under a place of the picture. */
  hit({ x, y }) {
    const { grid, size } = this.picture;
    const cell = [(x * grid.width) / size[1], (y * grid.height) / size[0]];
    const probe = this.probe ??= document.createElement("canvas").getContext("2d");
    const under = this.scene.instances.filter((one) => probe.isPointInPath(one.path, ...cell, "evenodd"));
    return under.reduce((least, one) => (least && least.area <= one.area ? least : one), null);
  }

  /** As large as the page lets it be, in as many pixels as the screen has. */
  fit() {
    const size = this.picture?.size ?? [3, 4];
    const room = { width: this.root.clientWidth, height: Math.max(240, Math.min(SHARE[narrow.matches] * innerHeight, 900)) };
    const scale = Math.min(room.width / size[1], room.height / size[0]);
    const shape = { width: Math.max(1, Math.round(size[1] * scale)), height: Math.max(1, Math.round(size[0] * scale)) };
    const density = Math.min(devicePixelRatio || 1, 2);
    this.root.style.setProperty("--high", `${Math.max(shape.height, 180)}px`);
    for (const { canvas } of [this.back, this.front]) {
      canvas.style.width = `${shape.width}px`;
      canvas.style.height = `${shape.height}px`;
      canvas.width = Math.round(shape.width * density);
      canvas.height = Math.round(shape.height * density);
    }
    this.update({ instances: this.scene.instances });
  }

  /** A short text beside a place of the picture; none: away with it. */
  say(text, { x, y } = { x: 0, y: 0 }) {
    this.tip.hidden = !text;
    if (!text) return;
    this.tip.textContent = text;
    const frame = this.root.getBoundingClientRect();
    const canvas = this.front.canvas.getBoundingClientRect();
    const scale = canvas.width / this.picture.size[1];
    const left = canvas.left - frame.left + x * scale;
    const top = canvas.top - frame.top + y * scale;
    this.tip.style.left = `${Math.max(4, Math.min(left + 14, frame.width - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${Math.max(4, top > 48 ? top - this.tip.offsetHeight - 10 : top + 18)}px`;
  }

  drawFront() {
    const { front, scene, picture } = this;
    front.setTransform(1, 0, 0, 1, 0, 0);
    front.clearRect(0, 0, front.canvas.width, front.canvas.height);
    const scale = front.canvas.width / picture.size[1];
    const unit = screenPixel(front.canvas);
    const { highlight, candidate } = scene;
    if (highlight) drawHighlight(front, picture.grid, highlight, css(scene.classOf(highlight), 0.35));
    if (candidate) drawHighlight(front, picture.grid, candidate, "rgb(64 156 255 / 0.5)");
    drawClicks(front, scene.clicks, scale, unit);
    if (scene.cursor) drawCursor(front, scene.cursor, scale, unit);
  }

  listen(canvas) {
    let pressed = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.picture?.size) return;
      pressed = { ...this.place(event), left: event.clientX, top: event.clientY, box: null };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.picture?.size) return;
      const here = this.place(event);
      if (!pressed) return this.on.hover(this.hit(here), here);
      if (!pressed.box && Math.hypot(event.clientX - pressed.left, event.clientY - pressed.top) < DRAG) return;
      pressed.box = between(pressed, here);
      this.on.drag(pressed.box, false);
    });
    canvas.addEventListener("pointerup", (event) => {
      if (!pressed) return;
      const { box, x, y } = pressed;
      pressed = null;
      if (box) this.on.drag(box, true);
      else this.on.press({ x, y, outside: event.shiftKey || event.altKey });
    });
    canvas.addEventListener("pointercancel", () => {
      pressed = null;
      this.on.drag(null, false);
    });
    canvas.addEventListener("pointerleave", () => this.on.hover(null));
    canvas.addEventListener("keydown", (event) => this.on.key(event));
  }

  /** Where on the picture a pointer is, in its pixels, never outside of it. */
  place({ clientX, clientY }) {
    const frame = this.front.canvas.getBoundingClientRect();
    const [height, width] = this.picture.size;
    const x = ((clientX - frame.left) / frame.width) * width;
    const y = ((clientY - frame.top) / frame.height) * height;
    return { x: inside(x, width), y: inside(y, height) };
  }
}

/** A tenth of a pixel is as fine as a hand is. */
export function inside(value, length) {
  return Math.round(10 * Math.min(Math.max(value, 0), length - 0.5)) / 10;
}

function between(first, second) {
  const [x0, x1] = [first.x, second.x].sort((a, b) => a - b);
  const [y0, y1] = [first.y, second.y].sort((a, b) => a - b);
  return [x0, y0, Math.max(x1, x0 + 0.5), Math.max(y1, y0 + 0.5)];
}
