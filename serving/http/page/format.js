// Numbers and times as text.

export const MISSING = "–";

export function number(value) {
  if (value == null) return MISSING;
  return value.toLocaleString("en", { maximumFractionDigits: value < 100 ? 1 : 0 });
}

export function rate(value) {
  if (value == null) return MISSING;
  return value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });
}

export function ms(value) {
  return value == null ? MISSING : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

// Values and probabilities, which are often small; so that columns of them can be compared.
export function precise(value) {
  if (value == null) return MISSING;
  const size = Math.abs(value);
  if (size !== 0 && size < 1e-5) return value.toExponential(2);
  if (size >= 1e6) return value.toExponential(3);
  return size < 1 ? value.toFixed(6) : value.toFixed(3);
}

// As it was given.
export function given(value) {
  return String(Number(value.toPrecision(6)));
}

export function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString("en-GB");
}

export function error(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return "The server gave an answer that cannot be read.";
  }
}
