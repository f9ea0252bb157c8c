"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { ids, x, y, title, artist, tags, genre, label, confidence, disagreement } = data;
  const n = ids.length, PER_TRACK = data.stylesPerTrack;
  const at = (id) => document.getElementById(id);
  const canvas = at("canvas"), pen = canvas.getContext("2d");

  // Okabe and Ito's colours, which colour-blind people tell apart. Their number and that of the
  // shapes have no common divisor, so that every category has a look of its own.
  const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a800"];
  const SHAPES = [d3.symbolCircle, d3.symbolSquare, d3.symbolTriangle, d3.symbolDiamond];
  const GREY = "#8c8c8c", MOST_NAMED = 20, STEPS = 10, MOST_LISTED = 100, NEIGHBOURS = 10, SAMPLE = 200;
  const MOST_MOVING = 8000; // points drawn while the view moves

  const state = {
    view: d3.zoomIdentity, matches: null, category: null, chosen: new Set(), current: -1,
    colours: null, line: null, lasso: false, moving: false, width: 1, height: 1,
  };

  // What takes a while is computed when it is first needed, so that the page is there at once.
  const once = (compute) => {
    let value;
    return () => value ??= compute();
  };

  // ---- names ----
  const element = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const nameOf = (i) => `${data.artists[artist[i]]} - ${title[i]}`;
  const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
  const stylesOf = (i) => {
    const found = [];
    for (let k = i * PER_TRACK; k < (i + 1) * PER_TRACK; k++)
      if (data.style[k] >= 0) found.push([data.style[k], data.share[k]]);
    return found;
  };
  const facts = (i) => [
    data.tagNames[tags[i]] ? `genre: ${data.tagNames[tags[i]]}` : "no genre",
    `predicted: ${data.labels[label[i]]} (${confidence[i]} %)`,
    ...(stylesOf(i).length
      ? [`styles: ${stylesOf(i).slice(0, 3).map(([s, p]) => `${data.styles[s]} ${p} %`).join(", ")}`]
      : []),
  ];
  const describe = (target, i) => {
    const name = element("strong", nameOf(i), "name");
    name.dir = "auto";
    target.replaceChildren(name, ...facts(i).map((fact) => element("span", fact, "more")));
  };
  const list = (target, points, more) => {
    target.replaceChildren(...points.slice(0, MOST_LISTED).map((i) => {
      const item = element("li"), button = element("button");
      const name = element("span", nameOf(i), "name");
      name.dir = "auto";
      button.append(name, element("span", more(i), "more"));
      button.onclick = () => goTo(i);
      item.append(button);
      return item;
    }));
    if (points.length > MOST_LISTED)
      target.append(element("li", `and ${points.length - MOST_LISTED} more`));
  };

  // ---- colours ----
  // Each way returns a category for every point, and the categories' looks in the legend's order.
  const byName = (names, indices) => {
    const counts = new Array(names.length).fill(0);
    for (const index of indices) if (index >= 0) counts[index]++;
    const order = d3.range(names.length).filter((i) => counts[i])
      .sort((a, b) => counts[b] - counts[a]).slice(0, MOST_NAMED);
    const place = new Map(order.map((index, rank) => [index, rank]));
    const looks = order.map((index, rank) => ({
      name: names[index], colour: COLOURS[rank % COLOURS.length],
      shape: SHAPES[rank % SHAPES.length], size: 1,
    }));
    const other = looks.length, none = looks.length + 1;
    looks.push({ name: "other", colour: GREY, shape: d3.symbolCircle, size: .8 });
    looks.push({ name: "none", colour: GREY, shape: d3.symbolCircle, size: .5 });
    const of = Array.from(indices, (index) => index < 0 ? none : place.get(index) ?? other);
    return { looks, of, named: true };
  };
  const byNumber = (values) => {
    const looks = d3.range(STEPS).map((step) => ({
      name: `${step * 10} to ${(step + 1) * 10} %`, shape: d3.symbolCircle,
      colour: d3.interpolateCividis((step + .5) / STEPS), size: .7 + .6 * step / STEPS,
    }));
    looks.push({ name: "none", colour: GREY, shape: d3.symbolTimes, size: .5 });
    const of = Array.from(values, (value) => value < 0 ? STEPS
      : Math.min(STEPS - 1, Math.floor(value / 10)));
    return { looks, of, named: false };
  };
  const WAYS = {
    genre: () => byName(data.genres, genre),
    label: () => byName(data.labels, label),
    style: () => byName(data.styles, d3.range(n).map((i) => data.style[i * PER_TRACK])),
    confidence: () => byNumber(confidence),
    disagreement: () => byNumber(disagreement),
  };
  const stamp = (look, radius, scale) => {
    const half = Math.ceil(radius * look.size * 2) + 1, made = document.createElement("canvas");
    made.width = made.height = 2 * half * scale;
    const brush = made.getContext("2d");
    brush.setTransform(scale, 0, 0, scale, half * scale, half * scale);
    brush.fillStyle = look.colour;
    brush.strokeStyle = ink("--back");
    brush.lineWidth = .7;
    brush.beginPath();
    d3.symbol(look.shape, Math.PI * (radius * look.size) ** 2).context(brush)();
    brush.fill();
    brush.stroke();
    return { made, half };
  };
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Where points are densest, among a sample of them.
  const centreOf = (points) => {
    const sample = points.filter((_, k) => k % Math.ceil(points.length / SAMPLE) === 0);
    const best = d3.greatest(sample, (i) =>
      d3.sum(sample, (j) => Math.hypot(x[i] - x[j], y[i] - y[j]) < data.size / 12));
    return [x[best], y[best]];
  };
  const colourBy = (way) => {
    state.category = null;
    state.colours = WAYS[way]();
    const { looks, of } = state.colours, counts = new Array(looks.length).fill(0);
    for (const category of of) counts[category]++;
    state.colours.centres = looks.map((look, category) =>
      !state.colours.named || look.colour === GREY || counts[category] < Math.max(3, n / 200)
        ? null : centreOf(d3.range(n).filter((i) => of[i] === category)));
    at("legend").replaceChildren(...looks.flatMap((look, category) => {
      if (!counts[category]) return [];
      const item = element("li"), button = element("button");
      button.append(stamp({ ...look, size: 1 }, 5, 2).made, element("span", look.name, "name"),
        element("span", counts[category].toLocaleString("en"), "count"));
      button.setAttribute("aria-pressed", "false");
      button.onclick = () => {
        state.category = state.category === category ? null : category;
        for (const other of at("legend").querySelectorAll("button"))
          other.setAttribute("aria-pressed", String(other === button && state.category !== null));
        draw();
      };
      item.append(button);
      return [item];
    }));
    draw();
  };

  // ---- drawing ----
  const base = () => Math.min(state.width, state.height) * .94;
  const flatX = (i) => state.width / 2 + (x[i] / data.size - .5) * base();
  const flatY = (i) => state.height / 2 + (y[i] / data.size - .5) * base();
  const isShown = (i) => (state.matches === null || state.matches.has(i))
    && (state.category === null || state.colours.of[i] === state.category);
  let waiting = false;
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  };
  const paint = () => {
    const scale = window.devicePixelRatio || 1, { view, colours, width, height } = state;
    const zoomed = Math.sqrt(view.k), crowd = Math.sqrt(400 / Math.max(n, 400));
    const radius = Math.min(9, Math.max(1.6, 6 * crowd * zoomed));
    const stamps = colours.looks.map((look) => stamp(look, radius, scale));
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const step = state.moving ? Math.ceil(n / MOST_MOVING) : 1;
    const restricted = state.matches !== null || state.category !== null;
    for (const shown of restricted ? [false, true] : [true]) {
      pen.globalAlpha = shown ? 1 : .12;
      for (let i = 0; i < n; i += step) {
        if (restricted && isShown(i) !== shown) continue;
        const px = view.applyX(flatX(i)), py = view.applyY(flatY(i));
        if (px < -9 || py < -9 || px > width + 9 || py > height + 9) continue;
        const { made, half } = stamps[colours.of[i]];
        pen.drawImage(made, px - half, py - half, 2 * half, 2 * half);
      }
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = pen.fillStyle = ink("--ink");
    const ring = (i, size, thick) => {
      pen.lineWidth = thick;
      pen.beginPath();
      pen.arc(view.applyX(flatX(i)), view.applyY(flatY(i)), size, 0, 2 * Math.PI);
      pen.stroke();
    };
    for (const i of state.chosen) ring(i, radius + 2, 1.3);
    if (state.current >= 0) ring(state.current, radius + 6, 3);
    names(view);
    if (state.line) {
      pen.lineWidth = 1.5;
      pen.setLineDash([5, 4]);
      pen.stroke(new Path2D(d3.line()(state.line) + "Z"));
      pen.setLineDash([]);
    }
  };
  const names = (view) => {
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = ink("--back");
    const places = [];
    state.colours.centres.forEach((centre, category) => {
      if (!centre || (state.category !== null && state.category !== category)) return;
      const px = view.applyX(state.width / 2 + (centre[0] / data.size - .5) * base());
      const py = view.applyY(state.height / 2 + (centre[1] / data.size - .5) * base());
      const text = state.colours.looks[category].name, half = pen.measureText(text).width / 2;
      if (places.some(([qx, qy, h]) => Math.abs(px - qx) < half + h + 4 && Math.abs(py - qy) < 16))
        return;
      places.push([px, py, half]);
      pen.strokeText(text, px, py);
      pen.fillText(text, px, py);
    });
    pen.strokeStyle = ink("--ink");
  };

  // ---- the view ----
  let tree = null;
  const zoom = d3.zoom().scaleExtent([.8, 200]).filter((event) =>
    !event.button && (event.type === "wheel" || !(state.lasso || event.shiftKey)))
    .on("start", () => { state.moving = true; })
    .on("zoom", (event) => { state.view = event.transform; at("tip").hidden = true; draw(); })
    .on("end", () => { state.moving = false; draw(); });
  const surface = d3.select(canvas).call(zoom).on("dblclick.zoom", null);
  const resize = () => {
    const { width, height } = at("stage").getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    Object.assign(state, { width, height });
    Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    zoom.extent([[0, 0], [width, height]]);
    tree = once(() => d3.quadtree(d3.range(n), flatX, flatY));
    if (state.colours) paint();
  };
  const near = (event, reach) => {
    const [px, py] = d3.pointer(event, canvas), { view } = state;
    return tree().find(view.invertX(px), view.invertY(py), reach / view.k) ?? -1;
  };
  const setCurrent = (i) => {
    state.current = i;
    describe(at("now"), i);
    draw();
  };
  const goTo = (i) => {
    const k = Math.max(state.view.k, 5);
    const view = d3.zoomIdentity.translate(state.width / 2 - k * flatX(i),
      state.height / 2 - k * flatY(i)).scale(k);
    surface.call(zoom.transform, view);
    setCurrent(i);
  };
  canvas.addEventListener("pointermove", (event) => {
    if (state.line || event.pointerType === "touch") return;
    const i = near(event, 12), tip = at("tip");
    tip.hidden = i < 0;
    if (i < 0) return;
    describe(tip, i);
    const [px, py] = d3.pointer(event, canvas);
    tip.style.left = `${Math.max(0, Math.min(px + 14, state.width - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(0, Math.min(py + 14, state.height - tip.offsetHeight))}px`;
  });
  canvas.addEventListener("pointerleave", () => { at("tip").hidden = true; });
  canvas.addEventListener("click", (event) => {
    const i = near(event, 16);
    if (i >= 0 && !state.lasso && !event.shiftKey) setCurrent(i);
  });

  // ---- the lasso ----
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !(state.lasso || event.shiftKey)) return;
    state.line = [d3.pointer(event, canvas)];
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!state.line) return;
    state.line.push(d3.pointer(event, canvas));
    draw();
  });
  canvas.addEventListener("pointercancel", () => { state.line = null; draw(); });
  canvas.addEventListener("pointerup", () => {
    if (!state.line) return;
    const line = state.line.map((point) => state.view.invert(point));
    state.line = null;
    if (line.length > 2)
      select(d3.range(n).filter((i) =>
        isShown(i) && d3.polygonContains(line, [flatX(i), flatY(i)])));
    setLasso(false);
  });
  const setLasso = (on) => {
    state.lasso = on;
    at("lasso").setAttribute("aria-pressed", String(on));
    canvas.classList.toggle("lasso", on);
    draw();
  };

  // ---- the selection ----
  const queryOf = (points) => {
    const numbers = points.map((i) => ids[i]).sort(d3.ascending), parts = [];
    for (let from = 0, to; from < numbers.length; from = to) {
      for (to = from + 1; numbers[to] === numbers[to - 1] + 1;) to++;
      if (to - from > 2) parts.push(`id:${numbers[from]}..${numbers[to - 1]}`);
      else for (let k = from; k < to; k++) parts.push(`id:${numbers[k]}`);
    }
    return parts.join(" , ");
  };
  const tally = (points) => {
    const counts = new Map();
    for (const i of points)
      for (const [style] of stylesOf(i)) counts.set(style, (counts.get(style) ?? 0) + 1);
    return counts;
  };
  const everywhere = once(() => tally(d3.range(n)));
  const sharedStyles = (points) => Array.from(tally(points), ([style, count]) => {
    const here = count / points.length, all = everywhere().get(style) / n;
    return { style, count, all, weight: here * Math.log(here / all) };
  }).filter(({ count, weight }) => weight > 0 && count * 3 >= points.length)
    .sort((a, b) => b.weight - a.weight).slice(0, 5);
  const why = (points) => {
    const artists = d3.rollups(points, (group) => group.length, (i) => artist[i])
      .sort((a, b) => b[1] - a[1]);
    const genres = d3.rollups(points.filter((i) => genre[i] >= 0), (group) => group.length,
      (i) => genre[i]).sort((a, b) => b[1] - a[1]).slice(0, 3)
      .map(([g, count]) => `${data.genres[g]} ${count}`);
    const shared = sharedStyles(points);
    at("why").textContent = `${plural(artists.length, "artist")}; genres: `
      + `${genres.join(", ") || "none"}. `
      + (shared.length ? "Styles that they share:" : "They share no style.");
    at("shared").replaceChildren(...shared.map(({ style, count, all }) => element("li",
      `${data.styles[style]}: ${count} of ${points.length} (of all tracks ${(100 * all).toFixed(0)} %)`)));
  };
  const select = (points) => {
    state.chosen = new Set(points);
    at("selection").hidden = !points.length;
    if (points.length) {
      at("chosen").textContent = `${plural(points.length, "track")} selected`;
      at("query").value = queryOf(points);
      why(points);
      list(at("members"), points, (i) => facts(i)[0]);
    }
    draw();
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(at("query").value);
    } catch {
      at("query").select();
      document.execCommand("copy");
    }
    at("copy").textContent = "Copied";
    setTimeout(() => { at("copy").textContent = "Copy"; }, 1500);
  };
  const neighbours = (i) => d3.range(n)
    .sort((a, b) => Math.hypot(x[a] - x[i], y[a] - y[i]) - Math.hypot(x[b] - x[i], y[b] - y[i]))
    .slice(0, NEIGHBOURS + 1);

  // ---- search ----
  const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const texts = once(() => d3.range(n).map((i) =>
    folded(`${nameOf(i)} ${data.tagNames[tags[i]]} ${data.labels[label[i]]}`)));
  const search = () => {
    const words = folded(at("search").value).split(/\s+/).filter(Boolean);
    const found = words.length
      ? d3.range(n).filter((i) => words.every((word) => texts()[i].includes(word))) : [];
    state.matches = words.length ? new Set(found) : null;
    at("count").textContent = words.length ? `${plural(found.length, "track")} found` : "";
    at("choose").hidden = !found.length;
    at("choose").onclick = () => select(found);
    list(at("found"), found, (i) => facts(i)[0]);
    draw();
  };

  // ---- keys ----
  const DIRECTIONS = {
    ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
  };
  const step = ([dx, dy]) => {
    const { view, current, width, height } = state;
    const fromX = current < 0 ? view.invertX(width / 2) : flatX(current);
    const fromY = current < 0 ? view.invertY(height / 2) : flatY(current);
    let best = -1, least = Infinity;
    for (let i = 0; i < n; i++) {
      if (i === current || !isShown(i)) continue;
      const ex = flatX(i) - fromX, ey = flatY(i) - fromY, along = ex * dx + ey * dy;
      const aside = Math.abs(ex * dy) + Math.abs(ey * dx);
      if (along < aside || (along === 0 && current >= 0)) continue;
      const far = along + 2 * aside;
      if (far < least) [best, least] = [i, far];
    }
    if (best < 0) return;
    setCurrent(best);
    const px = view.applyX(flatX(best)), py = view.applyY(flatY(best));
    if (px < 0 || py < 0 || px > width || py > height)
      surface.call(zoom.translateTo, flatX(best), flatY(best));
  };
  const toggle = (i) => {
    const chosen = new Set(state.chosen);
    if (!chosen.delete(i)) chosen.add(i);
    select([...chosen]);
  };
  const KEYS = {
    "+": () => surface.call(zoom.scaleBy, 1.5), "=": () => surface.call(zoom.scaleBy, 1.5),
    "-": () => surface.call(zoom.scaleBy, 1 / 1.5), "0": () => surface.call(zoom.transform, d3.zoomIdentity),
    Escape: () => { setLasso(false); select([]); },
    Enter: () => state.current >= 0 && toggle(state.current),
    " ": () => state.current >= 0 && toggle(state.current),
    n: () => state.current >= 0 && select(neighbours(state.current)),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = DIRECTIONS[event.key];
    if (way && event.shiftKey)
      surface.call(zoom.translateBy, -80 * way[0] / state.view.k, -80 * way[1] / state.view.k);
    else if (way) step(way);
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) return;
    event.preventDefault();
    at("search").focus();
  });

  // ---- start ----
  at("closer").onclick = KEYS["+"];
  at("farther").onclick = KEYS["-"];
  at("whole").onclick = KEYS["0"];
  at("lasso").onclick = () => setLasso(!state.lasso);
  at("copy").onclick = copy;
  at("clear").onclick = () => select([]);
  at("search").oninput = search;
  at("colour").onchange = () => colourBy(at("colour").value);
  if (!data.styles.length) at("colour").querySelector("[value=style]").remove();
  at("doubts").hidden = !data.suspects.length;
  const suggested = new Map(data.suspects.map((i, rank) => [i, data.suggested[rank]]));
  list(at("suspects"), data.suspects, (i) => `${facts(i)[0]}, probably ${suggested.get(i)}`);
  at("now").textContent = "Point at a track, or go there with the arrow keys.";
  resize();
  // Genres of the tags tell little of a library that has few.
  at("colour").value = genre.filter((g) => g >= 0).length * 2 >= n ? "genre" : "label";
  colourBy(at("colour").value);
  new ResizeObserver(resize).observe(at("stage"));
  matchMedia("(prefers-color-scheme: dark)").onchange = () => colourBy(at("colour").value);
  document.body.dataset.ready = String(n);
})();
