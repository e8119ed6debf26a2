// The latent explorer: runs a packed decoder (see pack.py) where the pointer is.
//
// A point is a Float32Array of coordinates, one a direction. The plane shows two of them, `across`
// and `up`; the others are those of the point that was chosen last.
"use strict";
(() => {
  const SIDE = 28, PIXELS = SIDE * SIDE, STRIP = 9;
  const PLANE = "#0d1219", LINES = "#c9d4df";

  // ---- Reading a pack

  async function unpack(pack) {
    const bytes = Uint8Array.from(atob(pack.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const data = await new Response(stream).arrayBuffer();
    const types = { float32: Float32Array, int8: Int8Array, int16: Int16Array, uint8: Uint8Array };
    const arrays = {};
    let offset = 0;
    for (const [name, type, shape] of pack.arrays) {
      const count = shape.reduce((product, size) => product * size, 1);
      const end = offset + count * types[type].BYTES_PER_ELEMENT;
      arrays[name] = new types[type](data.slice(offset, end));
      offset = end;
    }
    // Rounded matrices come with a scale a row.
    for (const name of Object.keys(arrays)) {
      const scales = arrays[`${name} scales`];
      if (!scales) continue;
      const width = arrays[name].length / scales.length;
      arrays[name] = Float32Array.from(arrays[name], (n, i) => n * scales[Math.floor(i / width)]);
    }
    return arrays;
  }

  // The points lie a coordinate after the other; here each has its own array.
  function readPoints(values, size) {
    const count = values.length / size;
    return Array.from({ length: count }, (_, i) =>
      Float32Array.from({ length: size }, (_, k) => values[k * count + i]));
  }

  // ---- The networks: a point to 784 pixels in [0, 1]

  // max(0, point @ rows + bias), where the bias is the last row.
  function firstLayer(rows, point) {
    const width = rows.length / (point.length + 1);
    const hidden = rows.slice(point.length * width);
    point.forEach((value, k) => {
      for (let j = 0, row = k * width; j < width; j++) hidden[j] += value * rows[row + j];
    });
    return hidden.map((value) => Math.max(0, value));
  }

  function decoder(arrays) {
    const { first, narrow, wide, "last bias": bias } = arrays;
    const rank = wide.length / PIXELS;
    return (point) => {
      const hidden = firstLayer(first, point), pixels = bias.slice();
      for (let r = 0; r < rank; r++) {
        let sum = 0;
        for (let j = 0; j < hidden.length; j++) sum += hidden[j] * narrow[r * hidden.length + j];
        for (let p = 0; p < PIXELS; p++) pixels[p] += sum * wide[r * PIXELS + p];
      }
      return pixels.map((value) => 1 / (1 + Math.exp(-value)));
    };
  }

  // The generator's layers after the first. A layer adds a shift to its input, doubles its sides
  // (all but the last), and convolves it by 3 x 3. Doubling and convolving together is a transposed
  // convolution by 4 x 4 with stride 2. What the shift makes of an image of zeros is the same
  // every time, so it is worked out once; what is left of the input is full of zeros to skip.
  function convolution(rows, shift, bias, side, stride) {
    const channels = shift.length, outputs = bias.length, size = side * stride;
    const taps = stride === 2 ? [[2], [1, 2], [0, 1], [0]] : [[2], [1], [0]];
    const kernels = taps.map((down) => taps.map((across) => {
      const kernel = new Float32Array(channels * outputs);
      for (const y of down) for (const x of across) {
        for (let c = 0; c < channels; c++) for (let o = 0; o < outputs; o++) {
          kernel[c * outputs + o] += rows[o * 9 * channels + (y * 3 + x) * channels + c];
        }
      }
      return kernel;
    }));
    const filled = new Int32Array(channels + 4), values = new Float32Array(channels + 4);
    const convolve = (input, output) => {
      for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
        const from = (y * side + x) * channels;
        let found = 0;
        for (let c = 0; c < channels; c++) {
          values[found] = input[from + c];
          if (values[found] !== 0) filled[found++] = c;
        }
        values.fill(0, found, found + 4);
        for (let dy = 0; dy < taps.length; dy++) for (let dx = 0; dx < taps.length; dx++) {
          const row = y * stride + dy - 1, column = x * stride + dx - 1;
          if (row < 0 || column < 0 || row >= size || column >= size) continue;
          const kernel = kernels[dy][dx], to = (row * size + column) * outputs;
          // Four channels at a time, so that the output is read and written a quarter as often.
          for (let f = 0; f < found; f += 4) {
            const a = filled[f], b = filled[f + 1], c = filled[f + 2], d = filled[f + 3];
            const ka = a * outputs, kb = b * outputs, kc = c * outputs, kd = d * outputs;
            const va = values[f], vb = values[f + 1], vc = values[f + 2], vd = values[f + 3];
            for (let o = 0; o < outputs; o++) {
              output[to + o] += va * kernel[ka + o] + vb * kernel[kb + o] +
                vc * kernel[kc + o] + vd * kernel[kd + o];
            }
          }
        }
      }
      return output;
    };
    const still = new Float32Array(size * size * outputs).map((_, i) => bias[i % outputs]);
    convolve(new Float32Array(side * side * channels).map((_, i) => shift[i % channels]), still);
    return (input) => convolve(input, still.slice());
  }

  function generator(arrays) {
    const layers = [[7, 2], [14, 2], [28, 1]].map(([side, stride], i) => convolution(
      arrays[`kernel ${i + 1}`], arrays[`shift ${i + 1}`], arrays[`bias ${i + 1}`], side, stride));
    const relu = (value) => Math.max(0, value);
    return (point) => {
      const small = layers[0](firstLayer(arrays.first, point)).map(relu);
      return layers[2](layers[1](small).map(relu)).map((value) => (Math.tanh(value) + 1) / 2);
    };
  }

  // ---- Drawing

  function drawImage(context, pixels, left = 0, top = 0) {
    const image = context.createImageData(SIDE, SIDE);
    for (let p = 0; p < PIXELS; p++) {
      image.data.fill(Math.round(255 * pixels[p]), 4 * p, 4 * p + 3);
      image.data[4 * p + 3] = 255;
    }
    context.putImageData(image, left, top);
  }

  function canvas(width, height) {
    return Object.assign(document.createElement("canvas"), { width, height });
  }

  function distance(one, other) {
    let sum = 0;
    for (let k = 0; k < one.length; k++) sum += (one[k] - other[k]) ** 2;
    return Math.sqrt(sum);
  }

  function percentile(values, share) {
    const sorted = Float32Array.from(values).sort();
    return sorted[Math.round(share * (sorted.length - 1))];
  }

  const round = (value) => value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace("-", "−");
  const pause = () => new Promise((resolve) => setTimeout(resolve));

  // ---- The explorer

  class Explorer {
    constructor(root, packs) {
      this.packs = packs;
      this.part = (name) => root.querySelector(`[data-${name}]`);
      this.plane = this.part("plane");
      this.layers = [...root.querySelectorAll("[data-layer]")];
      this.listen();
      this.open(packs[0]);
    }

    // -- Which cell, and which plane of it

    async open(pack) {
      this.opening = pack;
      const arrays = await unpack(pack);
      if (this.opening !== pack) return; // another cell was asked for meanwhile
      this.pack = pack;
      this.decode = (pack.network === "generator" ? generator : decoder)(arrays);
      this.points = readPoints(arrays.points, pack.names.length);
      this.labels = arrays.labels;
      this.across = 0;
      this.up = 1;
      this.brought = null; // the class that is brought out
      this.start = null; // of the strip
      this.at = this.held = this.points[0];
      const encodes = Boolean(this.labels);
      this.showLayer(encodes ? "codes" : "images");
      this.showAxes();
      this.showClasses();
      this.part("another").textContent = encodes ? "Another test code" : "Another draw";
      this.layers[0].textContent = encodes ? "Test codes" : "Draws from N(0, I)";
      this.part("deep").hidden = pack.latent_size <= 2;
      this.part("strip").hidden = true;
      this.part("error").textContent =
        `Decoded here, from rounded weights: ${(100 * pack.error.points).toFixed(1)}% of a pixel's ` +
        "range off the model itself, on average.";
      this.frame();
      this.show();
    }

    showAxes() {
      const { names } = this.pack;
      this.part("axes").hidden = names.length <= 2;
      for (const [name, chosen] of [["across", this.across], ["up", this.up]]) {
        const options = names.slice(0, 20).map((title, k) => new Option(title, k, false, k === chosen));
        this.part(name).replaceChildren(...options);
      }
    }

    showClasses() {
      const classes = this.labels ? this.pack.classes : [];
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

    // The square that holds 99% of the points, axes to scale; about 0 where codes follow N(0, I).
    frame() {
      const [x, y] = [this.across, this.up].map((k) => this.points.map((point) => point[k]));
      const ends = [x, y].map((values) => [percentile(values, 0.005), percentile(values, 0.995)]);
      this.centre = ends.map(([low, high]) => (low + high) / 2);
      this.reach = Math.max(0.01, ...ends.map(([low, high]) => 0.55 * (high - low)));
      if (this.pack.prior) {
        const middle = [this.across, this.up].map((k) => this.pack.zero[k]);
        const away = Math.max(...middle.map((value, i) => Math.abs(value - this.centre[i])));
        this.reach = Math.max(this.reach, 2.2 + away);
      }
      this.images = null;
    }

    // -- Between the screen and the plane

    toScreen(point) {
      const half = this.plane.clientWidth / 2;
      return [
        half * (1 + (point[this.across] - this.centre[0]) / this.reach),
        half * (1 - (point[this.up] - this.centre[1]) / this.reach),
      ];
    }

    // The point of the plane below a place of the screen; of a code that lies there, all of it.
    toPoint(x, y, snap = false) {
      const half = this.plane.clientWidth / 2;
      if (snap) {
        const near = this.nearest((point) => Math.hypot(...this.toScreen(point).map((v, i) => v - [x, y][i])));
        if (near.distance <= 6) return near.point;
      }
      return this.moved(this.centre[0] + this.reach * (x / half - 1), this.centre[1] - this.reach * (y / half - 1));
    }

    moved(across, up) {
      const point = this.held.slice();
      point[this.across] = across;
      point[this.up] = up;
      return point;
    }

    nearest(measure) {
      let best = { distance: Infinity };
      this.points.forEach((point, index) => {
        if (this.brought !== null && this.labels[index] !== this.brought) return;
        const far = measure(point);
        if (far < best.distance) best = { point, index, distance: far };
      });
      return best;
    }

    // -- What the reader does

    listen() {
      const { plane } = this;
      const place = (event) => {
        const box = plane.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      };
      let pressed = null; // where the pointer went down, until it is clear whether it drags
      plane.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        plane.setPointerCapture(event.pointerId);
        pressed = { place: place(event), point: this.toPoint(...place(event), true), drags: false };
        this.moveTo(pressed.point);
      });
      plane.addEventListener("pointermove", (event) => {
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
      plane.addEventListener("pointerleave", () => { if (!pressed) this.moveTo(this.held); });
      plane.addEventListener("keydown", (event) => this.press(event));
      this.part("cell")?.addEventListener("change", (event) => this.open(this.packs[event.target.value]));
      for (const [name, other] of [["across", "up"], ["up", "across"]]) {
        this.part(name).addEventListener("change", (event) => {
          const chosen = Number(event.target.value);
          if (chosen === this[other]) this[other] = this[name];
          this[name] = chosen;
          this.showAxes();
          this.frame();
          this.show();
        });
      }
      for (const button of this.layers) {
        button.addEventListener("click", () => { this.showLayer(button.dataset.layer); this.paint(); });
      }
      this.part("another").addEventListener("click", () => this.another());
      new ResizeObserver(() => this.pack && this.paint()).observe(plane);
    }

    press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const step = steps[event.key], length = this.reach * (event.shiftKey ? 0.2 : 0.03);
      if (step) {
        const [across, up] = [this.across, this.up].map((k, i) => {
          const value = this.at[k] + step[i] * length;
          return Math.min(Math.max(value, this.centre[i] - this.reach), this.centre[i] + this.reach);
        });
        this.moveTo(this.moved(across, up));
      } else if (event.key === "Enter" || event.key === " ") this.choose(this.at);
      else if (event.key.toLowerCase() === "s") this.drawStrip(this.held, this.at);
      else if (event.key.toLowerCase() === "n") this.another();
      else return;
      event.preventDefault();
    }

    another() {
      const fit = this.points.filter((_, i) => this.brought === null || this.labels[i] === this.brought);
      if (fit.length) this.choose(fit[Math.floor(Math.random() * fit.length)]);
    }

    // Hold the plane at a point.
    choose(point) {
      const turned = point.some((value, k) =>
        k !== this.across && k !== this.up && value !== this.held[k]);
      this.held = this.at = point;
      if (turned) this.images = null;
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

    show() {
      drawImage(this.part("digit").getContext("2d"), this.decode(this.at));
      const [x, y] = [this.at[this.across], this.at[this.up]].map(round);
      const place = this.pack.latent_size === 1 ? `at ${x}` : `at ${x} across, ${y} up`;
      const near = this.told();
      this.part("place").textContent = place;
      this.part("near").textContent = near;
      const label = `Image decoded ${place}. ${near}`;
      this.part("digit").setAttribute("aria-label", label);
      // Not every step of a pointer is worth speaking of.
      clearTimeout(this.speech);
      this.speech = setTimeout(() => { this.part("live").textContent = label; }, 400);
      this.paint();
    }

    told() {
      if (!this.labels) {
        const far = distance(this.at, this.pack.zero), usual = Math.sqrt(this.pack.latent_size);
        return `${round(far)} from 0, where a draw from N(0, I) is about ${round(usual)}`;
      }
      const near = this.nearest((point) => distance(this.at, point));
      const name = this.pack.classes[this.labels[near.index]];
      if (near.distance < 1e-6) return `The code of a test image: ${name}`;
      const text = `${round(near.distance)} from the nearest test code: ${name}`;
      return near.distance > this.pack.apart ? `A hole: ${text}` : text;
    }

    paint() {
      const { plane } = this, size = plane.clientWidth, scale = devicePixelRatio || 1;
      if (!size) return;
      if (plane.width !== Math.round(size * scale)) plane.width = plane.height = Math.round(size * scale);
      const context = plane.getContext("2d");
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.fillStyle = PLANE;
      context.fillRect(0, 0, size, size);
      if (this.layer === "images") this.paintImages(context, size);
      if (this.layer === "codes") this.paintCodes(context, size);
      if (this.pack.prior) this.paintPrior(context, size);
      this.paintMarks(context);
      const what = this.labels ? "codes of test images" : "draws from N(0, I)";
      plane.setAttribute("aria-label",
        `${this.pack.title}, the latent plane: ${this.points.length} ${what}. ` +
        `Across: ${this.pack.names[this.across]}; up: ${this.pack.names[this.up]}.`);
    }

    colour(label) {
      return this.pack.colours[label % this.pack.colours.length];
    }

    paintCodes(context, size) {
      const radius = Math.min(2.4, Math.max(1.5, size / 260));
      const groups = this.labels ? this.pack.classes.map((_, label) => label) : [null];
      // The class that is brought out comes last, above the others.
      groups.sort((one, other) => (one === this.brought) - (other === this.brought));
      for (const label of groups) {
        context.beginPath();
        this.points.forEach((point, i) => {
          if (label !== null && this.labels[i] !== label) return;
          const [x, y] = this.toScreen(point);
          context.moveTo(x + radius, y);
          context.arc(x, y, radius, 0, 2 * Math.PI);
        });
        context.globalAlpha = this.brought === null || this.brought === label ? 0.9 : 0.12;
        context.fillStyle = label === null ? LINES : this.colour(label);
        context.fill();
      }
      context.globalAlpha = 1;
    }

    // Circles of N(0, I), each a standard deviation further from 0.
    paintPrior(context, size) {
      const [x, y] = this.toScreen(this.pack.zero);
      context.fillStyle = LINES;
      context.font = "12px system-ui, sans-serif";
      for (let deviation = 1; deviation <= 3; deviation++) {
        const radius = (deviation * size) / 2 / this.reach;
        context.beginPath();
        context.setLineDash([4, 4]);
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.strokeStyle = LINES;
        context.lineWidth = 1;
        context.stroke();
        context.setLineDash([]);
        const along = radius * Math.SQRT1_2;
        const label = [deviation === 1 ? "N(0, I): 1 sd" : `${deviation} sd`, x + along, y - along];
        context.strokeStyle = PLANE;
        context.lineWidth = 4;
        context.strokeText(...label);
        context.fillText(...label);
      }
    }

    // The plane as the network fills it: decoded side by side, as many as there is time for.
    paintImages(context, size) {
      if (!this.images) {
        const across = this.pack.network === "generator" ? 12 : 24;
        this.images = canvas(across * SIDE, across * SIDE);
        this.fillImages(this.images, across);
      }
      context.imageSmoothingQuality = "high";
      context.drawImage(this.images, 0, 0, size, size);
    }

    async fillImages(images, across) {
      const context = images.getContext("2d");
      let since = performance.now();
      for (let i = 0; i < across * across; i++) {
        const [column, row] = [i % across, Math.floor(i / across)];
        const point = this.moved(
          this.centre[0] + this.reach * ((2 * column + 1) / across - 1),
          this.centre[1] - this.reach * ((2 * row + 1) / across - 1));
        drawImage(context, this.decode(point), column * SIDE, row * SIDE);
        if (performance.now() - since > 25) {
          this.paint();
          await pause();
          if (this.images !== images) return;
          since = performance.now();
        }
      }
      this.paint();
    }

    paintMarks(context) {
      const ring = (point, radius, width) => {
        const [x, y] = this.toScreen(point);
        for (const [colour, line] of [["#000000", width + 3], ["#ffffff", width]]) {
          context.beginPath();
          context.arc(x, y, radius, 0, 2 * Math.PI);
          context.strokeStyle = colour;
          context.lineWidth = line;
          context.stroke();
        }
      };
      if (this.start) {
        for (const [colour, width] of [["#000000", 5], ["#ffffff", 2]]) {
          context.beginPath();
          context.moveTo(...this.toScreen(this.start));
          context.lineTo(...this.toScreen(this.end));
          context.strokeStyle = colour;
          context.lineWidth = width;
          context.stroke();
        }
        ring(this.start, 4, 2);
        ring(this.end, 4, 2);
      }
      ring(this.held, 5, 1.5);
      ring(this.at, 9, 2);
    }

    async drawStrip(start, end) {
      Object.assign(this, { start, end });
      const box = this.part("images"), strip = (this.strip = canvas(STRIP * SIDE, SIDE));
      this.part("strip").hidden = false;
      const context = strip.getContext("2d");
      for (let i = 0; i < STRIP; i++) {
        const share = i / (STRIP - 1);
        const point = start.map((value, k) => value + share * (end[k] - value));
        drawImage(context, this.decode(point), i * SIDE, 0);
        if (this.pack.network === "generator") await pause();
        if (this.strip !== strip) return;
      }
      box.replaceChildren(strip);
      const [from, to] = [start, end].map((point) => `${round(point[this.across])}, ${round(point[this.up])}`);
      box.setAttribute("aria-label", `${STRIP} images decoded from ${from} to ${to}`);
      this.paint();
    }
  }

  const packs = [...document.querySelectorAll("[data-explorer-pack]")];
  const root = document.querySelector("[data-explorer]");
  root.explorer = new Explorer(root, packs.map((element) => JSON.parse(element.textContent)));
})();
