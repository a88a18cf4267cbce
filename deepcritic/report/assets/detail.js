// One row: the problem, its steps beside truth and verdicts, the critiques, and where they come from.
const chip = (text, kind = '') => el('span', { class: `chip ${kind}`.trim() }, name(text));
const isRight = (one, at, verdict) => JSON.stringify(verdict) === JSON.stringify(one.gold[at]);
const kindOf = (one, at, verdict) => (verdict === null ? 'odd' : !one.stepwise || !one.labelled ? '' : isRight(one, at, verdict) ? 'good' : 'bad');

const voteBar = (one, at) => {
  const verdicts = one.verdicts[at];
  if (verdicts.length < 2) return null;
  const counts = [...tally(verdicts.map((verdict) => JSON.stringify(verdict)))].sort((a, b) => b[1] - a[1]);
  const bar = el('div', { class: 'votes', role: 'img', 'aria-label': counts.map(([verdict, many]) => `${said(JSON.parse(verdict))}: ${many}`).join(', ') },
    counts.map(([text, many]) => {
      const part = el('span', { class: kindOf(one, at, JSON.parse(text)), title: `${said(JSON.parse(text))}: ${many} of ${verdicts.length}` }, `${said(JSON.parse(text))} ×${many}`);
      part.style.flexGrow = String(many);
      return part;
    }));
  return bar;
};

const verdictLine = (one, at, title) => {
  const outcome = outcomeOf(one, at);
  const votes = one.verdicts[at].length > 1 ? `, ${Math.round(100 * one.agreement[at])}% of ${one.verdicts[at].length} votes` : '';
  const extra = [one.cut[at] ? `${one.cut[at]} cut` : '', one.lost[at] ? `${one.lost[at]} without a reply` : ''].filter(Boolean).join(', ');
  return [el('dt', {}, name(title)), el('dd', {}, chip(`${SIGNS[outcome][0]} ${saidOf(one, one.said[at])}`, SIGNS[outcome][1]), ` ${outcome}${votes}${extra ? ` (${extra})` : ''}`, voteBar(one, at))];
};

const stepList = (parts, sides) => {
  const [first, at] = sides[0];
  const gold = first.gold[at];
  const steps = first.stepwise;
  return el('ol', { class: 'steps' }, parts.map((text, place) => {
    const number = place + 1;
    const marks = [];
    let kind = '';
    if (steps && first.labelled) {
      kind = gold === -1 || number < gold ? 'fine' : number === gold ? 'wrong' : 'after';
      if (number === gold) marks.push(chip('truth: the first wrong step', 'bad'));
    } else if (number === gold && parts.length > 1) {
      kind = 'fine';
      marks.push(chip('truth: the best response', 'good'));
    }
    for (const [one, row] of sides) {
      const many = one.verdicts[row].filter((verdict) => verdict === number).length;
      if (!steps || !many) continue;
      const all = one.verdicts[row].length;
      if (one.said[row] === number) kind += ' named';
      marks.push(chip(`${sides.length > 1 ? `${evaluationTitle(one)}: ` : ''}${one.said[row] === number ? 'named by the critic' : 'named'}${all > 1 ? ` ×${many}` : ''}`, number === gold ? 'good' : 'odd'));
    }
    return el('li', { class: kind.trim() || null }, el('span', { class: 'n' }, String(number)), el('div', {}, prose(text, '', true)), el('div', { class: 'marks' }, marks));
  }));
};

const replyList = async (number, one, at) => {
  const replies = await entry(`e${number}`, one.replies, at);
  if (!replies || !replies.length) return [el('p', { class: 'quiet' }, 'No replies are stored for this row.')];
  const best = Math.max(0, one.verdicts[at].findIndex((verdict) => JSON.stringify(verdict) === JSON.stringify(one.said[at])));
  return replies.map(([sample, text, finish, tokens], place) => {
    const verdict = place < one.verdicts[at].length ? one.verdicts[at][place] : null;
    const ended = finish === 'length' ? 'truncated at max_tokens' : '';
    const body = el('div', { class: 'body' });
    const folded = el('details', { class: 'reply', open: place === best, ontoggle: () => { if (folded.open && !body.firstChild) body.append(prose(text, 'long', true)); } },
      el('summary', {}, chip(said(verdict), kindOf(one, at, verdict)), ` critique ${sample + 1} `, el('span', { class: 'quiet' }, [tokens ? `${count(tokens)} tokens` : '', ended].filter(Boolean).join(', '))), body);
    if (place === best) body.append(prose(text, 'long', true));
    return folded;
  });
};

