// Tables, which sort by a click on a heading, and the notes on how exact the numbers are.

/** A table. A column has a name and says what it shows of a row (`text` or `cell`); with `key` it sorts. */
function table(caption, columns, rows, { id, sorted } = {}) {
  const body = make("tbody", { role: "rowgroup" });
  let order = rows;
  // Rows are made once, however often they are sorted.
  const made = new Map();
  const line = (row) => {
    if (!made.has(row)) made.set(row, make("tr", { role: "row" }, ...columns.map((column) => cell(column, row))));
    return made.get(row);
  };
  const fill = () => body.replaceChildren(...order.map(line));
  const headings = columns.map((column) => {
    const name = column.key ? make("button", { type: "button" }, column.name) : column.name;
    const heading = make("th", { role: "columnheader", scope: "col", class: classes(column) }, name);
    if (column.key) name.addEventListener("click", () => sort(column, heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending"));
    return heading;
  });
  function sort(column, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : (a ?? -Infinity) - (b ?? -Infinity));
    order = [...rows].sort((a, b) => sign * compare(column.key(a), column.key(b)));
    headings.forEach((heading, index) => (columns[index] === column ? heading.setAttribute("aria-sort", direction) : heading.removeAttribute("aria-sort")));
    fill();
  }
  const element = make("table", { id, role: "table" }, make("caption", { class: "visually-hidden" }, caption), make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...headings)), body);
  if (sorted) sort(columns.find((column) => column.name === sorted[0]), sorted[1]);
  else fill();
  element.filter = (keep) => {
    rows = keep;
    const current = headings.findIndex((heading) => heading.hasAttribute("aria-sort"));
    if (current >= 0) sort(columns[current], headings[current].getAttribute("aria-sort"));
    else { order = rows; fill(); }
  };
  return element;
}

const classes = (column) => [column.number ? "number" : "", column.minor ? "minor" : "", column.class || ""].join(" ").trim() || undefined;

function cell(column, row) {
  return make("td", { role: "cell", class: classes(column) }, column.cell ? column.cell(row) : column.text(row));
}

function failures() {
  const all = run.failures;
  if (run.totals.failed === 0) {
    byId("failure-tools").hidden = true;
    byId("failures").replaceChildren(make("p", { class: "empty" }, "No job failed."));
    return;
  }
  const columns = [
    { name: "Job", number: true, key: (row) => row.seq, text: (row) => grouped(row.seq) },
    { name: "What", class: "job", key: (row) => row.job, cell: what },
    { name: "Kind", key: (row) => row.kind, cell: (row) => make("span", { class: "pill" }, row.kind) },
    { name: "Why", class: "why", key: (row) => row.message, text: (row) => row.message },
    { name: "From", class: "from", minor: true, key: (row) => (row.file || "") + String(row.line).padStart(9, "0"), text: (row) => (row.line === 0 ? "–" : `${row.file ? `${row.file} ` : ""}line ${row.line}`) },
    { name: "Slot", minor: true, number: true, key: (row) => row.slot, text: (row) => row.slot ?? "–" },
    { name: "Began at", minor: true, number: true, key: (row) => row.start, text: (row) => (row.start === null ? "–" : moment(row.start, run.seconds / 500)) },
    { name: "Took", number: true, key: (row) => row.seconds, text: (row) => time(row.seconds) },
    { name: "Attempts", minor: true, number: true, key: (row) => row.attempt, text: (row) => row.attempt },
  ];
  const element = table("Failed jobs", columns, all, { id: "failures-table", sorted: ["Job", "ascending"] });
  byId("failures").replaceChildren(element);
  const kinds = Object.entries(run.totals.failed_by_kind);
  byId("kind").append(make("option", { value: "" }, "all"), ...kinds.map(([kind, count]) => make("option", { value: kind }, `${kind} (${grouped(count)})`)));
  const apply = () => {
    const [kind, text] = [byId("kind").value, byId("search").value.toLowerCase()];
    const matches = (row) => (!kind || row.kind === kind) && (!text || `${row.job}\n${row.message}\n${row.details}\n${row.id || row.seq}`.toLowerCase().includes(text));
    const kept = all.filter(matches);
    element.filter(kept);
    tell(kept);
  };
  const tell = (kept) => {
    const more = run.failures_left_out > 0 ? `; ${grouped(run.failures_left_out)} more failed and are only counted` : "";
    byId("shown").textContent = `${grouped(kept.length)} of ${grouped(all.length)}${more}`;
  };
  byId("kind").addEventListener("change", apply);
  byId("search").addEventListener("input", apply);
  tell(all);
}

/** The text of a job, its id, and its output. */
function what(row) {
  const parts = [make("span", { class: "mono" }, row.job || row.name)];
  if (row.id) parts.push(make("div", { class: "muted small" }, `id ${row.id}`));
  if (row.details) {
    const lines = row.details.split("\n").length;
    const details = make("details", { open: run.failures.length <= 3 }, make("summary", {}, `Output (${plural(lines, "line")})`));
    // There may be a thousand of them, and most are never opened.
    const show = () => details.childElementCount === 1 && details.append(make("pre", { tabindex: 0 }, row.details));
    if (details.open) show();
    details.addEventListener("toggle", show);
    parts.push(details);
  }
  return make("div", {}, ...parts);
}

