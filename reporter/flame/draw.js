/*
 * Words, colours, the search, and the drawing of what can be seen of the tree. A row costs what its
 * width does, however many stacks there are.
 */

/* ---- words and numbers ---- */

function grouped(n) {
	return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

function time(ns) {
	const units = [["s", 1e9], ["ms", 1e6], ["\u00b5s", 1e3], ["ns", 1]];
	const [unit, size] = units.find(([, least]) => ns >= least) || units[3];
	const n = ns / size;
	return (n >= 100 || unit === "ns" ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2)) + " " + unit;
}

/* The same without noughts at the end. */
function shortTime(ns) {
	return time(ns).replace(/\.0+ | (?=\D)/, " ").replace(/(\.\d)0 /, "$1 ");
}

function amount(weight) {
	return state.samples ? grouped(weight) : time(weight);
}

function percent(part, whole) {
	return (whole > 0 ? 100 * part / whole : 0).toFixed(2) + " %";
}

function element(tag, text, name) {
	const made = document.createElement(tag);
	if (text !== undefined)
		made.textContent = text;
	if (name)
		made.className = name;
	return made;
}

/* ---- colours ---- */

const dark = matchMedia("(prefers-color-scheme: dark)");

function hashOf(text) {
	let h = 2166136261;
	for (let i = 0; i < text.length; i++)
		h = Math.imul(h ^ text.charCodeAt(i), 16777619);
	h = Math.imul(h ^ h >>> 15, 0x2c1b3c6d);
	return (h ^ h >>> 13) >>> 0;
}

/* Hue by kind; hue and lightness a little apart for each library. */
function shade(key) {
	const h = hashOf(key.library), turn = h % 7 - 3, lift = (h >>> 8) % 5 - 2, d = dark.matches;
	switch (key.kind) {
	case PYTHON:
		return [212 + turn * 5, d ? 46 : 76, (d ? 40 : 76) + lift * 2.2];
	case NATIVE:
		return [33 + turn * 3.4, d ? 56 : 90, (d ? 35 : 72) + lift * 2];
	case AWAIT:
		return [276 + turn * 4, d ? 36 : 60, (d ? 48 : 79) + lift * 1.5];
	case NOTE:
		return [225, d ? 6 : 10, d ? 36 : 83];
	default:
		return [225, d ? 14 : 22, d ? 27 : 90];
	}
}

function colour(key, dim) {
	let [h, s, l] = shade(key);
	if (dim) {
		s *= 0.25;
		l = dark.matches ? 24 : 91;
	}
	return "hsl(" + h + "," + s.toFixed(1) + "%," + l.toFixed(1) + "%)";
}

/* ---- search ---- */

/* Which keys are meant, or null for none asked; "wrong" for a broken expression. */
function meaning(query) {
	if (query === "")
		return null;
	if (query[0] === "=" && query.length > 1)
		return (key) => key.name === query.slice(1);
	const expression = /^\/(.+)\/$/.exec(query);
	if (expression) {
		try {
			const wanted = new RegExp(expression[1], "i");
			return (key) => wanted.test(key.name) || wanted.test(key.file);
		} catch (error) {
			return "wrong";
		}
	}
	const text = query.toLowerCase();
	return (key) => key.name.toLowerCase().includes(text) || key.file.toLowerCase().includes(text);
}

function search() {
	const meant = meaning(state.query);
	byId("search").classList.toggle("wrong", meant === "wrong");
	tree.found = typeof meant === "function" ? tree.keys.map((key) => key.kind !== ROOT && meant(key)) : null;
	tree.fill = tree.keys.map((key, i) => tree.found && !tree.found[i] ? colour(key, true) : colour(key, false));
}

/* Of what is in view: a stack counts once, however often a name is on it. */
function showMatched() {
	const out = byId("matched");
	if (!tree.found) {
		out.textContent = byId("search").classList.contains("wrong") ? "no expression" : "";
		return;
	}
	let weight = 0;
	const last = tree.end[state.node];
	const above = pathOf(state.node).some((node) => tree.found[tree.key[node]]);
	for (let i = above ? last : tree.rank[state.node]; i < last;) {
		const node = tree.order[i];
		if (tree.found[tree.key[node]]) {
			weight += tree.total[node];
			i = tree.end[node];
		} else {
			i++;
		}
	}
	out.textContent = percent(above ? tree.total[state.node] : weight, tree.total[state.node]) + " matched";
}

/* ---- drawing ---- */

const graph = byId("graph"), space = byId("space"), canvas = byId("canvas");
const pen = canvas.getContext("2d");
const view = {x: 0, w: 1, rows: 1, width: 0, height: 0, char: 7, moving: 0};

