// Colours of classes, the same as on overlays that the server draws: hues a golden turn apart in three tones of OKLab.

const TONES = [[0.72, 0.19], [0.82, 0.14], [0.62, 0.21]];
const GOLDEN_TURN = 0.618034;

/** Red, green, blue of class `index`, 0..255. */
export function colour(index) {
  const [light, chroma] = TONES[index % TONES.length];
  const angle = 2 * Math.PI * ((0.82 + index * GOLDEN_TURN) % 1);
  const a = chroma * Math.cos(angle);
  const b = chroma * Math.sin(angle);
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map(encoded);
}

/** As CSS has it, `opacity` 0..1. */
export function css(index, opacity = 1) {
  return `rgb(${colour(index).join(" ")} / ${opacity})`;
}

function encoded(linear) {
  const value = Math.min(Math.max(linear, 0), 1);
  return Math.round(255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055));
}
