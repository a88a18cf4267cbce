// Texts that anybody may have written: mathematics typeset within limits, everything else shown as it is, also what cannot be seen.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/u;
const EVERY_UNSEEN = new RegExp(UNSEEN.source, 'gu');
const REFUSED = /\\(?:href|url|includegraphics|html[A-Za-z]*|def|gdef|edef|xdef|let|newcommand|renewcommand|providecommand)(?![A-Za-z])/;
const ENVIRONMENTS = ['align', 'align*', 'aligned', 'equation', 'equation*', 'gather', 'gather*', 'gathered', 'array', 'matrix', 'pmatrix', 'bmatrix', 'vmatrix', 'cases'];
const MOST_TYPESET = 20000;
const MOST_FORMULAS = 300;
const MOST_SHOWN = 12000;
const KATEX = { output: 'html', throwOnError: true, strict: 'ignore', trust: false, maxSize: 8, maxExpand: 200 };

const visible = (text) => {
  const nodes = [];
  let from = 0;
  for (const found of text.replace(/\r\n/g, '\n').matchAll(EVERY_UNSEEN)) {
    nodes.push(found.input.slice(from, found.index));
    const code = found[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    nodes.push(el('span', { class: 'ctl' }, `U+${code}`));
    from = found.index + found[0].length;
  }
  nodes.push(text.replace(/\r\n/g, '\n').slice(from));
  return nodes;
};

const closing = (text, from, end) => {
  for (let at = from; at < Math.min(text.length, from + 2000); at += 1) {
    if (text.startsWith(end, at)) return at;
    if (text[at] === '\\') at += 1;
  }
  return -1;
};

// A formula that begins at `at`: [the TeX, whether it stands by itself, the place behind it], or null. A dollar opens one only
// before what is not a space, and closes it only behind what is not a space and before what is not a digit: prices stay prices.
const formula = (text, at) => {
  const pairs = [['$$', '$$', true], ['\\[', '\\]', true], ['\\(', '\\)', false]];
  for (const [begin, end, display] of pairs) {
    if (text.startsWith(begin, at)) {
      const stop = closing(text, at + begin.length, end);
      return stop < 0 ? null : [text.slice(at + begin.length, stop), display, stop + end.length];
    }
  }
  if (text[at] === '$') {
    if (/[\s$]/.test(text[at + 1] ?? ' ')) return null;
    for (let stop = closing(text, at + 1, '$'); stop > 0; stop = closing(text, stop + 1, '$')) {
      const inside = text.slice(at + 1, stop);
      if (inside.includes('\n\n') || inside.length > 600) return null;
      if (/\S$/.test(inside) && !/\d/.test(text[stop + 1] ?? ' ')) return [inside, false, stop + 1];
    }
    return null;
  }
  const named = /^\\begin\{([a-z*]{1,12})\}/.exec(text.slice(at, at + 24));
  if (named && ENVIRONMENTS.includes(named[1])) {
    const end = `\\end{${named[1]}}`;
    const stop = text.indexOf(end, at);
    return stop < 0 || stop - at > 4000 ? null : [text.slice(at, stop + end.length), true, stop + end.length];
  }
  if (text.startsWith('\\boxed{', at)) {
    for (let depth = 0, stop = at + 6; stop < Math.min(text.length, at + 400); stop += 1) {
      if (text[stop] === '{') depth += 1;
      if (text[stop] === '}') { depth -= 1; if (!depth) return [text.slice(at, stop + 1), false, stop + 1]; }
    }
  }
  return null;
};

const typeset = (tex, display, source) => {
  if (typeof katex === 'undefined' || REFUSED.test(tex) || UNSEEN.test(tex)) return visible(source);
  const place = el('span', { role: 'math', 'aria-label': tex });
  try {
    katex.render(tex, place, { ...KATEX, displayMode: display });
    return [place];
  } catch {
    return visible(source);
  }
};

const nodesOf = (text) => {
  if (text.length > MOST_TYPESET) return visible(text);
  const nodes = [];
  let from = 0;
  let formulas = 0;
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] !== '$' && text[at] !== '\\') continue;
    const found = formulas < MOST_FORMULAS ? formula(text, at) : null;
    if (!found) { if (text[at] === '\\') at += 1; continue; }
    nodes.push(...visible(text.slice(from, at)), ...typeset(found[0], found[1], text.slice(at, found[2])));
    formulas += 1;
    from = found[2];
    at = from - 1;
  }
  nodes.push(...visible(text.slice(from)));
  return nodes;
};

// A text in a block of its own, cut where it is very long until somebody asks for the rest. Where it is `written` by a model, its
// Markdown is set, unless the reader wants texts as they are.
const prose = (given, extra = '', written = false) => {
  const text = String(given ?? '');
  const set = written && !state.raw ? markdown : nodesOf;
  const block = el('div', { class: `prose ${set === markdown ? 'set' : ''} ${extra}`.trim(), dir: 'auto', tabindex: extra === 'long' ? 0 : null });
  if (text.length <= MOST_SHOWN) { block.append(...set(text)); return block; }
  const rest = el('button', { type: 'button', onclick: () => empty(block, set(text)) }, `all ${count(text.length)} characters`);
  block.append(...set(text.slice(0, MOST_SHOWN / 2)), '\n… ', rest);
  return block;
};
// A short text in a line, such as an id.
const name = (text) => el('bdi', {}, visible(String(text ?? '')));
