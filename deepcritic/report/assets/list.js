// The rows that pass the filters, of which only those in sight are drawn.
const HEIGHT = 50;
let passing = [];
let hits = null;
let searching = 0;

const options = (label, key, choices) => {
  const select = el('select', { onchange: (event) => { state[key] = event.target.value; refilter(); } },
    choices.map(([value, shown]) => el('option', { value, selected: state[key] === value }, shown)));
  return el('label', {}, label, select);
};

const tally = (values) => {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
};

const drawFilters = () => {
  const one = evaluations[state.e];
  const pick = (label, current, change, none) => el('label', {}, label, el('select', { onchange: (event) => change(Number(event.target.value)) },
    none ? el('option', { value: -1 }, none) : null,
    evaluations.map((other, at) => (none && at === state.e ? null : el('option', { value: at, selected: at === current }, evaluationTitle(other))))));
  const outcomes = tally(one.outcome);
  const benchmarks = tally(one.benchmark);
  const kinds = tally(one.kind);
  const golds = tally(one.gold.filter((gold) => Number.isInteger(gold)));
  const worded = (counts, words) => [...counts].filter(([at]) => words[at]).map(([at, many]) => [words[at], `${words[at]} (${count(many)})`]).sort();
  empty(byId('filters'),
    pick('critiques of', state.e, (at) => { state.e = at; if (state.b === at) state.b = -1; drawFilters(); refilter(); }),
    evaluations.length > 1 ? pick('compare with', state.b, (at) => { state.b = at; state.pair = ''; drawFilters(); refilter(); }, 'none') : null,
    state.b >= 0 ? options('comparison', 'pair', [['', 'any'], ['left', 'only the first is right'], ['right', 'only the second is right'], ['both', 'both right'], ['neither', 'neither right'], ['differ', 'verdicts differ']]) : null,
    options('outcome', 'outcome', [['', 'any'], ...(one.labelled ? [['not right', 'not right']] : []), ...[...outcomes].sort((a, b) => a[0] - b[0]).map(([at, many]) => [index.outcomes[at], `${index.outcomes[at]} (${count(many)})`])]),
    benchmarks.size > 1 ? options('benchmark', 'benchmark', [['', 'all'], ...worded(benchmarks, one.words.benchmark)]) : null,
    one.stepwise && golds.size > 1 ? options('first error', 'position', [['', 'anywhere'], ...[...golds].sort((a, b) => a[0] - b[0]).map(([gold, many]) => [String(gold), `${said(gold)} (${count(many)})`])]) : null,
    kinds.size > 1 ? options('kind of error', 'kind', [['', 'any'], ...worded(kinds, one.words.kind)]) : null,
    el('label', {}, 'search', el('input', { type: 'search', id: 'search', value: state.q, placeholder: 'problem, step, id', oninput: (event) => { state.q = event.target.value; refilter(); } })),
    el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: state.deep, onchange: (event) => { state.deep = event.target.checked; refilter(); } }), 'also in critiques'),
    el('output', { id: 'found', 'aria-live': 'polite' }));
};

const evaluationTitle = (one) => (one.run !== index.run ? `${one.run}: ${one.title}` : one.title);

const passes = (one, other, at) => {
  const outcome = outcomeOf(one, at);
  if (state.outcome && (state.outcome === 'not right' ? outcome === 'right' : outcome !== state.outcome)) return false;
  if (state.benchmark && one.words.benchmark[one.benchmark[at]] !== state.benchmark) return false;
  if (state.kind && one.words.kind[one.kind[at]] !== state.kind) return false;
  if (state.position && String(one.gold[at]) !== state.position) return false;
  if (other) {
    const there = places[state.b].get(one.ids[at]);
    if (state.pair && there === undefined) return false;
    const [first, second] = [outcome === 'right', there !== undefined && outcomeOf(other, there) === 'right'];
    if (state.pair === 'left' && !(first && !second)) return false;
    if (state.pair === 'right' && !(second && !first)) return false;
    if (state.pair === 'both' && !(first && second)) return false;
    if (state.pair === 'neither' && (first || second)) return false;
    if (state.pair === 'differ' && JSON.stringify(one.said[at]) === JSON.stringify(other.said[there])) return false;
  }
  return !hits || hits.has(at);
};

