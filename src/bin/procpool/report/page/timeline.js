// The jobs of each slot, and the number of jobs that ended, over time. Both charts show the same stretch of time.
const timeline = {
  gutter: 74,
  from: 0,
  to: 0,
  whole: Math.max(run.seconds, 1e-6),
  rows: run.timeline.rows,
  bars: [],
  drag: null,

  start() {
    this.bars = run.timeline.bars.map(([seq, slot, from, to, failed, retried, attempt, label]) =>
      ({ seq, slot, from, to, failed, retried: retried === 1, attempt, label, row: this.rows.findIndex((row) => slot >= row.first_slot && slot <= row.last_slot) }));
    this.rowHeight = Math.max(5, Math.min(26, Math.floor(420 / this.rows.length)));
    this.to = this.whole;
    this.legend();
    this.listen();
    this.draw();
  },

  x(seconds) {
    return this.gutter + ((seconds - this.from) / (this.to - this.from)) * (this.width - this.gutter);
  },

  seconds(x) {
    return this.from + ((x - this.gutter) / (this.width - this.gutter)) * (this.to - this.from);
  },

  /** Shows a stretch of time: no less than a ten-thousandth of the run, and none outside of it. */
  show(from, to) {
    const span = Math.min(this.whole, Math.max(to - from, this.whole / 10000, 1e-6));
    const middle = (from + to) / 2;
    this.from = Math.max(0, Math.min(this.whole - span, middle - span / 2));
    this.to = this.from + span;
    this.draw();
  },

  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  },

  move(share) {
    const by = (this.to - this.from) * share;
    this.show(this.from + by, this.to + by);
  },

  draw() {
    this.drawRows();
    this.drawThroughput();
    const isWhole = this.to - this.from >= this.whole * 0.9999;
    byId("whole").disabled = isWhole;
    byId("zoom-out").disabled = isWhole;
    byId("earlier").disabled = this.from <= 0;
    byId("later").disabled = this.to >= this.whole * 0.9999;
    const step = (this.to - this.from) / 200;
    byId("range").textContent = isWhole ? `Whole run, ${time(this.whole)}` : `${moment(this.from, step)} to ${moment(this.to, step)}`;
    const seen = this.bars.filter((bar) => bar.to >= this.from && bar.from <= this.to);
    const failed = seen.filter((bar) => bar.failed).length;
    byId("timeline").setAttribute("aria-label", `Timeline of ${plural(run.slots.count, "slot")}, ${byId("range").textContent}: ${plural(seen.length, "job")} drawn, ${grouped(failed)} of them failed`);
  },

  drawRows() {
    const canvas = byId("timeline");
    const axis = 22;
    const [context, width] = prepare(canvas, this.rows.length * this.rowHeight + axis);
    this.width = width;
    const colour = colours();
    const height = this.rows.length * this.rowHeight;
    this.grid(context, colour, height, true);
    this.rows.forEach((row, index) => this.drawRow(context, colour, row, index));
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, width - this.gutter, height);
    context.clip();
    for (const bar of this.bars) this.drawBar(context, colour, bar);
    this.drawWorkers(context, colour);
    if (this.drag) {
      context.fillStyle = colour("text");
      context.globalAlpha = 0.14;
      context.fillRect(Math.min(this.drag.from, this.drag.to), 0, Math.abs(this.drag.to - this.drag.from), height);
      context.globalAlpha = 1;
    }
    context.restore();
  },

  /** The name of a row, and how busy it was. */
  drawRow(context, colour, row, index) {
    const top = index * this.rowHeight;
    const every = Math.ceil(14 / this.rowHeight);
    if (index % every === 0) {
      context.fillStyle = colour("muted");
      context.textBaseline = "middle";
      context.textAlign = "left";
      const slots = row.first_slot === row.last_slot ? `slot ${row.first_slot}` : `${row.first_slot}–${row.last_slot}`;
      const name = run.timeline.hosts.length > 1 ? `${row.first_slot} ${run.timeline.hosts[row.host]}`.slice(0, 9) : slots;
      context.fillText(name, 2, top + (this.rowHeight * Math.min(every, this.rows.length)) / (every > 1 ? 2 * every : 2));
    }
    if (run.timeline.bars_left_out === 0) return;
    const step = run.timeline.step_seconds;
    const pad = this.rowHeight > 8 ? 2 : 0.5;
    context.fillStyle = colour("ok");
    const last = Math.min(row.steps.length, Math.ceil(this.to / step));
    for (let at = Math.max(0, Math.floor(this.from / step)); at < last; at++) {
      if (row.steps[at] === 0) continue;
      const from = Math.max(this.gutter, this.x(at * step));
      context.globalAlpha = 0.12 + (row.steps[at] / 100) * 0.5;
      context.fillRect(from, top + pad, Math.max(0, this.x((at + 1) * step) - from), this.rowHeight - 2 * pad);
    }
    context.globalAlpha = 1;
  },

  drawBar(context, colour, bar) {
    if (bar.to < this.from || bar.from > this.to) return;
    const pad = this.rowHeight > 8 ? 3 : 0.5;
    const [left, top] = [this.x(bar.from), bar.row * this.rowHeight + pad];
    const [width, height] = [Math.max(1.2, this.x(bar.to) - left - 0.6), this.rowHeight - 2 * pad];
    context.fillStyle = bar.retried ? colour("retried") : bar.failed ? colour("failed") : colour("ok");
    if (bar.retried && width > 3) {
      context.globalAlpha = 0.28;
      context.fillRect(left, top, width, height);
      context.globalAlpha = 1;
      context.strokeStyle = context.fillStyle;
      context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    } else {
      context.fillRect(left, top, width, height);
    }
    if (bar.failed && !bar.retried && width > 6 && height > 6) this.hatch(context, colour, left, top, width, height);
    if (width > 40 && height >= 13) {
      context.save();
      context.beginPath();
      context.rect(Math.max(left, this.gutter), top, width - 4, height);
      context.clip();
      context.fillStyle = bar.retried ? colour("text") : colour("card");
      context.textAlign = "left";
      context.textBaseline = "middle";
      context.font = "11.5px system-ui, sans-serif";
      context.fillText(bar.label, Math.max(left, this.gutter) + 5, top + height / 2 + 0.5);
      context.restore();
    }
  },

  /** Marks a failure for people who do not see its colour. */
  hatch(context, colour, left, top, width, height) {
    context.save();
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    context.strokeStyle = colour("card");
    context.globalAlpha = 0.4;
    context.lineWidth = 1.5;
    const begin = Math.max(left, 0) - height;
    for (let at = begin; at < Math.min(left + width, this.width); at += 6) {
      context.beginPath();
      context.moveTo(at, top + height);
      context.lineTo(at + height, top);
      context.stroke();
    }
    context.restore();
  },

  /** A tick where a worker was replaced. */
  drawWorkers(context, colour) {
    context.fillStyle = colour("worker");
    for (const worker of run.workers.list) {
      const end = worker.start + worker.seconds;
      if (worker.why === "done" || end < this.from || end > this.to) continue;
      const row = this.rows.findIndex((row) => worker.slot >= row.first_slot && worker.slot <= row.last_slot);
      context.fillRect(this.x(end) - 1, row * this.rowHeight + 1, 2.5, this.rowHeight - 2);
    }
  },

  /** Lines and times of the axis. */
  grid(context, colour, height, hasTimes) {
    const step = niceStep(this.to - this.from, (this.width - this.gutter) / 105);
    context.lineWidth = 1;
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (let at = Math.ceil(this.from / step - 1e-9) * step; at <= this.to + step * 1e-6; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      context.strokeStyle = colour("grid");
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, height);
      context.stroke();
      if (!hasTimes) continue;
      context.fillStyle = colour("muted");
      const text = moment(at, step);
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.max(this.gutter, Math.min(x, this.width - half - 1)), height + 16);
    }
  },

  drawThroughput() {
    const canvas = byId("throughput");
    const height = 96;
    const [context] = prepare(canvas, height);
    const colour = colours();
    const { step_seconds: step, jobs, failed } = run.throughput;
    this.grid(context, colour, height, false);
    const [first, last] = [Math.max(0, Math.floor(this.from / step)), Math.min(jobs.length, Math.ceil(this.to / step))];
    // There are no more bars than pixels allow.
    const group = Math.max(1, Math.ceil((last - first) / Math.min(160, (this.width - this.gutter) / 4)));
    const sums = [];
    for (let at = first - (first % group); at < last; at += group) {
      const sum = (list) => list.slice(at, at + group).reduce((all, one) => all + one, 0);
      sums.push({ at, jobs: sum(jobs), failed: sum(failed) });
    }
    const most = Math.max(1, ...sums.map((sum) => sum.jobs));
    const perSecond = most / (step * group);
    context.fillStyle = colour("muted");
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(rate(perSecond), 2, 10);
    context.fillText("0", 2, height - 8);
    const room = height - 6;
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, this.width - this.gutter, height);
    context.clip();
    for (const sum of sums) {
      const left = this.x(sum.at * step);
      const width = Math.max(1, this.x((sum.at + group) * step) - left - 1);
      const [all, bad] = [(sum.jobs / most) * room, (sum.failed / most) * room];
      context.fillStyle = colour("ok");
      context.fillRect(left, height - all, width, all - bad);
      context.fillStyle = colour("failed");
      context.fillRect(left, height - bad, width, bad);
    }
    context.restore();
    this.throughput = { sums, step: step * group };
    canvas.setAttribute("aria-label", `Jobs ended per second: up to ${rate(perSecond)} in what is shown`);
  },

  legend() {
    const items = [["ok", "", "succeeded"]];
    if (this.bars.some((bar) => bar.failed && !bar.retried)) items.push(["failed", "hatched", "failed"]);
    if (this.bars.some((bar) => bar.retried)) items.push(["retried", "hollow", "failed, then tried again"]);
    if (run.workers.list.some((worker) => worker.why !== "done")) items.push(["worker", "tick", "a worker was replaced or ended"]);
    byId("legend").replaceChildren(...items.map(([colour, kind, text]) => make("span", { class: kind, style: `--swatch: var(--${colour})` }, text)));
    const left = run.timeline.bars_left_out;
    byId("drawn").textContent = left > 0
      ? `The ${grouped(this.bars.length)} longest jobs are drawn one by one. For the other ${grouped(left)}, the shade shows how busy the slot was.`
      : this.bars.length > 0 ? `${this.bars.length === 1 ? "The only attempt is" : `All ${grouped(this.bars.length)} attempts of jobs are`} drawn.` : "Nothing has run.";
  },

  /** What is under the pointer: a job, or else how busy the row was. */
  tell(event) {
    const box = byId("timeline").getBoundingClientRect();
    const [x, row] = [event.clientX - box.left, Math.floor((event.clientY - box.top) / this.rowHeight)];
    const at = this.seconds(x);
    if (x < this.gutter || !this.rows[row]) return hideTip();
    const slack = ((this.to - this.from) / this.width) * 2;
    const near = this.bars.filter((bar) => bar.row === row && bar.from - slack <= at && at <= bar.to + slack);
    const bar = near[near.length - 1];
    const on = run.timeline.hosts.length > 1 ? ` on ${run.timeline.hosts[this.rows[row].host]}` : "";
    if (bar) {
      const how = bar.retried ? `failed (${bar.failed}), tried again` : bar.failed ? `failed (${bar.failed})` : "succeeded";
      const attempt = bar.attempt > 1 ? `, attempt ${bar.attempt}` : "";
      return showTip(event, bar.label || `job ${bar.seq}`, `Job ${grouped(bar.seq)} in slot ${bar.slot}${on}${attempt}: ${how}`, `From ${moment(bar.from, slack)}, for ${time(bar.to - bar.from)}`);
    }
    const busy = this.rows[row].steps[Math.floor(at / run.timeline.step_seconds)] || 0;
    return showTip(event, "", `Slot ${this.rows[row].first_slot}${on}, at ${moment(at, slack)}: ${busy} % busy`);
  },

  tellThroughput(event) {
    const box = byId("throughput").getBoundingClientRect();
    const at = this.seconds(event.clientX - box.left);
    const sum = this.throughput.sums.find((sum) => at >= sum.at * run.throughput.step_seconds && at < sum.at * run.throughput.step_seconds + this.throughput.step);
    if (!sum) return hideTip();
    const failed = sum.failed > 0 ? `${grouped(sum.failed)} of them failed` : "";
    return showTip(event, "", `${plural(sum.jobs, "job")} ended in ${time(this.throughput.step)}, from ${moment(sum.at * run.throughput.step_seconds, this.throughput.step)} on`, failed);
  },

  listen() {
    const canvas = byId("timeline");
    const inside = (event) => Math.max(this.gutter, Math.min(this.width, event.clientX - canvas.getBoundingClientRect().left));
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      canvas.setPointerCapture(event.pointerId);
      this.drag = { from: inside(event), to: inside(event) };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.drag) return this.tell(event);
      hideTip();
      this.drag.to = inside(event);
      this.drawRows();
    });
    canvas.addEventListener("pointerup", () => {
      const drag = this.drag;
      this.drag = null;
      if (drag && Math.abs(drag.to - drag.from) > 5) {
        this.show(this.seconds(Math.min(drag.from, drag.to)), this.seconds(Math.max(drag.from, drag.to)));
      } else {
        this.draw();
      }
    });
    canvas.addEventListener("pointercancel", () => { this.drag = null; this.draw(); });
    canvas.addEventListener("pointerleave", hideTip);
    canvas.addEventListener("dblclick", () => this.show(0, this.whole));
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoom(event.deltaY > 0 ? 1.25 : 0.8, this.seconds(inside(event)));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const act = {
        "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), "−": () => this.zoom(2),
        ArrowLeft: () => this.move(-0.25), ArrowRight: () => this.move(0.25), 0: () => this.show(0, this.whole), Home: () => this.show(0, this.whole),
      }[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      act();
    });
    byId("throughput").addEventListener("pointermove", (event) => this.tellThroughput(event));
    byId("throughput").addEventListener("pointerleave", hideTip);
    byId("zoom-in").addEventListener("click", () => this.zoom(0.5));
    byId("zoom-out").addEventListener("click", () => this.zoom(2));
    byId("earlier").addEventListener("click", () => this.move(-0.25));
    byId("later").addEventListener("click", () => this.move(0.25));
    byId("whole").addEventListener("click", () => this.show(0, this.whole));
    addEventListener("resize", () => this.draw());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  },
};