function slowest() {
  if (run.slowest.length === 0) return (byId("slowest-section").hidden = true);
  return byId("slowest").replaceChildren(table("Slowest jobs", [
    { name: "Job", number: true, key: (row) => row.seq, text: (row) => grouped(row.seq) },
    { name: "What", class: "job", key: (row) => row.job, cell: (row) => make("span", { class: "mono" }, row.job || row.name) },
    { name: "Took", number: true, key: (row) => row.seconds, text: (row) => time(row.seconds) },
    { name: "Began at", minor: true, number: true, key: (row) => row.start, text: (row) => moment(row.start, run.seconds / 500) },
    { name: "Slot", minor: true, number: true, key: (row) => row.slot, text: (row) => row.slot },
    { name: "Result", key: (row) => (row.ok ? "succeeded" : "failed"), cell: (row) => make("span", { class: row.ok ? "pill ok" : "pill" }, row.ok ? "succeeded" : "failed") },
  ], run.slowest, { id: "slowest-table", sorted: ["Took", "descending"] }));
}

const reasons = {
  "max-reqs": "had its number of jobs (--max-reqs)",
  "max-age": "was old enough (--max-age)",
  "max-rss": "held too much memory (--max-rss)",
  "idle-timeout": "had no job for a while (--idle-timeout)",
  died: "died by itself",
  timeout: "its job took too long (--timeout)",
  protocol: "printed something that is no reply",
  unfit: "could not be made ready for work",
  cancelled: "ended with the run, while it had a job",
  done: "was not needed any more",
};

function workers() {
  const { workers: all } = run;
  if (all.ended === 0) return (byId("workers-section").hidden = true);
  byId("workers-text").textContent = `${plural(all.ended, "worker")} lived; ${all.replaced === 0 ? "none was" : all.replaced === 1 ? "1 was" : `${grouped(all.replaced)} were`} replaced before the end.`;
  const rows = Object.entries(all.replaced_by_reason);
  if (rows.length > 0) {
    byId("reasons").replaceChildren(table("Why workers were replaced", [
      { name: "Workers", number: true, key: (row) => row[1], text: (row) => grouped(row[1]) },
      { name: "Why", key: (row) => row[0], text: (row) => `It ${reasons[row[0]] || row[0]}`.replace("It its", "Its") },
    ], rows, { id: "reasons-table", sorted: ["Workers", "descending"] }));
  }
  byId("workers-summary").textContent = all.left_out > 0 ? `The ${grouped(all.list.length)} workers that lived longest` : "All workers";
  byId("workers-details").addEventListener("toggle", () => {
    if (byId("workers").firstChild) return;
    byId("workers").append(table("Workers", [
      { name: "Slot", number: true, key: (row) => row.slot, text: (row) => row.slot },
      { name: "Number there", number: true, key: (row) => row.generation, text: (row) => row.generation },
      { name: "Process", number: true, minor: true, key: (row) => row.pid, text: (row) => row.pid },
      { name: "Started at", number: true, key: (row) => row.start, text: (row) => moment(Math.max(0, row.start), run.seconds / 500) },
      { name: "Lived", number: true, key: (row) => row.seconds, text: (row) => time(row.seconds) },
      { name: "Jobs", number: true, key: (row) => row.jobs, text: (row) => grouped(row.jobs) },
      { name: "End", key: (row) => row.why, text: (row) => reasons[row.why] || row.why },
    ], all.list, { id: "workers-table" }));
  });
  return undefined;
}

function slots() {
  byId("slots-details").addEventListener("toggle", () => {
    if (byId("slots-table").firstChild) return;
    byId("slots-table").append(table("Slots", [
      { name: "Slot", number: true, key: (row) => row.first_slot, text: (row) => (row.first_slot === row.last_slot ? row.first_slot : `${row.first_slot}–${row.last_slot}`) },
      { name: "Host", key: (row) => run.timeline.hosts[row.host], text: (row) => run.timeline.hosts[row.host] },
      { name: "Jobs", number: true, key: (row) => row.jobs, text: (row) => grouped(row.jobs) },
      { name: "Failed", number: true, key: (row) => row.failed, text: (row) => grouped(row.failed) },
      { name: "Busy", number: true, key: (row) => row.busy, text: (row) => `${time(row.busy)} (${Math.round(Math.min(1, row.busy / run.seconds / (row.last_slot - row.first_slot + 1)) * 100)} %)` },
    ], run.timeline.rows));
  });
}

function about() {
  const items = [
    "Exact, for all jobs: the counts, the time, the sum and the maximum of durations, jobs per second, how busy slots were, and why workers ended.",
    "Exact to 2 %: the median and the other quantiles.",
    run.failures_left_out > 0
      ? `The first ${grouped(run.failures.length)} of ${grouped(run.totals.failed)} failed jobs are listed, with the last 4 KiB of their output.`
      : "All failed jobs are listed, with the last 4 KiB of their output.",
    run.timeline.bars_left_out > 0
      ? `The ${grouped(run.timeline.bars.length)} longest of ${grouped(run.timeline.bars.length + run.timeline.bars_left_out)} jobs are drawn one by one and have names.`
      : "All attempts of jobs are drawn.",
    "If a worker has several requests at a time, a job is drawn from the moment when the worker worked on it. Its duration counts from the moment when the worker got it.",
  ];
  if (run.totals.recorded > 0) items.push(`${plural(run.totals.recorded, "job")} had succeeded in an earlier run. Their results are from the journal: they count as jobs, and are in no chart.`);
  byId("about").replaceChildren(...items.map((item) => make("li", {}, item)));
}

histogram();
timeline.start();
failures();
slowest();
workers();
slots();
about();
