/*
 * What is beside the graph, and what the mouse and the keys do. Names are hostile: they go into the
 * page as text only.
 */

/* ---- what is beside the graph ---- */

function showAbout() {
	const names = {"cpu": "CPU time", "wall": "Wall time", "off-cpu": "Off-CPU time"};
	const program = texts[data.program] || "pid " + data.pid;
	const facts = byId("facts"), totals = byId("totals");
	document.title = names[data.mode] + " of " + program;
	byId("program").textContent = program;
	byId("program").title = program;
	facts.append(element("b", names[data.mode]), " \u00b7 pid " + data.pid + " \u00b7 " +
		new Date(data.start_ms).toISOString().replace("T", " ").replace(/\.\d+Z/, " UTC") + " \u00b7 " +
		shortTime(data.duration_ns) + ", every " + shortTime(data.period_ns));
	totals.append(grouped(data.taken) + " samples taken of " + grouped(data.due) + " due \u00b7 ");
	for (const what of ["missed", "lost"]) {
		const bad = data[what] * 100 > data.due;
		totals.append(element("span", grouped(data[what]) + " " + what +
			(bad ? " (" + percent(data[what], data.due) + ")" : ""), bad ? "bad" : ""));
		totals.append(what === "missed" ? " \u00b7 " : "");
	}
}

function showLegend() {
	const sums = [0, 0, 0, 0], legend = byId("legend");
	for (let i = 0; i < tree.key.length; i++) {
		const kind = tree.keys[tree.key[i]].kind;
		if (kind <= NOTE)
			sums[kind] += tree.self[i];
	}
	legend.textContent = "";
	for (let kind = 0; kind <= NOTE; kind++) {
		if (!tree.keys.some((key) => key.kind === kind))
			continue;
		const item = element("li"), dot = element("i");
		dot.style.background = colour({kind, library: ""}, false);
		item.append(dot, KINDS[kind] + " " + percent(sums[kind], tree.total[0]));
		legend.append(item);
	}
}

function showPath() {
	const nav = byId("path"), path = [0].concat(pathOf(state.node));
	const shown = path.length > 8 ? path.slice(0, 3).concat([-1], path.slice(-4)) : path;
	nav.textContent = "";
	shown.forEach((node, i) => {
		if (i)
			nav.append("\u203a");
		if (node < 0) {
			nav.append(" \u2026 ");
			return;
		}
		const button = element("button", tree.keys[tree.key[node]].name);
		button.type = "button";
		button.disabled = node === state.node;
		button.onclick = () => zoom(node, true);
		nav.append(button);
	});
	nav.append(element("span", amount(tree.total[state.node]) + (state.samples ? " samples" : "") + ", " +
		percent(tree.total[state.node], tree.total[0]), "much"));
}

/* Self and total of each key in view; recursion counts once. */
function tally() {
	const self = new Float64Array(tree.keys.length), total = new Float64Array(tree.keys.length);
	const open = new Int32Array(tree.keys.length), path = [];
	for (let i = tree.rank[state.node]; i < tree.end[state.node]; i++) {
		const node = tree.order[i], key = tree.key[node];
		while (path.length > tree.depth[node] - tree.depth[state.node])
			open[path.pop()]--;
		self[key] += tree.self[node];
		if (!open[key])
			total[key] += tree.total[node];
		open[key]++;
		path.push(key);
	}
	return {self, total};
}

function cell(row, text, name, share) {
	const made = element("td", text, name);
	if (share !== undefined)
		made.style.backgroundSize = Math.min(100 * share, 100).toFixed(1) + "% 3px";
	row.append(made);
	return made;
}

function addRow(body, k, self, total, whole) {
	const key = tree.keys[k], row = element("tr"), dot = element("i"), button = element("button", key.name);
	cell(row, amount(self), "number");
	cell(row, percent(self, whole), "number share", self / whole);
	cell(row, amount(total), "number");
	cell(row, percent(total, whole), "number share", total / whole);
	dot.style.background = colour(key, false);
	button.type = "button";
	button.title = "Show where it is";
	button.onclick = () => setQuery(state.query === "=" + key.name ? "" : "=" + key.name);
	cell(row, "", "name").append(dot, button, element("small", where(key)));
	cell(row, where(key), "where");
	row.classList.toggle("found", Boolean(tree.found && tree.found[k]));
	body.append(row);
}

