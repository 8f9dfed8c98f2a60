"use strict";
// Tables sort by a click on a heading and filter by words and bounds; the theme changes. Without this script the page is
// complete, only still. A long table's further rows are stored as values, so that both reach all of them.
const page = (() => {
  const numberOf = (text) => {
    const number = Number.parseFloat(text.replaceAll(",", "").replaceAll("−", "-"));
    return Number.isNaN(number) ? null : number;
  };
  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");

  // --- tables -------------------------------------------------------------------------------------------------------

  class Table {
    constructor(holder) {
      this.holder = holder;
      const table = holder.querySelector("table");
      this.body = table.tBodies[0];
      this.headings = [...table.tHead.rows[0].cells];
      this.numeric = this.headings.map((heading) => heading.classList.contains("number"));
      this.names = this.headings.map((heading) => plain(heading.textContent));
      this.most = Number(holder.dataset.most);
      const store = holder.querySelector(":scope > script");
      this.rows = store ? this.stored(JSON.parse(store.textContent)) : [...this.body.rows].map((row) => this.read(row));
      if (store) for (const [index, row] of [...this.body.rows].entries()) this.rows[index].element = row;  // the first stand there
      this.order = this.rows.map((_, index) => index);
      this.query = "";
      this.further = [];
      this.only = null;  // rows that something else has chosen
      this.headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => this.sort(column)));
      this.input = holder.querySelector(".filter input");
      this.output = holder.querySelector(".filter output");
      this.input?.addEventListener("input", () => { this.query = this.input.value; this.filter(); });
    }

    read(element) {
      const cells = [...element.cells];
      return {
        element,
        texts: cells.map((cell) => cell.textContent.trim()),
        values: cells.map((cell, column) => this.numeric[column] ? (cell.dataset.v === undefined ? null : Number(cell.dataset.v)) : null),
      };
    }

    stored(columns) {
      const textOf = (column, row) => column.at ? column.texts[column.at[row]] : column.texts[row];
      const count = (columns[0].at ?? columns[0].texts).length;
      return Array.from({length: count}, (_, row) => ({
        element: null,
        texts: columns.map((column) => textOf(column, row)),
        values: columns.map((column, place) =>
          !this.numeric[place] ? null : column.values ? column.values[row] : numberOf(textOf(column, row))),
        swatches: columns.map((column) => column.swatches?.[row]),
      }));
    }

    element(index) {
      const row = this.rows[index];
      if (!row.element) {
        row.element = document.createElement("tr");
        row.texts.forEach((text, column) => {
          const cell = row.element.insertCell();
          cell.textContent = text;
          if (this.numeric[column]) cell.className = "number";
          else if (text.length > 80) cell.className = "long";
          if (row.swatches[column]) {
            const swatch = document.createElement("span");
            swatch.className = "swatch";
            swatch.style.background = `var(--${row.swatches[column]})`;
            cell.prepend(swatch);
          }
        });
        this.paint(index);
      }
      return row.element;
    }

    // Let what draws the same rows say their colours: `colourOf` gives a row's variable of the style sheet.
    recolour(colourOf) {
      this.colourOf = colourOf;
      for (const [index, row] of this.rows.entries()) if (row.element) this.paint(index);
    }

    paint(index) {
      const swatch = this.rows[index].element.querySelector(".swatch");
      if (swatch && this.colourOf) swatch.style.background = `var(--${this.colourOf(index)})`;
    }

    sort(column) {
      const heading = this.headings[column];
      const before = heading.getAttribute("aria-sort");
      const order = before === "none" ? (this.numeric[column] ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
      for (const other of this.headings) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const key = this.rows.map((row) => this.numeric[column] ? row.values[column] : row.texts[column]);
      const collator = new Intl.Collator("en", {numeric: true});
      this.order.sort((a, b) => {
        if (key[a] === null || key[b] === null) return (key[a] === null) - (key[b] === null);  // missing comes last either way
        return sign * (this.numeric[column] ? key[a] - key[b] : collator.compare(key[a], key[b]));
      });
      this.show();
    }

    // Words that a row has to contain, and bounds such as ap>40 or params<=5, by the beginning of a heading.
    filter() {
      const terms = [];  // [words of the query, test]
      this.unknown = [];
      for (const word of this.query.trim().replace(/\s*(<=|>=|<|>|=)\s*/g, "$1").split(/\s+/).filter(Boolean)) {
        const bound = /^(.+?)(<=|>=|<|>|=)([-−]?[\d.,]+)$/.exec(word);
        // A heading may have two words: of those before, as many as are in it are the bound's and not terms of their own.
        const before = bound ? [2, 1, 0].find((count) => terms.length >= count && this.column(terms.slice(terms.length - count).map(([text]) => text).join("") + bound[1]) >= 0) : undefined;
        if (before === undefined) {
          if (bound) this.unknown.push(bound[1]);
          terms.push([word, (row) => (row.lower ??= row.texts.join(" ").toLowerCase()).includes(word.toLowerCase())]);
          continue;
        }
        const column = this.column(terms.splice(terms.length - before).map(([text]) => text).join("") + bound[1]);
        const limit = numberOf(bound[3]);
        const holds = {"<=": (v) => v <= limit, ">=": (v) => v >= limit, "<": (v) => v < limit, ">": (v) => v > limit, "=": (v) => v === limit}[bound[2]];
        const read = column < this.names.length ? (row) => row.values[column] : (_, index) => this.further[column - this.names.length].values[index];
        terms.push([word, (row, index) => read(row, index) !== null && holds(read(row, index))]);
      }
      this.kept = new Set([...this.rows.keys()].filter((index) => terms.every(([, test]) => test(this.rows[index], index)) && (!this.only || this.only.has(index))));
      this.show();
      this.holder.dispatchEvent(new CustomEvent("kept", {detail: this.kept}));
    }

    // Let bounds name numbers that no column shows: a value for each row.
    know(name, values) {
      this.further.push({name: plain(name), values});
    }

    column(text) {
      const wanted = plain(text);
      const fits = (test) => this.names.findIndex((name, column) => this.numeric[column] && test(name));
      const exact = fits((name) => name === wanted);
      if (exact >= 0 || !wanted) return exact;
      const begins = fits((name) => name.startsWith(wanted));
      if (begins >= 0) return begins;
      const further = this.further.findIndex(({name}) => name === wanted);
      return further < 0 ? -1 : this.names.length + further;
    }

    show() {
      const kept = this.kept ? this.order.filter((index) => this.kept.has(index)) : this.order;
      this.body.replaceChildren(...kept.slice(0, this.most).map((index) => this.element(index)));
      if (this.output) {
        const unknown = this.unknown?.length ? `; no column of numbers is called ${this.unknown.join(", ")}` : "";
        this.output.textContent = `${kept.length.toLocaleString("en")} row${kept.length === 1 ? "" : "s"}${unknown}`;
      }
      const more = this.holder.querySelector(".more");
      if (this.rows.length > this.most) {
        more.textContent = kept.length > this.most ? `The first ${this.most.toLocaleString("en")} of ${kept.length.toLocaleString("en")} rows. ` : "";
      }
      this.holder.dispatchEvent(new Event("shown"));
    }
  }

  const tables = new Map();
  for (const holder of document.querySelectorAll(".table")) tables.set(holder.id, new Table(holder));

  // --- theme --------------------------------------------------------------------------------------------------------

  const button = document.getElementById("theme");
  const themes = ["system", "light", "dark"];
  const show = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    document.dispatchEvent(new Event("theme"));
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "system";
    show(themes[(themes.indexOf(now) + 1) % themes.length]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("theme")));

  return {tables};
})();
