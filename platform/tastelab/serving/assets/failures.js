"use strict";
// Hides the impressions that do not hold every word that was typed.

const form = document.querySelector(".filter");
const field = form.querySelector("input");
const count = form.querySelector("output");
const articles = [...document.querySelectorAll("article")].map((node) => [node, node.textContent.toLowerCase()]);

function filter() {
  const words = field.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const [node, text] of articles) {
    node.hidden = !words.every((word) => text.includes(word));
    shown += !node.hidden;
  }
  count.textContent = `${shown} of ${articles.length}`;
}

form.hidden = false;
form.addEventListener("submit", (event) => event.preventDefault());
field.addEventListener("input", filter);
filter();