function showTop() {
	const {self, total} = tally(), body = byId("top").tBodies[0], whole = tree.total[state.node];
	const by = state.sort === "self" ? [self, total] : [total, self], listed = [];
	tree.keys.forEach((key, k) => {
		if (key.kind <= NOTE && total[k] > 0)
			listed.push(k);
	});
	listed.sort((a, b) => by[0][b] - by[0][a] || by[1][b] - by[1][a] || a - b);
	body.textContent = "";
	listed.slice(0, state.rows).forEach((k) => addRow(body, k, self[k], total[k], whole));
	byId("by-self").setAttribute("aria-pressed", state.sort === "self");
	byId("by-total").setAttribute("aria-pressed", state.sort === "total");
	byId("scope").textContent = state.node ? "within " + tree.keys[tree.key[state.node]].name : "";
	byId("more").hidden = listed.length <= state.rows;
	byId("more").textContent = "More: " + grouped(listed.length - state.rows) + " not shown";
}

function showThreads() {
	const on = groups.filter((group) => group.on).length, summary = byId("threads").firstChild;
	summary.textContent = on === groups.length ? "All threads (" + on + ")" : on + " of " + groups.length + " threads";
	summary.classList.toggle("some", on < groups.length);
	byId("threads-list").querySelectorAll("input").forEach((box, i) => { box.checked = groups[box.value].on; });
}

function listThreads() {
	const whole = groups.reduce((sum, group) => sum + group.weight, 0);
	const order = groups.map((_, i) => i).sort((a, b) => groups[b].weight - groups[a].weight || a - b);
	for (const i of order) {
		const group = groups[i], label = element("label"), box = element("input"), item = element("li");
		box.type = "checkbox";
		box.value = i;
		box.onchange = () => { group.on = box.checked; rebuild(); };
		label.append(box, element("span", group.name + (group.tids.length > 1 ? " \u00d7 " + group.tids.length : "")),
			element("small", percent(group.weight, whole)));
		label.title = group.tids.slice(0, 20).join(", ");
		item.append(label);
		byId("threads-list").append(item);
	}
}

/* ---- the tip ---- */

const tip = byId("tip");

function fillTip(node) {
	const key = tree.keys[tree.key[node]], list = element("dl"), within = tree.total[state.node];
	tip.textContent = "";
	tip.append(element("b", key.name));
	if (key.file !== "")
		tip.append(element("span", where(key), "file"));
	tip.append(element("span", KINDS[key.kind], "file"));
	for (const [name, weight] of [["total", tree.total[node]], ["self", tree.self[node]]])
		list.append(element("dt", name), element("dd", amount(weight)), element("dd", percent(weight, tree.total[0])),
			element("dd", state.node ? percent(weight, within) + " of view" : ""));
	tip.append(list);
}

function showTip(node, x, y) {
	tip.hidden = node < 0;
	if (node < 0)
		return;
	fillTip(node);
	const width = tip.offsetWidth, height = tip.offsetHeight;
	tip.style.left = Math.max(8, Math.min(x + 14, innerWidth - width - 8)) + "px";
	tip.style.top = (y + 18 + height > innerHeight ? Math.max(8, y - height - 10) : y + 18) + "px";
}

/* ---- the mouse and the keys ---- */

function nodeAt(event) {
	const box = canvas.getBoundingClientRect();
	const row = Math.floor((event.clientY - box.top + graph.scrollTop) / ROW);
	const depth = state.flame ? view.rows - 1 - row : row;
	const x = view.x + (event.clientX - box.left) / view.width * view.w;
	if (depth < 0 || depth >= view.rows || !tree.rows[depth])
		return -1;
	const node = tree.rows[depth][firstBehind(tree.rows[depth], x)];
	return node !== undefined && tree.x[node] <= x ? node : -1;
}

function walk(step) {
	const at = state.at < 0 ? state.node : state.at, up = tree.up[at];
	const kids = up < 0 ? [] : Array.from(tree.kids.subarray(tree.first[up], tree.first[up + 1]));
	const next = {in: tree.kids[tree.first[at]], out: up, left: kids[kids.indexOf(at) - 1],
		right: kids[kids.indexOf(at) + 1]}[step];
	const there = state.at < 0 ? at : step === "in" && tree.first[at] === tree.first[at + 1] ? undefined : next;
	if (there === undefined || there < 0)
		return;
	state.at = there;
	if (tree.rank[there] < tree.rank[state.node] || tree.rank[there] >= tree.end[state.node])
		zoom(there, true);
	const y = top(tree.depth[there]);
	if (y < 0 || y + ROW > view.height)
		graph.scrollTop += y < 0 ? y : y + ROW - view.height;
	draw();
	const box = canvas.getBoundingClientRect();
	showTip(there, box.left + Math.max(0, (tree.x[there] - view.x) / view.w * view.width), box.top + top(tree.depth[there]));
}

