// Views, keys and themes.
const show = () => {
  document.documentElement.dataset.view = state.view;
  for (const link of document.querySelectorAll('nav a')) link.toggleAttribute('aria-current', link.dataset.to === state.view);
  if (state.view === 'critiques') { drawFilters(); refilter(); }
  if (state.view === 'groups') selectGroup(state.group);
};
const go = (view) => { if (VIEWS.includes(view) && view !== state.view) { state.view = view; history.pushState(null, '', address()); show(); scrollTo(0, 0); } };

const THEMES = ['', 'light', 'dark'];
const setTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
  byId('theme').setAttribute('aria-label', `colour theme: ${theme || 'system'}`);
  byId('theme').textContent = { '': '◐', light: '○', dark: '●' }[theme];
  try { localStorage.setItem('deepcritic-theme', theme); } catch { /* a page from a disk may not be allowed to remember */ }
};
const nextTheme = () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? '') + 1) % THEMES.length]);
const showKeys = () => { byId('keys').hidden = !byId('keys').hidden; byId('help').setAttribute('aria-expanded', String(!byId('keys').hidden)); };

const KEYS = {
  1: () => go('overview'), 2: () => go('figures'), 3: () => go('critiques'), 4: () => go('groups'),
  t: nextTheme, '?': showKeys,
  j: () => step(1), k: () => step(-1), ArrowDown: () => onList() && step(1), ArrowUp: () => onList() && step(-1),
  '/': () => { go('critiques'); byId('search')?.focus(); },
  x: () => { if (state.view === 'critiques') { for (const key of FILTERS) state[key] = ''; drawFilters(); refilter(); } },
  b: () => { if (state.view === 'critiques' && evaluations.length > 1) { do { state.b = state.b + 1 >= evaluations.length ? -1 : state.b + 1; } while (state.b === state.e); state.pair = ''; drawFilters(); refilter(); } },
  m: () => { state.raw = !state.raw; if (state.view === 'critiques') drawRow(); if (state.view === 'groups') selectGroup(state.group); },
  o: () => { const all = [...document.querySelectorAll(`#${state.view} details`)]; const open = all.every((one) => one.open); all.forEach((one) => { one.open = !open; }); },
};
const onList = () => document.activeElement === byId('rows');
const step = (by) => {
  if (state.view === 'critiques') move(by);
  else if (state.view === 'groups' && groupNames.length) selectGroup(groupNames[Math.min(groupNames.length - 1, Math.max(0, groupNames.indexOf(state.group) + by))]);
  return true;
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches('input, select, textarea')) { if (event.key === 'Escape') event.target.blur(); return; }
  const action = KEYS[event.key];
  if (action && action() !== false) event.preventDefault();
});
byId('theme').addEventListener('click', nextTheme);
byId('help').addEventListener('click', showKeys);
byId('filters')?.addEventListener('submit', (event) => event.preventDefault());
byId('rows')?.addEventListener('scroll', drawRows, { passive: true });
addEventListener('resize', () => { if (state.view === 'critiques') drawRows(); });
for (const moved of ['hashchange', 'popstate']) addEventListener(moved, () => { if (location.hash !== address()) { readAddress(); show(); } });
let remembered = '';
try { remembered = localStorage.getItem('deepcritic-theme') ?? ''; } catch { /* as above */ }
setTheme(THEMES.includes(remembered) ? remembered : '');
readAddress();
show();
