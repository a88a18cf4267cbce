// A small part of Markdown, made of elements: headings, lists, quotes, tables, rules, code, bold and italic. Links, images and raw
// HTML stay the text that they are. What does not close, or is nested too deeply, is text as well.
const DEEPEST = 5;
const RULE = /^ {0,3}(?:\*(?: ?\*){2,}|-(?: ?-){2,}|_(?: ?_){2,})[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*?)[ \t#]*$/;
const ITEM = /^( *)(?:([-*+])|(\d{1,3})[.)])[ \t]+(?=\S)/;
const CELLS = /^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*$/;
const INLINE = /\ue000(\d+)\ue001|\*\*(?=\S)([^\n]{1,600}?\S)\*\*(?!\*)|(?<![\w*])\*(?=[^\s*])([^*\n]{1,300}?)(?<=\S)\*(?![\w*])|(?<!\w)__(?=\S)([^\n]{1,600}?\S)__(?!\w)|(?<!\w)_(?=[^\s_])([^_\n]{1,300}?)(?<=\S)_(?!\w)|\\([*_`#>|~-])/g;

// Code and formulas set aside: the text with a mark in place of each, and the nodes that the marks stand for.
const setAside = (text) => {
  const kept = [];
  let marked = '';
  let from = 0;
  let formulas = 0;
  const keep = (at, end, nodes) => { marked += `${text.slice(from, at)}\ue000${kept.length}\ue001`; kept.push(nodes); from = end; };
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '\ue000' || sign === '\ue001') keep(at, at + 1, [el('span', { class: 'ctl' }, sign === '\ue000' ? 'U+E000' : 'U+E001')]);
    else if (sign === '`' || sign === '~') {
      const run = /^(`+|~{3,})/.exec(text.slice(at, at + 40))?.[0];
      const found = run && code(text, at, run);
      if (found) { keep(at, found[1], [found[0]]); at = found[1] - 1; } else if (run) at += run.length - 1;
    } else if (sign === '$' || sign === '\\') {
      const found = formulas < MOST_FORMULAS ? formula(text, at) : null;
      if (found) {
        keep(at, found[2], typeset(found[0], found[1], text.slice(at, found[2])));
        formulas += 1;
        at = found[2] - 1;
      } else if (sign === '\\') at += 1;
    }
  }
  return [marked + text.slice(from), kept];
};

// Code that a run of backticks opens at `at`: [the element, the place behind it], or null where it does not close.
const code = (text, at, run) => {
  const begins = at === 0 || text.slice(text.lastIndexOf('\n', at - 1) + 1, at).trim() === '';
  if (run.length >= 3 && begins) {
    const line = text.indexOf('\n', at);
    const fence = line < 0 ? null : new RegExp(`^[ \\t]*${run[0]}{${run.length},}[ \\t]*$`, 'm').exec(text.slice(line + 1));
    if (!fence) return null;
    const body = text.slice(line + 1, line + 1 + fence.index).replace(/\n$/, '');
    return [el('pre', { tabindex: 0 }, el('code', {}, visible(body))), line + 1 + fence.index + fence[0].length];
  }
  if (run[0] === '~') return null;
  const stop = new RegExp(`(?<!\`)${run}(?!\`)`).exec(text.slice(at + run.length, at + run.length + 500));
  const inside = stop && text.slice(at + run.length, at + run.length + stop.index);
  return stop && inside.trim() && !inside.includes('\n\n') ? [el('code', {}, visible(inside)), at + 2 * run.length + stop.index] : null;
};

const inline = (text, kept, depth = 0) => {
  const nodes = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    nodes.push(...visible(text.slice(from, found.index)));
    const [, mark, strong, slanted, strongToo, slantedToo, escaped] = found;
    const inner = strong ?? slanted ?? strongToo ?? slantedToo;
    if (mark !== undefined) nodes.push(...(kept[Number(mark)] ?? visible(found[0])));
    else if (escaped !== undefined) nodes.push(escaped);
    else nodes.push(el((strong ?? strongToo) === undefined ? 'em' : 'strong', {}, depth < DEEPEST ? inline(inner, kept, depth + 1) : visible(inner)));
    from = found.index + found[0].length;
  }
  return [...nodes, ...visible(text.slice(from))];
};

const cellsOf = (line) => line.trim().replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());

// The block of code that a line stands for, if it does.
const fenced = (line, kept) => { const node = kept[Number(/^[ \t]*\ue000(\d+)\ue001[ \t]*$/.exec(line)?.[1])]?.[0]; return node?.tagName === 'PRE' ? node : null; };

const blocks = (lines, kept, depth = 0) => {
  const made = [];
  let at = 0;
  const take = (test) => { const taken = []; while (at < lines.length && test(lines[at])) { taken.push(lines[at]); at += 1; } return taken; };
  while (at < lines.length) {
    const line = lines[at];
    const heading = HEADING.exec(line);
    const item = ITEM.exec(line);
    const block = fenced(line, kept);
    if (!line.trim()) at += 1;
    else if (block) { made.push(block); at += 1; }
    else if (RULE.test(line)) { made.push(el('hr')); at += 1; }
    else if (heading) { made.push(el('p', { class: 'head', role: 'heading', 'aria-level': 4 }, inline(heading[2], kept))); at += 1; }
    else if (depth < DEEPEST && /^ {0,3}>/.test(line)) made.push(el('blockquote', {}, blocks(take((one) => /^ {0,3}>/.test(one)).map((one) => one.replace(/^ {0,3}> ?/, '')), kept, depth + 1)));
    else if (depth < DEEPEST && item) {
      const ordered = item[3] !== undefined;
      const items = [];
      for (let next = item; next && (next[3] !== undefined) === ordered && next[1].length < item[1].length + 2; next = at < lines.length ? ITEM.exec(lines[at]) : null) {
        const first = lines[at].slice(next[0].length);
        at += 1;
        const rest = take((one) => (one.trim() ? one.length - one.trimStart().length > next[1].length + 1 : false));
        const indent = Math.min(...rest.map((one) => one.length - one.trimStart().length));
        items.push(el('li', {}, blocks([first, ...rest.map((one) => one.slice(indent))], kept, depth + 1)));
        while (at + 1 < lines.length && !lines[at].trim() && ITEM.test(lines[at + 1])) at += 1;
      }
      made.push(el(ordered ? 'ol' : 'ul', { start: ordered && item[3] !== '1' ? Number(item[3]) : null }, items));
    } else if (line.includes('|') && CELLS.test(lines[at + 1] ?? '') && cellsOf(lines[at + 1]).length === cellsOf(line).length) {
      const [head, , ...rows] = take((one) => one.includes('|'));
      made.push(el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'table in a text' }, el('table', {},
        el('thead', {}, el('tr', {}, cellsOf(head).map((cell) => el('th', { scope: 'col' }, inline(cell, kept))))),
        el('tbody', {}, rows.map((row) => el('tr', {}, cellsOf(row).map((cell) => el('td', {}, inline(cell, kept)))))))));
    } else {
      at += 1;
      const more = take((one) => one.trim() && !RULE.test(one) && !HEADING.test(one) && !/^ {0,3}>/.test(one) && !ITEM.test(one) && !fenced(one, kept));
      made.push(el('p', {}, inline([line, ...more].join('\n'), kept)));
    }
  }
  return made;
};

const markdown = (text) => {
  if (text.length > MOST_TYPESET) return visible(text);
  const [marked, kept] = setAside(text.replace(/\r\n/g, '\n'));
  return blocks(marked.split('\n'), kept);
};