function setQuery(query) {
	state.query = query;
	byId("search").value = query;
	search();
	showMatched();
	showTop();
	draw();
}

function toggle(id, field) {
	state[field] = !state[field];
	byId(id).setAttribute("aria-pressed", state[field]);
	if (field === "flame")
		zoom(state.node, false);
	else
		rebuild();
}

function back() {
	showTip(-1);
	if (byId("threads").open)
		byId("threads").open = false;
	else if (state.query !== "")
		setQuery("");
	else
		zoom(0, true);
	state.at = -1;
	draw();
}

function pressed(event) {
	const steps = state.flame ? {ArrowUp: "in", ArrowDown: "out"} : {ArrowUp: "out", ArrowDown: "in"};
	const key = event.key;
	if (event.ctrlKey || event.altKey || event.metaKey || byId("keys").open)
		return;
	if (key === "Escape") {
		if (event.target.tagName === "INPUT")
			event.target.blur();
		back();
	} else if (event.target.tagName === "INPUT" && event.target.type === "search") {
		return;
	} else if (event.target === canvas && (key.startsWith("Arrow") || key === "Enter")) {
		if (key === "Enter" && state.at >= 0)
			zoom(state.at, true);
		else if (key !== "Enter")
			walk(steps[key] || key.slice(5).toLowerCase());
	} else if (key === "/") {
		byId("search").focus();
		byId("search").select();
	} else if (key === "Backspace") {
		zoom(Math.max(tree.up[state.node], 0), true);
	} else if (key === "?") {
		byId("keys").showModal();
	} else {
		const [id, field] = {i: ["flip", "flame"], t: ["by-thread", "byThread"], l: ["lines", "lines"],
			s: ["unit", "samples"]}[key] || [];
		if (!id)
			return;
		toggle(id, field);
	}
	event.preventDefault();
}

function listen() {
	const search = byId("search");
	let waiting = 0;
	search.oninput = () => { clearTimeout(waiting); waiting = setTimeout(search.onchange, 60); };
	search.onchange = () => { clearTimeout(waiting); setQuery(search.value); };
	canvas.onmousemove = (event) => {
		state.over = nodeAt(event);
		showTip(state.over, event.clientX, event.clientY);
		redraw();
	};
	canvas.onmouseleave = () => { state.over = -1; showTip(-1); redraw(); };
	canvas.onclick = (event) => {
		const node = nodeAt(event);
		if (node >= 0)
			zoom(node, true);
	};
	graph.onscroll = () => {
		if (state.at < 0)
			showTip(-1);
		redraw();
	};
	[["flip", "flame"], ["by-thread", "byThread"], ["lines", "lines"], ["unit", "samples"]].forEach(([id, field]) => {
		byId(id).setAttribute("aria-pressed", state[field]);
		byId(id).onclick = () => toggle(id, field);
	});
	for (const [id, on] of [["threads-all", true], ["threads-none", false]])
		byId(id).onclick = () => { groups.forEach((group) => { group.on = on; }); rebuild(); };
	for (const sort of ["self", "total"])
		byId("by-" + sort).onclick = () => { state.sort = sort; showTop(); };
	byId("more").onclick = () => { state.rows *= 5; showTop(); };
	byId("help").onclick = () => byId("keys").showModal();
	document.addEventListener("keydown", pressed);
	document.addEventListener("click", (event) => {
		if (!byId("threads").contains(event.target))
			byId("threads").open = false;
	});
	addEventListener("resize", resize);
	dark.addEventListener("change", recolour);
}

/* The system went from light to dark, or back. */
function recolour() {
	search();
	showLegend();
	showTop();
	draw();
}

/* ---- the beginning ---- */

/* After each choice of what is merged; the zoom stays as far as its path is there. */
function rebuild() {
	const path = tree ? pathOf(state.node).map((node) => tree.keys[tree.key[node]].name) : [];
	const made = makeKeys(state.lines);
	tree = mergeStacks(made.keyOf, made.keys.length);
	tree.keys = made.keys;
	place(arrange(tree));
	state.over = state.at = -1;
	state.node = follow(path);
	search();
	zoom(state.node, false);
	showLegend();
	showThreads();
}

document.querySelector("main").hidden = false;
showAbout();
listThreads();
listen();
rebuild();
byId("broken").hidden = true;
