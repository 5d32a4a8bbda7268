// Pictures to the endpoint and back, a few at a time, in the order they came. Knows pictures and the endpoint; no page.

import { Problem } from "./api.js";

const AT_ONCE = 2;

export class Queue {
  /** `on` holds changed(picture), answered(picture, classes) and locked(picture) for want of a key. */
  constructor(api, on) {
    this.api = api;
    this.on = on;
    this.asking = new Set();
  }

  /** Ask for those of these pictures that wait, as many as may be asked for now. */
  work(pictures) {
    this.pictures = pictures;
    const next = pictures.filter((picture) => picture.state === "waiting" && !this.asking.has(picture));
    for (const picture of next.slice(0, Math.max(0, AT_ONCE - this.asking.size))) this.find(picture);
  }

  async find(picture) {
    this.asking.add(picture);
    const locked = await this.ask(picture);
    this.asking.delete(picture);
    this.on.changed(picture);
    if (locked) this.on.locked(picture);
    else this.work(this.pictures);
  }

  /** Whether it was refused for want of a key; the picture then goes on waiting. */
  async ask(picture) {
    try {
      const [{ classes, image }] = await Promise.all([
        this.api.segment(picture.blob, picture.name),
        picture.decode().then(() => this.on.changed(picture)),
      ]);
      await picture.take(image);
      this.on.answered(picture, classes);
    } catch (error) {
      if (error.status === 401) return true;
      picture.fail(inWords(error));
    }
    return false;
  }
}

/** Problems are sentences already; anything else is a mistake of this page, which the console should show. */
export function inWords(error) {
  if (error instanceof Problem) return error.message;
  console.error(error);
  return "This page failed. Reload it and try again.";
}
