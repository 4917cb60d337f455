/*
 * The recording (its lists are explained in reporter/encode_html.c), and what is equal in the chosen view
 * merged to a tree. embed.py puts the scripts of the page together, this one first.
 */

/* ---- the recording ---- */

const data = JSON.parse(document.getElementById("recording").textContent);
const PYTHON = 0, NATIVE = 1, AWAIT = 2, NOTE = 3, THREAD = 4, ROOT = 5;
const KINDS = ["Python", "native", "await", "note", "thread", "all"];
const ROW = 19;
const byId = (id) => document.getElementById(id);

/* What cannot be seen, or turns the direction of what follows. */
function visible(text) {
	return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");
}

const texts = data.texts.map(visible);
const frames = data.frames;
const nodeCount = data.nodes.length / 2 + 1;
const parentOf = new Int32Array(nodeCount);
const frameOf = new Int32Array(nodeCount);
for (let i = 1; i < nodeCount; i++) {
	parentOf[i] = i - data.nodes[2 * i - 2];
	frameOf[i] = data.nodes[2 * i - 1];
}

/* Threads of one name are one; those without stay alone. */
const groups = [];
const groupOf = [];
(function () {
	const seen = new Map();
	for (let i = 0; i < data.threads.length; i += 2) {
		const tid = data.threads[i], name = texts[data.threads[i + 1]];
		const key = name === "" ? "#" + tid : "=" + name;
		if (!seen.has(key)) {
			seen.set(key, groups.length);
			groups.push({name: name || "thread " + tid, tids: [], on: true, weight: 0, count: 0});
		}
		groups[seen.get(key)].tids.push(tid);
		groupOf.push(seen.get(key));
	}
})();
const sumCount = data.sums.length / 4;
const sumOrder = Array.from({length: sumCount}, (_, i) => i);
for (let i = 0; i < sumCount; i++) {
	const group = groups[groupOf[data.sums[4 * i]]];
	group.count += data.sums[4 * i + 2];
	group.weight += data.sums[4 * i + 3];
}
sumOrder.sort((a, b) => groupOf[data.sums[4 * a]] - groupOf[data.sums[4 * b]] || a - b);

const state = {byThread: groups.length > 1 && groups.length <= 16, lines: false, samples: false,
	flame: false, query: "", node: 0, over: -1, at: -1, sort: "self", rows: 40};

/* ---- what a frame is called, and what is one ---- */

function baseName(path) {
	return path.slice(path.lastIndexOf("/") + 1);
}

function frameName(kind, name, file, offset) {
	if (name !== "")
		return name;
	return kind === NATIVE && file !== "" ? baseName(file) + "+0x" + offset.toString(16) : "?";
}

/* What shares a shade: a library, a package, a folder. */
function libraryOf(kind, file) {
	const path = file.split("/");
	const site = Math.max(path.lastIndexOf("site-packages"), path.lastIndexOf("dist-packages"));
	if (kind === NATIVE)
		return baseName(file);
	if (site >= 0 && site + 1 < path.length)
		return path[site + 1];
	if (/\/lib\/python\d/.test(file) || file.startsWith("<frozen"))
		return "standard library";
	return path.slice(0, -1).join("/");
}

/* Keys: frames that are one in the chosen view. Returns them, and the key of each frame. */
function makeKeys(lines) {
	const keys = [{kind: ROOT, name: "all", file: "", library: "", from: 0, to: 0}];
	const seen = new Map(), keyOf = new Int32Array(frames.length / 5);
	for (let i = 0; i < keyOf.length; i++) {
		const kind = frames[5 * i], file = texts[frames[5 * i + 2]], line = frames[5 * i + 3];
		const name = frameName(kind, texts[frames[5 * i + 1]], file, frames[5 * i + 4]);
		const what = kind + "\u0000" + name + "\u0000" + file + (lines ? "\u0000" + line : "");
		let key = seen.get(what);
		if (key === undefined) {
			key = keys.length;
			seen.set(what, key);
			keys.push({kind, name, file, library: libraryOf(kind, file), from: line, to: line});
		}
		keyOf[i] = key;
		if (line) {
			keys[key].from = Math.min(keys[key].from || line, line);
			keys[key].to = Math.max(keys[key].to, line);
		}
	}
	groups.forEach((group) => {
		group.key = keys.length;
		keys.push({kind: THREAD, name: group.name, file: "", library: "", from: 0, to: 0});
	});
	return {keys, keyOf};
}

