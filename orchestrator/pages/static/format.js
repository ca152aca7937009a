// Times as people read them. All figures are seconds.

const UNITS = [["d", 86400], ["h", 3600], ["m", 60]];

// 4ms, 0.42s, 7.5s, 45s, 4m30s, 2h5m, 3d4h: two units at most.
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0) return `−${duration(-seconds)}`;
  if (seconds >= 0.0005 && seconds < 0.0095) return `${Math.round(seconds * 1000)}ms`;
  if (seconds < 1) return `${+seconds.toFixed(2)}s`;
  if (seconds < 59.95) return `${+seconds.toFixed(1)}s`;
  let left = Math.round(seconds);
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count) parts.push(`${count}${unit}`);
  }
  if (left) parts.push(`${left}s`);
  return parts.slice(0, 2).join("");
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "2-digit" });

// A moment, given as seconds since the epoch: the time of day, with the date when it is not today's.
export function moment(at, now = Date.now() / 1000) {
  if (!at) return "–";
  const date = new Date(at * 1000);
  const clock = CLOCK.format(date);
  return date.toDateString() === new Date(now * 1000).toDateString() ? clock : `${DAY.format(date)}, ${clock}`;
}

export function ago(at, now) {
  return now - at < 1.5 ? "just now" : `${duration(Math.max(0, Math.round(now - at)))} ago`;
}

export function bytes(count) {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1000).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

const STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

// Moments for an axis from 0 to `total`, about `count` of them, at round figures.
export function ticks(total, count) {
  const wanted = total / Math.max(1, count);
  const step = STEPS.find((size) => size >= wanted) ?? Math.ceil(wanted / 86400) * 86400;
  return Array.from({ length: Math.floor(total / step + 1e-9) + 1 }, (_, index) => index * step);
}
