"use strict";
// Numbers, sizes and times as people read them.
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const count = (n) => (n < 100000 ? whole.format(n) : short.format(n));
const rate = (n) => (n === null ? "–" : n < 10 && n > 0 ? n.toFixed(1) : count(n)) + "/s";
const bytes = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) { n /= 1024; unit += 1; }
  return (unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)) + " " + units[unit];
};
const many = (n, one, more) => count(n) + " " + (n === 1 ? one : more);
const time = (s) => {
  if (s === null || s === undefined) return "–";
  if (s === 0) return "0 s";
  if (s < 0.001) return Math.round(s * 1e6) + " µs";
  if (s < 1) return +(s * 1000).toPrecision(3) + " ms";
  if (s < 60) return +s.toPrecision(3) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
};
// With the date, unless it is today's: a page may be left open.
const clock = (date) => (date.toDateString() === new Date().toDateString() ? date.toLocaleTimeString("en-GB") : date.toLocaleString("en-GB"));