// The rows whose id, problem or steps (and critiques) hold the words; null if nothing is looked for.
const search = async () => {
  const words = state.q.trim().toLowerCase();
  if (!words) return null;
  const mine = (searching += 1);
  const one = evaluations[state.e];
  const found = new Set(one.ids.map((id, at) => (id.toLowerCase().includes(words) ? at : -1)).filter((at) => at >= 0));
  const withText = new Map();
  one.text.forEach((text, at) => { if (text >= 0) (withText.get(text) ?? withText.set(text, []).get(text)).push(at); });
  for (let part = 0; part < index.texts.length && mine === searching; part += 1) {
    (await chunk(`t-${part}`)).forEach(([problem, parts], at) => {
      if ([problem, ...parts].some((text) => text.toLowerCase().includes(words))) (withText.get(index.texts[part] + at) ?? []).forEach((row) => found.add(row));
    });
  }
  for (let part = 0; state.deep && part < one.replies.length && mine === searching; part += 1) {
    if (byId('found')) byId('found').textContent = `searching ${Math.round((100 * part) / one.replies.length)}%`;
    (await chunk(`e${state.e}-${part}`)).forEach((replies, at) => {
      if (replies.some(([, text]) => text.toLowerCase().includes(words))) found.add(one.replies[part] + at);
    });
  }
  return mine === searching ? found : undefined;
};

const refilter = async () => {
  const found = await search().catch((error) => { byId('found').textContent = error.message; return null; });
  if (found === undefined) return;
  hits = found;
  const one = evaluations[state.e];
  const other = state.b >= 0 ? evaluations[state.b] : null;
  passing = one.ids.map((_, at) => at).filter((at) => passes(one, other, at));
  byId('found').textContent = passing.length === one.ids.length ? `${count(one.ids.length)} rows` : `${count(passing.length)} of ${count(one.ids.length)} rows`;
  const list = byId('rows');
  empty(list, el('div', {}));
  list.firstChild.style.height = `${passing.length * HEIGHT}px`;
  if (!places[state.e].has(state.row) || !passing.includes(places[state.e].get(state.row))) state.row = passing.length ? one.ids[passing[0]] : '';
  select(state.row);
};

const drawRows = () => {
  const list = byId('rows');
  if (!list.firstChild) return;
  const one = evaluations[state.e];
  const other = state.b >= 0 ? evaluations[state.b] : null;
  const first = Math.max(0, Math.floor(list.scrollTop / HEIGHT) - 4);
  const last = Math.min(passing.length, first + Math.ceil((list.clientHeight || 400) / HEIGHT) + 8);
  const drawn = [];
  for (let place = first; place < last; place += 1) {
    const at = passing[place];
    const outcome = outcomeOf(one, at);
    const there = other ? places[state.b].get(one.ids[at]) : undefined;
    const beside = there === undefined ? null : outcomeOf(other, there);
    const agreement = one.verdicts[at].length > 1 ? `${Math.round(100 * one.agreement[at])}%` : '';
    const line = el('div', { class: 'entry', role: 'option', id: `entry-${at}`, 'aria-selected': String(one.ids[at] === state.row), onclick: () => select(one.ids[at]) },
      el('span', { class: `sign ${SIGNS[outcome][1]}`, title: outcome }, SIGNS[outcome][0], beside ? [el('br'), el('span', { class: `sign ${SIGNS[beside][1]}`, title: beside }, SIGNS[beside][0])] : null),
      el('span', { class: 'id' }, name(one.ids[at])), el('span', { class: 'more' }, agreement),
      el('span', { class: 'sub' }, `${outcome}${beside ? ` / ${beside}` : ''} · ${one.labelled ? `truth ${truthOf(one, at)}` : `vote ${saidOf(one, one.said[at])}`}`));
    line.style.top = `${place * HEIGHT}px`;
    drawn.push(line);
  }
  list.firstChild.replaceChildren(...drawn);
};

const select = (id, focus = false) => {
  state.row = id;
  keepAddress();
  const place = passing.indexOf(places[state.e].get(id));
  const list = byId('rows');
  if (place >= 0) {
    const top = place * HEIGHT;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + HEIGHT > list.scrollTop + list.clientHeight) list.scrollTop = top + HEIGHT - list.clientHeight;
    list.setAttribute('aria-activedescendant', `entry-${passing[place]}`);
  }
  drawRows();
  drawRow(focus);
};

const move = (by) => {
  if (!passing.length) return;
  const at = passing.indexOf(places[state.e].get(state.row));
  select(evaluations[state.e].ids[passing[Math.min(passing.length - 1, Math.max(0, at + by))]]);
};
