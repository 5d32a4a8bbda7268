// A picture that someone gave, what was found on it, and what they marked. Knows no page and no server.

import { outline } from "./outlines.js";
import { toGrid, toRuns } from "./rle.js";

const VIEW_SIDE = 2048; // Pixels of the longer side that are kept for the screen.
const GRID_SIDE = 1280; // Cells of the longer side in which masks are drawn.
const SLICE_MS = 12; // Work between two looks at what the user does.

let numbered = 0;

export class Picture {
  constructor(blob, name) {
    this.id = ++numbered;
    this.blob = blob;
    this.name = name;
    this.state = "waiting"; // waiting | ready | failed
    this.problem = null; // Why it failed, in words.
    this.size = null; // [height, width] of the upright picture, in pixels.
    this.view = null; // ImageBitmap for the screen; null where the browser cannot show it.
    this.instances = [];
    this.clicks = []; // In their order: {x, y, label} or {box: [x0, y0, x1, y1]}.
  }

  /** Decode it upright, off the main thread, and keep a copy that fits screens. */
  async decode() {
    const whole = await this.whole();
    if (!whole) return;
    const scale = Math.min(1, VIEW_SIDE / Math.max(whole.width, whole.height));
    this.size = [whole.height, whole.width];
    this.view = whole;
    if (scale === 1) return;
    this.view = await createImageBitmap(whole, {
      resizeWidth: Math.max(1, Math.round(whole.width * scale)),
      resizeHeight: Math.max(1, Math.round(whole.height * scale)),
      resizeQuality: "high",
    });
    whole.close();
  }

  /** All of its pixels, upright; null where the browser does not know the format. */
  async whole() {
    return await createImageBitmap(this.blob, { imageOrientation: "from-image" }).catch(() => null);
  }

  /** {width, height} of the cells that outlines are drawn in. */
  get grid() {
    const [height, width] = this.size;
    const scale = Math.min(1, GRID_SIDE / Math.max(height, width));
    return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  }

  /** Take over an image of the server's answer, its outlines made in slices so that the page goes on. */
  async take(answer) {
    this.size = [answer.height, answer.width];
    const found = [];
    let begun = performance.now();
    for (const one of answer.instances) {
      found.push(this.instance({ ...one, name: one.class, provenance: "student" }));
      if (performance.now() - begun < SLICE_MS) continue;
      await new Promise((resume) => setTimeout(resume));
      begun = performance.now();
    }
    this.instances = found;
    this.state = "ready";
  }

  /** An instance as the page holds it: `path` outlines it in cells of the grid. */
  instance({ name, score, bbox, area, segmentation, provenance }) {
    const path = outline(toGrid(toRuns(segmentation.counts), segmentation.size, bbox, this.grid));
    return { id: ++numbered, name, score, bbox, area, segmentation, provenance, path, shown: true };
  }

  fail(words) {
    this.state = "failed";
    this.problem = words;
  }

  /** Let go of its pixels. */
  close() {
    this.view?.close();
    this.view = null;
  }
}
