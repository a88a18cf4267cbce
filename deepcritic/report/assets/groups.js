// The groups that GRPO learns from: the replies to one prompt, their rewards, and the advantages that come of comparing them.
const groupNames = index.groups.flatMap((training, number) => training.steps.map((_, at) => `${number}.${at}`));
const varies = (rewards) => new Set(rewards).size > 1;
const squares = (rewards) => el('span', { class: 'squares', role: 'img', 'aria-label': `${rewards.filter((reward) => reward > 0).length} of ${rewards.length} rewarded` }, rewards.map((reward) => el('i', { class: reward > 0 ? 'on' : null })));

const drawGroupList = () => {
  empty(byId('grouplist'), index.groups.map((training, number) => [
    el('h2', {}, name(training.stage), el('span', { class: 'quiet' }, training.of > training.steps.length ? ` ${count(training.steps.length)} of ${count(training.of)} groups` : '')),
    training.steps.map((step, at) => el('button', { type: 'button', 'aria-current': String(state.group === `${number}.${at}`), onclick: () => selectGroup(`${number}.${at}`) }, `step ${step}`, squares(training.rewards[at]), varies(training.rewards[at]) ? null : el('span', { class: 'quiet' }, ' no signal')))]));
};

const meter = (value, most) => {
  const bar = el('i', { class: value < 0 ? 'minus' : null });
  const share = most ? Math.min(50, (50 * Math.abs(value)) / most) : 0;
  bar.style.width = `${share}%`;
  bar.style.left = value < 0 ? `${50 - share}%` : '50%';
  return el('span', { class: 'meter', role: 'img', 'aria-label': `advantage ${value}` }, bar);
};

const selectGroup = async (wanted) => {
  const telling = index.groups.flatMap((training, number) => training.rewards.flatMap((rewards, at) => (varies(rewards) ? [`${number}.${at}`] : [])));
  state.group = groupNames.includes(wanted) ? wanted : telling[0] ?? groupNames[0] ?? '';
  keepAddress();
  drawGroupList();
  if (!state.group) return;
  const [number, at] = state.group.split('.').map(Number);
  const training = index.groups[number];
  const found = await entry(`g${number}`, training.chunks, at);
  if (!found) return;
  const [text, samples] = found;
  const most = Math.max(...samples.map(([, , , advantage]) => Math.abs(advantage ?? 0)));
  const mean = samples.reduce((sum, [, , reward]) => sum + (reward ?? 0), 0) / samples.length;
  empty(byId('group'),
    el('div', { class: 'bar' }, el('h2', {}, name(training.ids[at])), chip(`step ${training.steps[at]}`), chip(`mean reward ${mean.toFixed(2)}`), varies(training.rewards[at]) ? null : chip('equal rewards: no signal', 'odd')),
    el('dl', { class: 'says' }, el('dt', {}, 'label'), el('dd', {}, chip(said(training.gold[at])))),
    text ? [el('h3', {}, 'Problem'), prose(text[0], 'problem'), el('h3', {}, 'Solution'), el('ol', { class: 'steps' }, text[1].map((step, place) => el('li', { class: place + 1 === training.gold[at] ? 'wrong' : null }, el('span', { class: 'n' }, String(place + 1)), el('div', {}, prose(step, '', true)))))] : null,
    el('h3', {}, 'Replies by reward'),
    samples.map((sample, place) => [...sample, place]).sort((a, b) => (b[2] ?? 0) - (a[2] ?? 0)).map(([reply, verdict, reward, advantage, finish, place]) => {
      const body = el('div', { class: 'body' });
      const folded = el('details', { class: 'reply', ontoggle: () => { if (folded.open && !body.firstChild) body.append(prose(reply, 'long', true)); } },
        el('summary', {}, chip(said(verdict), reward > 0 ? 'good' : verdict === null ? 'odd' : 'bad'), ` reply ${place + 1}, reward ${reward} `, advantage === null || advantage === undefined ? null : [meter(advantage, most), el('span', { class: 'quiet' }, ` advantage ${Number(advantage).toFixed(2)}`)], finish === 'length' ? el('span', { class: 'quiet' }, ' cut') : null), body);
      return folded;
    }));
};
