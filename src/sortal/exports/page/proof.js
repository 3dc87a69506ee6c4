// Not part of an export: asks our own server for pixels or files, runs the export's own code on them, and sends the probabilities back.
import { classify, open, pixelsOf } from "./classify.js";

const post = (path, body) => fetch(path, { method: "POST", body });

// Probabilities, and behind them the distance where the model is said to measure it.
function row({ about }, { probabilities, distance }) {
  return about.novelty ? [probabilities, Float32Array.of(distance ?? NaN)] : [probabilities];
}

async function prove() {
  const model = await open();
  for (;;) {
    const answer = await fetch("proof/next");
    if (answer.status === 204) continue; // nothing to do yet
    if (!answer.ok) return;
    if (!answer.headers.has("X-Shape")) {
      const pixels = await pixelsOf(await answer.blob()).catch(() => null); // a format that this browser does not read
      await post("proof/answers", new Blob(pixels ? row(model, await classify(model, pixels)) : []));
      continue;
    }
    const [count, side, channels] = answer.headers.get("X-Shape").split(",").map(Number);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const found = [];
    for (let n = 0; n < count; n++) {
      const one = bytes.subarray(n * side * side * channels, (n + 1) * side * side * channels);
      const rgb = channels === 3 ? one : Uint8Array.from({ length: 3 * one.length }, (_, k) => one[Math.floor(k / 3)]);
      found.push(...row(model, await classify(model, { rgb, width: side, height: side })));
    }
    await post("proof/answers", new Blob(found));
  }
}

prove().catch((error) => post("proof/failed", `${error.message || error}`));
