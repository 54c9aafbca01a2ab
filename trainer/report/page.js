// Values under the pointer. The page is complete without this.
for (const figure of document.querySelectorAll("figure.chart")) {
  const svg = figure.querySelector("svg"), cursor = figure.querySelector(".cursor");
  const lines = Array.from(figure.querySelectorAll("g.line"), (line) => ({
    name: line.dataset.name,
    steps: line.dataset.steps.split(",").map(Number),
    values: line.dataset.values.split(","),
  }));
  const number = (name) => Number(svg.dataset[name]);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);

  const nearest = (steps, wanted) => {
    let low = 0, high = steps.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (steps[middle] > wanted) high = middle; else low = middle;
    }
    return Math.abs(steps[high] - wanted) < Math.abs(steps[low] - wanted) ? high : low;
  };

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const left = number("left"), right = number("right"), first = number("first"), last = number("last");
    const share = Math.min(1, Math.max(0, ((event.clientX - box.left) * scale - left) / (right - left)));
    const index = nearest(lines[0].steps, first + share * (last - first)), step = lines[0].steps[index];
    const x = left + ((step - first) / (last - first)) * (right - left);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    cursor.style.visibility = "visible";
    const rows = lines.map((line) => {
      const at = nearest(line.steps, step);
      const where = line.steps[at] === step ? "" : " (step " + line.steps[at].toLocaleString("en") + ")";
      return (lines.length > 1 ? line.name + " " : "") + line.values[at] + where;
    });
    tip.textContent = ["step " + step.toLocaleString("en"), ...rows].join("\n");
    tip.hidden = false;
    const frame = figure.getBoundingClientRect(), at = box.left - frame.left + figure.scrollLeft + x / scale;
    tip.style.top = box.top - frame.top + 8 + "px";
    tip.style.left = (share > 0.6 ? at - tip.offsetWidth - 10 : at + 10) + "px";
  });
  svg.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    tip.hidden = true;
  });
}
