(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Theme: the button says what it would change to
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const named = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", dark() ? "Light theme" : "Dark theme");
    button.setAttribute("aria-pressed", String(dark()));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("popk-theme", root.dataset.theme); } catch {}
    named();
  });
  system.addEventListener("change", named);
  named();

  // Tables: each heading is a button that sorts; a field that filters rows
  const key = (row, place, numeric) => {
    const cell = row.cells[place];
    if (!numeric) return cell.textContent.trim();
    const value = parseFloat(cell.dataset.value ?? cell.textContent);
    return Number.isNaN(value) ? null : value;
  };
  const order = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
  };
  for (const table of all("table.tools")) {
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    heads.forEach((head, place) => {
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.append(...head.childNodes);
      head.append(sorter);
      head.setAttribute("aria-sort", "none");
      sorter.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const numeric = head.classList.contains("number");
        const keyed = [...body.rows].map((row) => [key(row, place, numeric), row]);
        keyed.sort(([a], [b]) => {
          // What has no number stays last, whichever way
          if (a === null || b === null) return order(a, b);
          return down ? order(b, a) : order(a, b);
        });
        body.append(...keyed.map(([, row]) => row));
      });
    });
  }
  for (const field of all(".search input")) {
    const rows = [...document.getElementById(field.dataset.of).tBodies[0].rows];
    const status = field.parentElement.querySelector("[role=status]");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      status.textContent = words.length ? `${shown} of ${rows.length}` : "";
    });
  }

  // Charts: drawn when they come near, the rest when there is nothing else to do
  const specs = JSON.parse(document.getElementById("specs").textContent);
  const begun = new Set();
  const draw = async (place) => {
    const spec = specs[place.dataset.chart];
    if (!spec || begun.has(place) || typeof vegaEmbed === "undefined") return;
    begun.add(place);
    try {
      const options = { renderer: "svg", actions: false, ast: false, mode: "vega-lite" };
      await vegaEmbed(place, spec, options);
    } catch (error) {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  };
  const places = all("[data-chart]");
  const near = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (one.isIntersecting) {
        near.unobserve(one.target);
        draw(one.target);
      }
    }
  }, { rootMargin: "600px" });
  places.forEach((place) => near.observe(place));
  const hiddenly = async (leaf) => {
    // A hidden page has no width: it is measured aside
    const aside = leaf.hidden;
    leaf.classList.toggle("measured", aside);
    await Promise.all(all("[data-chart]", leaf).map(draw));
    leaf.classList.remove("measured");
  };
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 200));
  const waiting = () => {
    const next = places.find((place) => !begun.has(place));
    if (!next) {
      root.dataset.drawn = "all";
      return;
    }
    idle(async () => {
      const leaf = next.closest(".leaf");
      await (leaf ? hiddenly(leaf) : draw(next));
      waiting();
    });
  };
  if (places.length && typeof vegaEmbed !== "undefined") waiting();
  else root.dataset.drawn = "all";

  // Pages of figures: buttons, a list, arrow keys
  for (const gallery of all(".gallery")) {
    const leaves = all(".leaf", gallery);
    const [back, on] = all("[data-turn]", gallery);
    const list = gallery.querySelector("select");
    const where = gallery.querySelector(".where");
    let page = 0;
    const turn = (to) => {
      page = Math.min(Math.max(to, 0), leaves.length - 1);
      leaves.forEach((leaf, i) => { leaf.hidden = i !== page; });
      back.disabled = page === 0;
      on.disabled = page === leaves.length - 1;
      where.textContent = `page ${page + 1} of ${leaves.length}`;
      all("[data-chart]", leaves[page]).forEach(draw);
      window.dispatchEvent(new Event("resize"));
    };
    const follow = () => {
      list.selectedIndex = [...list.options].findIndex((o) => Number(o.value) === page);
    };
    for (const one of [back, on]) {
      one.addEventListener("click", () => { turn(page + Number(one.dataset.turn)); follow(); });
    }
    list.addEventListener("change", () => turn(Number(list.value)));
    gallery.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: page - 1, ArrowRight: page + 1, Home: 0, End: leaves.length - 1 }[event.key];
      if (to === undefined || event.target === list) return;
      event.preventDefault();
      turn(to);
      follow();
    });
    turn(0);
  }

  // Tables that go on to the right say so at their edge
  const edges = () => all(".scroll").forEach((one) => {
    one.classList.toggle("more", one.scrollLeft + one.clientWidth < one.scrollWidth - 2);
  });
  all(".scroll").forEach((one) => one.addEventListener("scroll", edges, { passive: true }));
  window.addEventListener("resize", edges);
  edges();

  // Copying, contents, printing
  for (const one of all(".copy")) {
    one.addEventListener("click", async () => {
      const own = document.getElementById(one.dataset.of);
      try {
        await navigator.clipboard.writeText(own.innerText);
        one.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(own);
        one.textContent = "Selected";
      }
      setTimeout(() => { one.textContent = "Copy"; }, 1500);
    });
  }
  const links = new Map(all(".contents a").map((link) => [link.hash.slice(1), link]));
  const reading = new IntersectionObserver((seen) => {
    for (const one of seen) {
      if (!one.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(one.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  links.forEach((_, name) => reading.observe(document.getElementById(name)));
  const contents = document.querySelector(".contents details");
  contents.open = matchMedia("(min-width: 68rem)").matches;
  const paper = matchMedia("print");
  const unfold = () => all("details.folded").forEach((folded) => { folded.open = true; });
  paper.addEventListener("change", () => { if (paper.matches) unfold(); });
  window.addEventListener("beforeprint", unfold);
})();
