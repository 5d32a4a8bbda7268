// The endpoint: what is asked, the caller's key, and refusals in words. Knows HTTP; knows nothing that is on the page.

const KEY = "segray-api-key";
const TRIES = 8;

/** A refusal or failure, in a sentence for people. */
export class Problem extends Error {
  constructor(status, words, retryAfter = null) {
    super(words);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export class Api {
  /** `onWait(seconds, status)` is told when the server asks to come again. */
  constructor(onWait) {
    this.onWait = onWait;
  }

  /** Kept by the browser until the tab is closed, and sent nowhere but here. */
  set key(value) {
    sessionStorage.setItem(KEY, value);
  }

  get hasKey() {
    return sessionStorage.getItem(KEY) !== null;
  }

  async models() {
    return (await this.ask("v1/models", {}, Infinity)).models;
  }

  /** What is found on a picture, whatever its score: the best ones, as many as the endpoint gives unasked. */
  async segment(blob, name) {
    const body = new FormData();
    body.append("images", blob, name);
    const answer = await this.ask("v1/segment?score_threshold=0", { method: "POST", body });
    return { classes: answer.classes, image: answer.images[0] };
  }

  /** Masks of what `clicks` {points, labels, box} mark. */
  async masks(blob, name, clicks, signal) {
    const body = new FormData();
    body.append("image", blob, name);
    body.append("clicks", JSON.stringify(clicks));
    return await this.ask("v1/masks", { method: "POST", body, signal });
  }

  /** The JSON of an answer; a server that is busy or still loading is asked again when it says. */
  async ask(path, request, tries = TRIES) {
    for (let tried = 1; ; tried++) {
      try {
        return await this.askOnce(path, request);
      } catch (problem) {
        if (!(problem instanceof Problem) || problem.retryAfter === null || tried >= tries) throw problem;
        this.onWait(problem.retryAfter, problem.status);
        await new Promise((resume) => setTimeout(resume, 1000 * problem.retryAfter));
      }
    }
  }

  async askOnce(path, request) {
    const key = sessionStorage.getItem(KEY);
    const headers = { Accept: "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
    let answer;
    try {
      answer = await fetch(path, { ...request, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The server cannot be reached. Is it running, and are you connected?");
    }
    if (answer.ok) return await answer.json();
    throw await refusal(answer);
  }
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => null);
  const words = problem ? inWords(problem) : `The server answered ${answer.status} ${answer.statusText}.`;
  const wait = answer.status === 429 || answer.status === 503 ? Number(answer.headers.get("Retry-After") ?? 2) : null;
  return new Problem(answer.status, words, wait);
}

/** A problem's details; those of an image begin "This file". */
function inWords({ detail, errors = [] }) {
  const flaws = errors.map((flaw) =>
    /^images?\b/.test(flaw.where) ? `This file ${flaw.detail}` : flaw.detail,
  );
  return sentence(flaws.length ? flaws.join("; ") : detail);
}

function sentence(words) {
  const text = words.charAt(0).toUpperCase() + words.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
