// The visible texts of a page whose contrast with what is behind them is under 4.5 to 1 (WCAG 2, AA).
() => {
  const channel = (value) => { const part = value / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; };
  const parse = (text) => (text.match(/[\d.]+/g) ?? ['0', '0', '0', '0']).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => { for (let at = node; at; at = at.parentElement) { const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor); if (a > 0.5) return [r, g, b]; } return [255, 255, 255]; };
  const low = [];
  for (const node of document.querySelectorAll('header *, main *')) {
    if (!node.checkVisibility({ visibilityProperty: true }) || node.matches(':disabled, :disabled *')) continue;
    if (![...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim())) continue;
    const style = getComputedStyle(node);
    const [one, other] = [light(parse(node.closest('svg') ? style.fill : style.color)), light(behind(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push(`${node.tagName} ${node.textContent.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return low;
}
