// What is looked at, kept in the address so that it can be sent to somebody: #critiques?e=run/evaluate.rl&outcome=missed&row=math-17
const VIEWS = ['overview', 'figures', 'critiques', 'groups'].filter((view) => byId(view));
const evaluations = index.evaluations;
const keyOf = (one) => `${one.run}/${one.name}`;
const state = { view: 'overview', e: 0, b: -1, row: '', outcome: '', benchmark: '', position: '', kind: '', pair: '', q: '', deep: false, group: '', raw: false };
const FILTERS = ['outcome', 'benchmark', 'position', 'kind', 'pair', 'q'];

const readAddress = () => {
  const [view, query] = decodeURI(location.hash.slice(1)).includes('?')
    ? [location.hash.slice(1, location.hash.indexOf('?')), location.hash.slice(location.hash.indexOf('?') + 1)]
    : [location.hash.slice(1), ''];
  const given = new URLSearchParams(query);
  state.view = VIEWS.includes(view) ? view : 'overview';
  state.e = Math.max(0, evaluations.findIndex((one) => keyOf(one) === given.get('e')));
  state.b = evaluations.findIndex((one) => keyOf(one) === given.get('b'));
  for (const key of [...FILTERS, 'row', 'group']) state[key] = given.get(key) ?? '';
  state.deep = given.has('deep');
};

const address = () => {
  const given = new URLSearchParams();
  if (state.view === 'critiques' && evaluations.length) {
    given.set('e', keyOf(evaluations[state.e]));
    if (state.b >= 0) given.set('b', keyOf(evaluations[state.b]));
    for (const key of [...FILTERS, 'row']) if (state[key]) given.set(key, state[key]);
    if (state.deep) given.set('deep', '');
  }
  if (state.view === 'groups' && state.group) given.set('group', state.group);
  const query = given.toString();
  return `#${state.view}${query ? `?${query}` : ''}`;
};
const keepAddress = () => history.replaceState(null, '', address());

const SIGNS = { right: ['✓', 'good'], missed: ['∅', 'bad'], 'too early': ['◂', 'bad'], 'too late': ['▸', 'bad'], 'false alarm': ['!', 'bad'], tie: ['=', 'odd'], wrong: ['✗', 'bad'], 'no verdict': ['?', 'odd'], 'no reply': ['–', 'odd'], kept: ['✓', 'good'], dropped: ['✗', 'bad'] };
const said = (verdict) => {
  if (verdict === null || verdict === undefined) return 'no verdict';
  if (Array.isArray(verdict)) return verdict.length > 1 ? `scores ${verdict.join(' : ')}` : `score ${verdict[0]}`;
  if (verdict === -1) return 'all correct';
  return Number.isInteger(verdict) ? `step ${verdict}` : typeof verdict === 'object' ? JSON.stringify(verdict) : String(verdict);
};
// Of a task that scores responses, a whole number names the best one, and several numbers are scores.
const saidOf = (one, verdict) => (one.stepwise || !Number.isInteger(verdict) ? said(verdict) : `response ${verdict}`);
const truthOf = (one, at) => (one.labelled ? saidOf(one, one.gold[at]) : 'unknown');
const outcomeOf = (one, at) => index.outcomes[one.outcome[at]];
const places = evaluations.map((one) => new Map(one.ids.map((id, at) => [id, at])));