const tree = (line) => el('li', {}, el('span', { class: 'what' }, `${line.what}: `), el('code', {}, name(line.name)), line.note ? [' ', name(line.note)] : null,
  line.from && line.from.length ? el('ul', {}, line.from.map(tree)) : null);

const learntFrom = async (one, at) => {
  const found = await Promise.all((one.taught[at] ?? []).map((place) => entry('l', index.learnt, place)));
  const looked = Object.entries(one.looked_at).map(([file, many]) => `${count(many)} of ${file}`).join(', ');
  if (!found.length) return el('p', { class: 'quiet' }, looked ? name(`The training data has nothing about this problem (${looked}).`) : 'The training data is not in this run.');
  return el('div', {}, el('p', { class: 'quiet' }, name(`Training data about the same problem (of ${looked}):`)), found.filter(Boolean).slice(0, 20).map(([file, id, verdict, text]) => el('details', { class: 'reply' },
    el('summary', {}, chip(said(verdict)), ' ', name(`${file}: ${id}`)), Array.isArray(text) ? el('div', { class: 'body' }, text.map((step, place) => prose(`${place + 1}. ${step}`))) : el('div', { class: 'body' }, prose(text, '', true)))));
};

let drawing = 0;
const drawRow = async (focus) => {
  const mine = (drawing += 1);
  const page = byId('row');
  const one = evaluations[state.e];
  const at = places[state.e].get(state.row);
  if (at === undefined) { empty(page, el('p', { class: 'quiet' }, 'No row matches these filters.')); return; }
  const sides = [[one, at, state.e]];
  const there = state.b >= 0 ? places[state.b].get(state.row) : undefined;
  if (there !== undefined) sides.push([evaluations[state.b], there, state.b]);
  const text = await entry('t', index.texts, one.text[at]);
  const written = await Promise.all(sides.map(([side, row, number]) => replyList(number, side, row).catch((error) => [el('p', { class: 'quiet' }, error.message)])));
  const learnt = await learntFrom(one, at).catch((error) => el('p', { class: 'quiet' }, error.message));
  if (mine !== drawing) return;
  const place = passing.indexOf(at);
  const words = [['benchmark', 'benchmark'], ['kind', 'kind of error'], ['generator', 'written by']].map(([key, title]) => [title, one.words[key][one[key][at]]]).filter(([, word]) => word);
  const answer = one.answer_right[at] === null ? null : chip(one.answer_right[at] ? 'right final answer' : 'wrong final answer');
  empty(page,
    el('div', { class: 'bar' }, el('h2', {}, name(one.ids[at])), words.map(([title, word]) => chip(`${title}: ${word}`)), answer, el('span', { class: 'turn' },
      el('button', { type: 'button', onclick: () => move(-1), 'aria-label': 'previous row', disabled: place <= 0 }, '↑'), el('button', { type: 'button', onclick: () => move(1), 'aria-label': 'next row', disabled: place >= passing.length - 1 }, '↓'),
      el('a', { href: address(), class: 'quiet', id: 'permalink' }, 'permalink'))),
    el('dl', { class: 'says' }, el('dt', {}, 'truth'), el('dd', {}, chip(one.stepwise && one.gold[at] > 0 ? `step ${one.gold[at]} is the first wrong one` : truthOf(one, at))),
      sides.map(([side, row]) => verdictLine(side, row, state.b >= 0 ? evaluationTitle(side) : 'critic')),
      state.b >= 0 && sides.length < 2 ? [el('dt', {}, name(evaluationTitle(evaluations[state.b]))), el('dd', { class: 'quiet' }, 'does not have this row')] : null),
    el('h3', {}, 'Problem'), text ? prose(text[0], 'problem') : el('p', { class: 'quiet' }, 'The text of this row is not in the run folder.'),
    text && text[1].length ? [el('h3', {}, one.stepwise ? 'Solution' : 'Responses'), stepList(text[1], sides),
      one.stepwise && one.labelled ? el('p', { class: 'legend' }, 'Solid edge: correct. Double or shaded: the first wrong step. Dashed: named by the critic. Grey: after the first error, not judged.') : null] : null,
    el('div', { class: sides.length > 1 ? 'sides two' : 'sides' }, sides.map(([side], number) => el('div', {}, el('h3', {}, sides.length > 1 ? name(`Critiques: ${evaluationTitle(side)}`) : 'Critiques'), written[number]))),
    el('h3', {}, 'Lineage'), el('ul', { class: 'tree' }, tree(one.chain)), learnt,
    text && text[3] ? el('p', { class: 'quiet' }, name(`Source: ${text[2]}, licence: ${text[3]}`)) : null);
  page.scrollTop = 0;
  if (focus) page.focus();
};
