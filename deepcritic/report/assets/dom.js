// Elements are made here and nowhere else: texts become text nodes, and no text ever becomes markup.
const el = (name, given = {}, ...inside) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? '' : String(value));
  }
  made.append(...inside.flat(9).filter((one) => one !== null && one !== undefined && one !== false));
  return made;
};
const byId = (name) => document.getElementById(name);
const count = (number) => number.toLocaleString('en');
const empty = (node, ...inside) => { node.replaceChildren(...inside.flat(9).filter(Boolean)); return node; };
