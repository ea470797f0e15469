"use strict";
// Enhances a page that reads without it: tabs over data sets, sortable tables, arrow keys between cells.

const ABSENT = "–";

/** Make an element; children are strings (as text, never as markup) or nodes, attributes with `null` are left out. */
function h(tag, attributes, ...children) {
  const [name, ns] = tag.startsWith("svg:") ? [tag.slice(4), "http://www.w3.org/2000/svg"] : [tag, null];
  const node = ns ? document.createElementNS(ns, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** Turn the sections of an experiment into tabs; the arrow keys move between them. */
function makeTabs(chapter) {
  const views = [...chapter.querySelectorAll(":scope > .view")];
  if (views.length < 2) return;
  const select = (index, focus) => {
    views.forEach((view, i) => {
      view.hidden = i !== index;
      buttons[i].setAttribute("aria-selected", i === index);
      buttons[i].tabIndex = i === index ? 0 : -1;
    });
    if (focus) buttons[index].focus();
  };
  const move = (event, index) => {
    const last = views.length - 1;
    const to = { ArrowRight: index < last ? index + 1 : 0, ArrowLeft: index ? index - 1 : last, Home: 0, End: last };
    if (!(event.key in to)) return;
    event.preventDefault();
    select(to[event.key], true);
  };
  const buttons = views.map((view, i) =>
    h("button", { role: "tab", type: "button", id: `tab-${view.id}`, "aria-controls": view.id,
      onclick: () => select(i), onkeydown: (event) => move(event, i) }, view.dataset.name));
  views.forEach((view) => {
    view.setAttribute("role", "tabpanel");
    view.setAttribute("aria-labelledby", `tab-${view.id}`);
    view.reveal = () => select(views.indexOf(view));
  });
  chapter.classList.add("tabbed");
  views[0].before(h("div", { class: "tabs", role: "tablist", "aria-label": "Data set and size" }, buttons));
  select(0);
}

const UNITS = { s: 1, min: 60, h: 3600 };

/** Read a cell as a number: the first one in it, durations in seconds; text stays text, an absent value is null. */
function sortKey(cell) {
  const text = cell ? cell.textContent.trim() : ABSENT;
  if (text === ABSENT || text === "") return null;
  const found = /^[±<≈~\s]*([+\-−]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?)\s*(\S*)/i.exec(text);
  if (!found) return text.toLowerCase();
  return parseFloat(found[1].replace(/,/g, "").replace("−", "-")) * (UNITS[found[2]] || 1);
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null); // what is absent comes last either way
  if (typeof a === typeof b) return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
  return typeof a === "number" ? -1 : 1;
}

/** Sort by a column: numbers fall first, text rises first, the third time brings the table's own order back. */
function sortBy(table, header, index) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => ({ row, key: sortKey(row.cells[index]) }));
  const numeric = rows.some(({ key }) => typeof key === "number");
  const cycle = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
  const next = cycle[cycle.indexOf(header.getAttribute("aria-sort")) + 1];
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  rows.sort((a, b) => a.row.dataset.place - b.row.dataset.place);
  if (next) {
    header.setAttribute("aria-sort", next);
    rows.sort((a, b) => compare(a.key, b.key, next === "ascending" ? 1 : -1));
  }
  table.classList.toggle("sorted", Boolean(next));
  body.append(...rows.map(({ row }) => row));
}

function makeSortable(table) {
  [...table.tBodies[0].rows].forEach((row, place) => (row.dataset.place = place));
  [...table.tHead.rows].at(-1).querySelectorAll("th").forEach((header, index) => {
    const button = h("button", { type: "button", title: "Sort", onclick: () => sortBy(table, header, index) });
    button.append(...header.childNodes);
    header.append(button);
  });
}

/** Let the arrow keys go from cell to cell: only the first of a row is a stop of the tab key. */
function moveInTable(event) {
  const cell = event.target.closest && event.target.closest(".results tbody th, .results tbody td");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step || event.altKey || event.ctrlKey || event.metaKey) return;
  const rows = [...cell.closest("tbody").rows];
  let [i, j] = [rows.indexOf(cell.parentNode), cell.cellIndex];
  for (i += step[0], j += step[1]; rows[i] && rows[i].cells[j]; i += step[0], j += step[1]) {
    const link = rows[i].cells[j].querySelector("a");
    if (!link) continue;
    event.preventDefault();
    link.focus();
    return;
  }
}

/** Show the tab that a link leads into. */
function revealTarget() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const view = target && target.closest(".view");
  if (view && view.reveal && view.hidden) {
    view.reveal();
    target.scrollIntoView();
  }
}

document.querySelectorAll(".chapter").forEach(makeTabs);
document.querySelectorAll("table.results").forEach(makeSortable);
document.addEventListener("keydown", moveInTable);
addEventListener("hashchange", revealTarget);
revealTarget();
