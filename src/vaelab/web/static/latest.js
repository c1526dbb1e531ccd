// One question of a kind at a time, so that what is shown is never more than one behind what is pointed at.

import { post } from "./api.js";

// Returns a function that asks: one request under way, and of those of the same purpose that wait the last one.
export function lastWins(kind, done, failed) {
  const waiting = new Map(); // purpose -> body
  let busy = false;
  async function next() {
    if (busy || !waiting.size) return;
    const [purpose, body] = waiting.entries().next().value;
    waiting.delete(purpose);
    busy = true;
    try {
      done(await post(kind, body), purpose, body);
      failed(null);
    } catch (error) {
      if (error.status !== 503) failed(error);
      else { // another tab asked meanwhile
        if (!waiting.has(purpose)) waiting.set(purpose, body);
        await new Promise((wait) => setTimeout(wait, 300));
      }
    }
    busy = false;
    next();
  }
  return (body, purpose = "") => {
    waiting.set(purpose, body);
    next();
  };
}
