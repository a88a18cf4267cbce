// Texts that wait compressed, in the page or in script files beside it, until somebody looks at them.
const index = JSON.parse(byId('index').textContent);
const waiting = new Map();
const kept = new Map();

const unpack = async (base64) => {
  const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).json();
};

window.deepcriticChunk = (name, base64) => { waiting.get(name)?.(base64); waiting.delete(name); };

const fetched = (name) => new Promise((resolve, reject) => {
  const inside = byId(`chunk-${name}`);
  if (inside) { resolve(inside.textContent); return; }
  if (!index.folder) { reject(new Error(`the page has no texts ${name}`)); return; }
  waiting.set(name, resolve);
  const script = el('script', { src: `${index.folder}/${name}.js` });
  script.nonce = document.querySelector('meta[name="nonce"]').content;
  script.addEventListener('load', () => script.remove());
  script.addEventListener('error', () => reject(new Error(`${index.folder}/${name}.js is not beside this page`)));
  document.head.append(script);
});

const chunk = (name) => {
  if (!kept.has(name)) {
    if (kept.size > 400) kept.delete(kept.keys().next().value);
    kept.set(name, fetched(name).then(unpack));
  }
  return kept.get(name);
};

// The entry `at` of a list that was cut into chunks, whose first entries are `starts`.
const entry = async (name, starts, at) => {
  if (at < 0 || !starts.length) return null;
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle] <= at) low = middle; else high = middle - 1;
  }
  return (await chunk(`${name}-${low}`))[at - starts[low]] ?? null;
};