/* The first node of a row that ends behind a place. */
function firstBehind(row, x) {
	let low = 0, high = row.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (tree.x[row[middle]] + tree.total[row[middle]] > x)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

function top(depth) {
	return (state.flame ? view.rows - 1 - depth : depth) * ROW - graph.scrollTop;
}

function drawText(node, x, y, width, bright) {
	const key = tree.keys[tree.key[node]];
	const name = state.lines && key.from ? key.name + ":" + key.from : key.name;
	const room = Math.floor((width - 8) / view.char);
	if (room < 2)
		return;
	pen.fillStyle = bright ? "#fff" : dark.matches ? "#eceef4" : "#1a1c22";
	pen.fillText(name.length > room ? name.slice(0, room - 1) + "\u2026" : name, x + 4, y + 13.5, width - 6);
}

/* Nodes thinner than a pixel are drawn as one: a row costs no more than its width. */
function drawRow(depth) {
	const row = tree.rows[depth], y = top(depth), scale = view.width / view.w;
	const ancestor = depth < tree.depth[state.node];
	let drawn = -1;
	for (let i = firstBehind(row, view.x); i < row.length; i++) {
		const node = row[i], from = (tree.x[node] - view.x) * scale;
		const to = (tree.x[node] + tree.total[node] - view.x) * scale;
		if (from >= view.width)
			break;
		if (to <= drawn) {
			i = Math.max(i, firstBehind(row, view.x + drawn / scale) - 1);
			continue;
		}
		const left = Math.max(from, 0), right = Math.min(to, view.width);
		const width = Math.max(right - left - (right - left > 3 ? 1 : 0), 0.6);
		const found = tree.found && tree.found[tree.key[node]];
		pen.globalAlpha = ancestor ? 0.55 : 1;
		pen.fillStyle = found ? (dark.matches ? "#c43d94" : "#d6409f") : tree.fill[tree.key[node]];
		pen.fillRect(left, y, width, ROW - 1);
		if (width > 20)
			drawText(node, left, y, width, found);
		if (node === state.over || node === state.at) {
			pen.globalAlpha = 1;
			pen.strokeStyle = dark.matches ? "#fff" : "#1a1c22";
			pen.lineWidth = node === state.at ? 2 : 1;
			pen.strokeRect(left + 0.5, y + 0.5, Math.max(width - 1, 1), ROW - 2);
		}
		drawn = Math.max(to, left + 1);
	}
	pen.globalAlpha = 1;
}

function draw() {
	const ratio = window.devicePixelRatio || 1;
	pen.setTransform(ratio, 0, 0, ratio, 0, 0);
	pen.clearRect(0, 0, view.width, view.height);
	pen.font = "12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
	view.char = pen.measureText("m").width;
	if (view.w <= 0)
		return;
	for (let depth = 0; depth < view.rows; depth++) {
		const y = top(depth);
		if (y > -ROW && y < view.height)
			drawRow(depth);
	}
}

let asked = 0;
function redraw() {
	if (!asked)
		asked = requestAnimationFrame(() => { asked = 0; draw(); });
}

/* The canvas is as high as what is seen of it, and stays there while the graph scrolls behind. */
function resize() {
	const ratio = window.devicePixelRatio || 1;
	space.style.height = view.rows * ROW + "px";
	view.width = graph.clientWidth;
	view.height = Math.min(view.rows * ROW, graph.clientHeight || view.rows * ROW);
	canvas.width = Math.round(view.width * ratio);
	canvas.height = Math.round(view.height * ratio);
	canvas.style.height = view.height + "px";
	draw();
}

function deepest(node) {
	let depth = 0;
	for (let i = tree.rank[node]; i < tree.end[node]; i++)
		depth = Math.max(depth, tree.depth[tree.order[i]]);
	return depth + 1;
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function glide(x, w) {
	const from = {x: view.x, w: view.w}, begin = performance.now();
	cancelAnimationFrame(view.moving);
	function step(now) {
		const part = Math.min(Math.max((now - begin) / 160, 0), 1), eased = 1 - (1 - part) ** 3;
		view.x = from.x + (x - from.x) * eased;
		view.w = from.w + (w - from.w) * eased;
		draw();
		if (part < 1)
			view.moving = requestAnimationFrame(step);
	}
	view.moving = requestAnimationFrame(step);
}

function zoom(node, smooth) {
	state.node = node;
	view.rows = deepest(node);
	byId("empty").hidden = tree.total[0] > 0;
	graph.hidden = !(tree.total[0] > 0);
	resize();
	/* what was chosen stays in sight, with some of what is around it */
	const before = Math.max(0, tree.depth[node] - 3) * ROW;
	graph.scrollTop = state.flame ? view.rows * ROW - before - view.height : Math.min(graph.scrollTop, before);
	if (smooth && !calm.matches && !document.hidden) {
		glide(tree.x[node], tree.total[node]);
	} else {
		cancelAnimationFrame(view.moving);
		view.x = tree.x[node];
		view.w = tree.total[node];
	}
	draw();
	showPath();
	showMatched();
	showTop();
}