function where(key) {
	if (!key.from)
		return key.file;
	return key.file + ":" + key.from + (key.to > key.from ? "\u2013" + key.to : "");
}

/* ---- the merged tree ---- */

let tree;

/* Nodes in the order in which they were met: a parent before its children. */
function mergeStacks(keyOf, keyCount) {
	const key = [0], up = [-1], depth = [0], self = [0];
	const find = new Map(), memo = new Int32Array(nodeCount).fill(-1);
	let touched = [], group = -1, base = 0;

	function child(parent, k) {
		const id = parent * keyCount + k;
		let node = find.get(id);
		if (node === undefined) {
			node = key.length;
			find.set(id, node);
			key.push(k);
			up.push(parent);
			depth.push(depth[parent] + 1);
			self.push(0);
		}
		return node;
	}
	function resolve(raw) {
		const path = [];
		for (; raw !== 0 && memo[raw] < 0; raw = parentOf[raw])
			path.push(raw);
		let node = raw ? memo[raw] : base;
		while (path.length) {
			raw = path.pop();
			node = memo[raw] = child(node, keyOf[frameOf[raw]]);
			touched.push(raw);
		}
		return node;
	}
	for (const i of sumOrder) {
		const g = groupOf[data.sums[4 * i]];
		if (!groups[g].on)
			continue;
		if (state.byThread && g !== group) {
			touched.forEach((raw) => { memo[raw] = -1; });
			touched = [];
			base = child(0, groups[g].key);
		}
		group = g;
		self[resolve(data.sums[4 * i + 1])] += data.sums[4 * i + (state.samples ? 2 : 3)];
	}
	return {key, up, depth, self};
}

/* Totals, children by weight, and everything in the order of walking. */
function arrange(t) {
	const n = t.key.length, total = Float64Array.from(t.self);
	const first = new Int32Array(n + 1), kids = new Int32Array(n);
	for (let i = n - 1; i > 0; i--)
		total[t.up[i]] += total[i];
	for (let i = 1; i < n; i++)
		first[t.up[i] + 1]++;
	for (let i = 0; i < n; i++)
		first[i + 1] += first[i];
	const fill = first.slice();
	for (let i = 1; i < n; i++)
		kids[fill[t.up[i]]++] = i;
	const name = (i) => t.keys[t.key[i]].name;
	for (let i = 0; i < n; i++) {
		if (first[i + 1] - first[i] > 1)
			kids.subarray(first[i], first[i + 1]).sort((a, b) => total[b] - total[a] ||
				(name(a) < name(b) ? -1 : name(a) > name(b) ? 1 : a - b));
	}
	return Object.assign(t, {total, first, kids});
}

/* Where each node begins, which come in each row, and where its last descendant is. */
function place(t) {
	const n = t.key.length, x = new Float64Array(n), order = new Int32Array(n);
	const rank = new Int32Array(n), end = new Int32Array(n), rows = [];
	const stack = [0];
	let met = 0;
	while (stack.length) {
		const node = stack.pop();
		rank[node] = met;
		order[met++] = node;
		(rows[t.depth[node]] = rows[t.depth[node]] || []).push(node);
		let at = x[node];
		for (let i = t.first[node]; i < t.first[node + 1]; i++) {
			x[t.kids[i]] = at;
			at += t.total[t.kids[i]];
		}
		for (let i = t.first[node + 1] - 1; i >= t.first[node]; i--)
			stack.push(t.kids[i]);
	}
	for (let i = 0; i < n; i++)
		end[i] = rank[i] + 1;
	for (let i = n - 1; i > 0; i--) {
		const parent = t.up[order[i]];
		end[parent] = Math.max(end[parent], end[order[i]]);
	}
	return Object.assign(t, {x, order, rank, end, rows});
}

/* The node of a path of names in the new tree, as far as it is there. */
function follow(path) {
	let node = 0;
	for (const name of path) {
		let next = -1;
		for (let i = tree.first[node]; i < tree.first[node + 1] && next < 0; i++) {
			if (tree.keys[tree.key[tree.kids[i]]].name === name)
				next = tree.kids[i];
		}
		if (next < 0)
			break;
		node = next;
	}
	return node;
}

function pathOf(node) {
	const path = [];
	for (; node > 0; node = tree.up[node])
		path.unshift(node);
	return path;
}
