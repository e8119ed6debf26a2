// The latent explorer: blends the decoded images of a lattice (see lattice.py) where the pointer is.
//
// A point is [across, up] on the plane that is shown; a code's has a third number: how far off it is.
"use strict";
(() => {
  const STRIP = 9, PLANE = "#0d1219", LINES = "#c9d4df";

  const canvas = (width, height) => Object.assign(document.createElement("canvas"), { width, height });
  const round = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace("-", "−");

  async function read(picture) {
    const image = new Image();
    image.src = `data:image/webp;base64,${picture}`;
    await image.decode();
    return image;
  }

  class Explorer {
    constructor(root, cells) {
      this.cells = cells;
      this.part = (name) => root.querySelector(`[data-${name}]`);
      this.canvas = this.part("plane");
      this.layers = [...root.querySelectorAll("[data-layer]")];
      this.listen();
      this.open(cells[this.part("cell")?.value ?? 0]);
      this.follow();
    }

    // -- Which cell, and which plane of it

    // A link to #explorer-vae-10 opens that cell.
    follow() {
      const index = this.cells.findIndex(({ cell }) => location.hash === `#explorer-${cell}`);
      if (index < 0) return;
      if (this.part("cell")) this.part("cell").value = index;
      this.open(this.cells[index]);
      this.canvas.closest("[data-explorer]").scrollIntoView();
    }

    open(cell) {
      this.cell = cell;
      this.brought = null; // the class that is brought out
      this.part("planes").hidden = cell.planes.length <= 1;
      this.part("choice").replaceChildren(...cell.planes.map(({ name }, i) => new Option(name, i)));
      this.showClasses();
      this.showLayer(cell.labels ? "codes" : "images");
      this.part("another").textContent = cell.labels ? "Another test code" : "Another draw";
      this.layers[0].textContent = cell.labels ? "Test codes" : "Draws from N(0, I)";
      const samples = document.getElementById(`samples-${cell.cell}`);
      this.part("samples").hidden = !samples;
      if (samples) this.part("samples").href = `#${samples.id}`;
      return this.turn(cell.planes[0]);
    }

    async turn(plane) {
      this.turning = plane;
      const lattice = await read(plane.picture);
      if (this.turning !== plane) return; // another one was asked for meanwhile
      this.plane = plane;
      this.lattice = lattice;
      this.width = lattice.width / this.cell.side;
      this.height = lattice.height / this.cell.side;
      Object.assign(this.part("image"), { width: this.width, height: this.height });
      this.start = null; // of the strip
      this.part("strip").hidden = true;
      this.at = this.held = plane.points.find(([x, y, off]) => off === 0 && this.inside([x, y])) ?? plane.centre;
      this.part("error").textContent =
        `Blended from ${this.cell.side} × ${this.cell.side} decoded images: ` +
        `${(100 * plane.error).toFixed(1)}% of a pixel's range off the model itself, on average.`;
      this.show();
    }

    showClasses() {
      const classes = this.cell.labels ? this.cell.classes : [];
      this.part("classes").replaceChildren(...classes.map((name, label) => {
        const button = document.createElement("button");
        const dot = document.createElement("span");
        dot.style.background = this.colour(label);
        button.type = "button";
        button.setAttribute("aria-pressed", "false");
        button.append(dot, name);
        button.addEventListener("click", () => {
          this.brought = this.brought === label ? null : label;
          for (const other of button.parentNode.children) {
            other.setAttribute("aria-pressed", String(other === button && this.brought !== null));
          }
          this.paint();
        });
        return button;
      }));
    }

    showLayer(name) {
      this.layer = name;
      for (const button of this.layers) {
        button.setAttribute("aria-pressed", String(button.dataset.layer === name));
      }
    }

    // -- Between the screen and the plane

    toScreen([across, up]) {
      const half = this.canvas.clientWidth / 2, { centre, reach } = this.plane;
      return [half * (1 + (across - centre[0]) / reach), half * (1 - (up - centre[1]) / reach)];
    }

    // The point below a place of the screen; the code that lies there, if one does.
    toPoint(x, y, snap = false) {
      if (snap) {
        const near = this.nearest((point) => {
          const [left, top] = this.toScreen(point);
          return Math.hypot(left - x, top - y);
        });
        if (near.distance <= 6) return near.point;
      }
      const half = this.canvas.clientWidth / 2, { centre, reach } = this.plane;
      return this.kept([centre[0] + reach * (x / half - 1), centre[1] - reach * (y / half - 1)]);
    }

    kept(point) {
      const { centre, reach } = this.plane;
      return point.map((value, k) => Math.min(Math.max(value, centre[k] - reach), centre[k] + reach));
    }

    inside([across, up]) {
      const { centre, reach } = this.plane;
      return Math.max(Math.abs(across - centre[0]), Math.abs(up - centre[1])) <= reach;
    }

    nearest(measure) {
      let best = { distance: Infinity };
      this.plane.points.forEach((point, index) => {
        if (this.brought !== null && this.cell.labels[index] !== this.brought) return;
        const far = measure(point);
        if (far < best.distance) best = { point, index, distance: far };
      });
      return best;
    }

    // -- What the reader does

    listen() {
      const { canvas: plane } = this;
      const place = (event) => {
        const box = plane.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      };
      let pressed = null; // where the pointer went down, until it is clear whether it drags
      plane.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || !this.plane) return;
        plane.setPointerCapture(event.pointerId);
        pressed = { place: place(event), point: this.toPoint(...place(event), true), drags: false };
        this.moveTo(pressed.point);
      });
      plane.addEventListener("pointermove", (event) => {
        if (!this.plane) return;
        const [x, y] = place(event);
        if (pressed && Math.hypot(x - pressed.place[0], y - pressed.place[1]) > 6) pressed.drags = true;
        this.moveTo(this.toPoint(x, y, pressed !== null));
        if (pressed?.drags) this.drawStrip(pressed.point, this.at);
      });
      plane.addEventListener("pointerup", (event) => {
        if (!pressed) return;
        const point = this.toPoint(...place(event), true);
        if (pressed.drags) this.drawStrip(pressed.point, point);
        this.choose(point);
        pressed = null;
      });
      plane.addEventListener("pointercancel", () => { pressed = null; });
      plane.addEventListener("pointerleave", () => { if (this.plane && !pressed) this.moveTo(this.held); });
      plane.addEventListener("keydown", (event) => this.press(event));
      this.part("cell")?.addEventListener("change", (event) => this.open(this.cells[event.target.value]));
      this.part("choice").addEventListener("change", (event) => this.turn(this.cell.planes[event.target.value]));
      for (const button of this.layers) {
        button.addEventListener("click", () => { this.showLayer(button.dataset.layer); this.paint(); });
      }
      this.part("another").addEventListener("click", () => this.another());
      addEventListener("hashchange", () => this.follow());
      new ResizeObserver(() => this.paint()).observe(plane);
    }

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || !this.plane) return;
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const step = steps[event.key], length = this.plane.reach * (event.shiftKey ? 0.2 : 0.03);
      if (step) this.moveTo(this.kept(step.map((way, k) => this.at[k] + way * length)));
      else if (event.key === "Enter" || event.key === " ") this.choose(this.at);
      else if (event.key.toLowerCase() === "s") this.drawStrip(this.held, this.at);
      else if (event.key.toLowerCase() === "n") this.another();
      else return;
      event.preventDefault();
    }

    another() {
      const fit = this.plane.points.filter((point, i) =>
        this.inside(point) && (this.brought === null || this.cell.labels[i] === this.brought));
      if (fit.length) this.choose(fit[Math.floor(Math.random() * fit.length)]);
    }

    choose(point) {
      this.held = this.at = point;
      this.show();
    }

    moveTo(point) {
      this.at = point;
      this.waiting ??= requestAnimationFrame(() => {
        this.waiting = null;
        this.show();
      });
    }

    // -- What the reader sees

    // The image at a point: between the four of the lattice around it.
    drawImage(context, point, left = 0) {
      const { side } = this.cell, { centre, reach } = this.plane, { width, height } = this;
      const [column, row] = [point[0] - centre[0], centre[1] - point[1]].map((offset) =>
        Math.min(Math.max(((1 + offset / reach) / 2) * side - 0.5, 0), side - 1));
      const first = [column, row].map((line) => Math.min(Math.floor(line), side - 2));
      context.clearRect(left, 0, width, height);
      context.globalCompositeOperation = "lighter"; // adds up, where the shares sum to 1
      for (const right of [0, 1]) for (const below of [0, 1]) {
        context.globalAlpha = Math.abs(1 - right - (column - first[0])) * Math.abs(1 - below - (row - first[1]));
        context.drawImage(this.lattice, (first[0] + right) * width, (first[1] + below) * height,
          width, height, left, 0, width, height);
      }
      context.globalCompositeOperation = "source-over";
      context.globalAlpha = 1;
    }

    show() {
      this.drawImage(this.part("image").getContext("2d"), this.at);
      const [x, y] = this.at.map(round);
      const place = this.cell.latent_size === 1 ? `at ${x}` : `at ${x} across, ${y} up`, near = this.describe();
      this.part("place").textContent = place;
      this.part("near").textContent = near;
      const label = `Image decoded ${place}. ${near}`;
      this.part("image").setAttribute("aria-label", label);
      // Not every step of a pointer is worth speaking of.
      clearTimeout(this.speech);
      this.speech = setTimeout(() => { this.part("live").textContent = label; }, 400);
      this.paint();
    }

    describe() {
      const { labels, classes, apart, latent_size: size } = this.cell, [x, y] = this.at;
      const distance = ([across, up, off]) => Math.hypot(across - x, up - y, off);
      if (!labels) {
        return `${round(distance(this.plane.zero))} from 0, where a draw from N(0, I) is about ` +
          round(Math.sqrt(size));
      }
      const near = this.nearest(distance), name = classes[labels[near.index]];
      if (near.distance < 1e-6) return `The code of a test image: ${name}`;
      const text = `${round(near.distance)} from the nearest test code: ${name}`;
      return near.distance > apart ? `A hole: ${text}` : text;
    }

    paint() {
      const { canvas } = this, size = canvas.clientWidth, scale = devicePixelRatio || 1;
      if (!size || !this.plane) return;
      if (canvas.width !== Math.round(size * scale)) canvas.width = canvas.height = Math.round(size * scale);
      const context = canvas.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.fillStyle = PLANE;
      context.fillRect(0, 0, size, size);
      context.imageSmoothingQuality = "high";
      if (this.layer === "images") {
        context.globalAlpha = this.brought === null ? 1 : 0.35;
        context.drawImage(this.lattice, 0, 0, size, size);
        context.globalAlpha = 1;
      }
      if (this.layer === "codes" || this.brought !== null) this.paintCodes(context, size);
      if (this.cell.prior) this.paintPrior(context, size);
      this.paintTicks(context, size);
      this.paintMarks(context);
      const what = this.cell.labels ? "codes of test images" : "draws from N(0, I)";
      canvas.setAttribute("aria-label",
        `${this.cell.title}: ${this.plane.points.length} ${what}. The plane: ${this.plane.name}.`);
    }

    colour(label) {
      return this.cell.colours[label % this.cell.colours.length];
    }

    paintCodes(context, size) {
      const radius = Math.min(2.4, Math.max(1.5, size / 260)), { labels, classes } = this.cell;
      const groups = labels ? classes.map((_, label) => label) : [null];
      // The class that is brought out comes last, above the others.
      groups.sort((one, other) => (one === this.brought) - (other === this.brought));
      for (const label of groups) {
        context.beginPath();
        this.plane.points.forEach((point, i) => {
          if (label !== null && labels[i] !== label) return;
          const [x, y] = this.toScreen(point);
          context.moveTo(x + radius, y);
          context.arc(x, y, radius, 0, 2 * Math.PI);
        });
        const others = this.layer === "codes" ? 0.12 : 0;
        context.globalAlpha = this.brought === null || this.brought === label ? 0.9 : others;
        context.fillStyle = label === null ? LINES : this.colour(label);
        context.fill();
      }
      context.globalAlpha = 1;
    }

    // Circles of N(0, I), each a standard deviation further from 0.
    paintPrior(context, size) {
      const [x, y] = this.toScreen(this.plane.zero);
      for (let deviation = 1; deviation <= 3; deviation++) {
        const radius = (deviation * size) / 2 / this.plane.reach;
        context.beginPath();
        context.setLineDash([4, 4]);
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.strokeStyle = LINES;
        context.lineWidth = 1;
        context.stroke();
        context.setLineDash([]);
        const along = radius * Math.SQRT1_2, label = deviation === 1 ? "N(0, I): 1 sd" : `${deviation} sd`;
        this.write(context, label, Math.min(x + along, size - 40), y - along);
      }
    }

    // Round numbers along the lower edge, and where the plane has a second axis along the left one.
    paintTicks(context, size) {
      const { centre, reach } = this.plane, power = 10 ** Math.floor(Math.log10(reach / 2.5));
      const step = power * [1, 2, 5, 10].find((factor) => factor * power >= reach / 2.5);
      for (const axis of this.cell.latent_size === 1 ? [0] : [0, 1]) {
        const last = Math.floor((centre[axis] + reach) / step);
        for (let i = Math.ceil((centre[axis] - reach) / step); i <= last; i++) {
          const place = this.toScreen(centre.map((value, k) => (k === axis ? i * step : value)))[axis];
          if (place < 28 || place > size - 28) continue; // in the corners they would meet
          const text = String(Number((i * step).toPrecision(3))).replace("-", "−");
          context.fillStyle = LINES;
          if (axis === 0) context.fillRect(place - 0.5, size - 5, 1, 5);
          else context.fillRect(0, place - 0.5, 5, 1);
          context.textAlign = axis === 0 ? "center" : "left";
          this.write(context, text, axis === 0 ? place : 8, axis === 0 ? size - 9 : place + 4);
        }
      }
      context.textAlign = "left";
    }

    write(context, ...label) {
      context.font = "12px system-ui, sans-serif";
      context.strokeStyle = PLANE;
      context.lineWidth = 4;
      context.strokeText(...label);
      context.fillStyle = LINES;
      context.fillText(...label);
    }

    paintMarks(context) {
      const outlined = (width, draw) => {
        context.beginPath();
        draw();
        for (const [colour, line] of [["#000000", width + 3], ["#ffffff", width]]) {
          context.strokeStyle = colour;
          context.lineWidth = line;
          context.stroke();
        }
      };
      const ring = (point, radius, width) =>
        outlined(width, () => context.arc(...this.toScreen(point), radius, 0, 2 * Math.PI));
      if (this.start) {
        outlined(2, () => {
          context.moveTo(...this.toScreen(this.start));
          context.lineTo(...this.toScreen(this.end));
        });
        ring(this.start, 4, 2);
        ring(this.end, 4, 2);
      }
      // Codes that lie on a plane cut through a deeper space are rare there.
      if (this.cell.latent_size > 2) {
        for (const point of this.plane.points) if (point[2] === 0) ring(point, 3, 1.5);
      }
      ring(this.held, 5, 1.5);
      ring(this.at, 9, 2);
    }

    drawStrip(start, end) {
      Object.assign(this, { start, end });
      const box = this.part("images"), strip = canvas(STRIP * this.width, this.height);
      this.part("strip").hidden = false;
      for (let i = 0; i < STRIP; i++) {
        const share = i / (STRIP - 1);
        const point = [0, 1].map((k) => start[k] + share * (end[k] - start[k]));
        this.drawImage(strip.getContext("2d"), point, i * this.width);
      }
      box.replaceChildren(strip);
      const [from, to] = [start, end].map(([across, up]) => `${round(across)}, ${round(up)}`);
      box.setAttribute("aria-label", `${STRIP} images decoded from ${from} to ${to}`);
      this.paint();
    }
  }

  const cells = [...document.querySelectorAll("[data-explorer-cell]")];
  const root = document.querySelector("[data-explorer]");
  root.explorer = new Explorer(root, cells.map((element) => JSON.parse(element.textContent)));
})();
