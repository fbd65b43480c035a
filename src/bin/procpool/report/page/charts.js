// The head of the page, its numbers, and the distribution of durations.
function head() {
  const { totals } = run;
  byId("version").textContent = run.procpool;
  byId("command-line").textContent = run.command_line;
  const bad = totals.failed > 0 || run.outcome !== "complete";
  byId("mark").className = bad ? "bad" : "";
  const began = run.began.replace("T", " ").replace(/\.\d+Z/, " UTC");
  byId("when").textContent = `${began} on ${run.timeline.hosts.join(", ")}, ${plural(run.slots.count, "slot")}`;
  const ended = {
    halted: "The run was ended by --halt.",
    interrupted: `The run was ended by ${run.signal}.`,
    broken: "The run was ended by an error of procpool itself.",
    doubtful: "Some results are doubtful: a worker printed more than it was asked for.",
  }[run.outcome];
  byId("ended-by").hidden = !ended;
  byId("ended-by").textContent = ended || "";
}

function numbers() {
  const { totals, durations, slots, workers } = run;
  const ran = totals.jobs - totals.recorded;
  const kinds = Object.entries(totals.failed_by_kind).map(([kind, count]) => `${grouped(count)} ${kind}`);
  const left = totals.not_run > 0 ? `${grouped(totals.not_run)} more not run` : totals.input_left_unread ? "input left unread" : "";
  const retries = totals.retries === 1 ? "1 retry" : totals.retries > 0 ? `${grouped(totals.retries)} retries` : "";
  const passed = totals.passed_on_retry > 0 ? `${grouped(totals.passed_on_retry)} on a retry` : "";
  const recorded = totals.recorded > 0 ? `${grouped(totals.recorded)} from the journal` : "";
  const list = (...parts) => parts.filter(Boolean).join(", ");
  const tiles = [
    ["jobs", "Jobs", grouped(totals.jobs), list(left, retries)],
    ["ok", "Succeeded", grouped(totals.ok), list(passed, recorded)],
    ["failed", "Failed", grouped(totals.failed), kinds.join(", ")],
    ["seconds", "Time", time(run.seconds), ran > 0 ? rate(ran / run.seconds) : ""],
    ["p50", "Median job", time(durations.p50), durations.p95 === null ? "" : `95 % within ${time(durations.p95)}`],
    ["max", "Longest job", durations.jobs > 0 ? time(durations.max) : "–", durations.p99 === null ? "" : `99 % within ${time(durations.p99)}`],
    ["use", "Slots in use", `${Math.round(slots.use * 100)} %`, plural(slots.count, "slot")],
    ["processes", "Processes", grouped(workers.processes), workers.replaced > 0 ? `${plural(workers.replaced, "worker")} replaced` : ""],
  ];
  byId("numbers").replaceChildren(...tiles.map(([id, name, value, more]) =>
    make("div", { class: id === "failed" && totals.failed > 0 ? "bad" : undefined },
      make("dt", {}, name),
      make("dd", {}, make("span", { id, style: `font-size: ${Math.min(23, 183 / value.length)}px` }, value), more ? make("small", {}, more) : ""))));
}

function histogram() {
  const { histogram: bins, jobs } = run.durations;
  if (bins.length === 0) return byId("histogram").replaceChildren(make("p", { class: "empty" }, "No job has run."));
  const width = Math.max(240, byId("histogram").clientWidth);
  const [height, left, bottom, top] = [width < 600 ? 190 : 250, 46, 26, 34];
  const most = Math.max(...bins.map((bin) => bin.jobs));
  const [from, to] = [Math.log(bins[0].from), Math.log(bins[bins.length - 1].to)];
  const x = (seconds) => left + ((Math.log(seconds) - from) / (to - from)) * (width - left - 8);
  const y = (count) => height - bottom - (count / most) * (height - bottom - top);
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Distribution of the durations of ${plural(jobs, "job")}: median ${time(run.durations.p50)}, 95 % within ${time(run.durations.p95)}, longest ${time(run.durations.max)}` });
  svg.append(make("line", { class: "base", x1: left, x2: width - 8, y1: y(0), y2: y(0) }));
  svg.append(make("text", { x: left - 8, y: y(most) + 4, "text-anchor": "end" }, grouped(most)));
  svg.append(make("text", { x: left - 8, y: y(0) + 4, "text-anchor": "end" }, "0"));
  for (const bin of bins) {
    const bar = make("rect", { class: "bar", x: x(bin.from) + 0.7, width: Math.max(1, Math.min(90, x(bin.to) - x(bin.from) - 1.4)), y: y(bin.jobs), height: y(0) - y(bin.jobs), rx: 2 });
    bar.addEventListener("pointermove", (event) => showTip(event, `${time(bin.from)} to ${time(bin.to)}`, plural(bin.jobs, "job")));
    bar.addEventListener("pointerleave", hideTip);
    svg.append(bar);
  }
  for (const seconds of axis(bins[0].from, bins[bins.length - 1].to, (width - left) / 62)) {
    svg.append(make("text", { x: x(seconds), y: height - 6, "text-anchor": "middle" }, round(seconds)));
  }
  marks(svg, x, top, y(0));
  byId("histogram").replaceChildren(svg);
  byId("histogram-table").replaceChildren(table("Jobs by duration", [
    { name: "From", number: true, text: (bin) => time(bin.from) },
    { name: "To", number: true, text: (bin) => time(bin.to) },
    { name: "Jobs", number: true, text: (bin) => grouped(bin.jobs) },
  ], bins.filter((bin) => bin.jobs > 0)));
}

/** A round duration, without zeros at its end. */
const round = (seconds) => time(seconds).replace(/(\.\d*?)0+ /, "$1 ").replace(". ", " ");

/** Round durations between two, at most a given number if possible. */
function axis(from, to, most) {
  const marks = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.log10(to); power++) {
    for (const factor of [1, 2, 5]) marks.push(factor * 10 ** power);
  }
  const inside = marks.filter((mark) => mark >= from * 0.999 && mark <= to * 1.001);
  const isPower = (mark) => Math.abs(Math.log10(mark) - Math.round(Math.log10(mark))) < 1e-6;
  return inside.length > most ? inside.filter(isPower) : inside;
}

/** A mark with a name for each quantile. A quantile whose name would cover another one has none. */
function marks(svg, x, top, base) {
  let last = -Infinity;
  for (const name of ["p50", "p95", "p99"]) {
    const seconds = run.durations[name];
    if (seconds === null || run.durations.jobs < 3) continue;
    const at = x(seconds);
    svg.append(make("line", { class: "mark", x1: at, x2: at, y1: top - 8, y2: base }));
    if (at - last < 34) continue;
    svg.append(make("text", { class: "mark-label", x: at, y: top - 14, "text-anchor": "middle" }, name));
    last = at;
  }
}

head();
numbers();
addEventListener("resize", histogram);
