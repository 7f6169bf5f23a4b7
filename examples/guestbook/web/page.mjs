// The page as one string: no file, font or script from elsewhere.

const escaped = (text) =>
  String(text).replace(/[&<>"]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[sign])

function ago(fromMs, nowMs) {
  const seconds = Math.max(0, Math.round((nowMs - fromMs) / 1_000))
  if (seconds < 10) return 'just now'
  const units = { second: 60, minute: 60, hour: 24, day: Infinity }
  let amount = seconds
  for (const [unit, size] of Object.entries(units)) {
    if (amount < size) return `${amount} ${unit}${amount === 1 ? '' : 's'} ago`
    amount = Math.floor(amount / size)
  }
}

/** What differs between versions is the one colour, so that an update can be watched as it goes. */
const style = (hue) => `
:root { color-scheme: light dark; --accent: hsl(${hue} 60% 36%); --soft: hsl(${hue} 60% 95%); --ground: #f6f6f4;
  --card: #fff; --ink: #1d1d1f; --faint: #6d6d72; --line: #e4e4e0 }
@media (prefers-color-scheme: dark) { :root { --accent: hsl(${hue} 65% 68%); --soft: hsl(${hue} 25% 20%); --ground: #161618;
  --card: #212124; --ink: #ececee; --faint: #9c9ca3; --line: #36363b } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  border-top: .4rem solid var(--accent) }
main { max-width: 42rem; margin: 0 auto; padding: 2rem 1.25rem 4rem }
h1 { margin: 0; font-size: 1.9rem; letter-spacing: -.02em }
h1 small { font-size: .8rem; font-weight: 600; letter-spacing: 0; vertical-align: .35em; margin-left: .4rem;
  padding: .15rem .6rem; border-radius: 1rem; background: var(--soft); color: var(--accent) }
.who { display: flex; flex-wrap: wrap; gap: 1px; margin: 1.25rem 0;
  border: 1px solid var(--line); border-radius: .75rem; overflow: hidden; background: var(--line) }
.who div { flex: 1 1 11rem; padding: .7rem 1rem; background: var(--card) }
.who dt, time, .by, .count { color: var(--faint); font-size: .8rem }
.who dd { margin: 0; font-weight: 600; overflow-wrap: anywhere }
form { display: grid; grid-template-columns: 10rem 1fr auto; gap: .5rem; margin: 1.25rem 0 2rem }
input, button { min-width: 0; padding: .6rem .8rem; font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem }
input:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px }
button { background: var(--accent); border-color: transparent; color: var(--card); font-weight: 600; cursor: pointer }
ol { list-style: none; margin: .5rem 0 0; padding: 0 }
li { padding: .8rem 0; border-top: 1px solid var(--line) }
li p { margin: 0; overflow-wrap: anywhere }
.trouble, .empty { padding: 1rem; border-radius: .75rem; border: 1px dashed var(--line); color: var(--faint) }
.trouble { border: 0; background: #b3261e; color: #fff }
@media (max-width: 34rem) { form { grid-template-columns: 1fr } }`

/** Keeps what stands below the form fresh, without touching what somebody is typing. */
const script = `
setInterval(async () => {
  if (document.hidden) return
  const answer = await fetch('/').then((response) => response.text()).catch(() => undefined)
  if (answer === undefined) return
  const fresh = new DOMParser().parseFromString(answer, 'text/html')
  for (const id of ['style', 'head', 'book']) document.getElementById(id).replaceWith(fresh.getElementById(id))
}, 2_000)`

const entryOf = ({ name, text, at, by }, now) => `
<li><p>${escaped(text)}</p><b>${escaped(name)}</b> <time datetime="${escaped(at)}">${ago(Date.parse(at), now)}</time>
<span class="by">· written by replica ${escaped(by)}</span></li>`

export function page({ entries, count, trouble, self, client, now }) {
  const place = self.node === '' ? self.container : `${self.replica} on ${self.node}`
  const list =
    entries.length === 0
      ? '<p class="empty">Nobody has written anything yet. Be the first.</p>'
      : `<span class="count">${count} ${count === 1 ? 'entry' : 'entries'}, the newest first</span>
<ol>${entries.map((entry) => entryOf(entry, now)).join('')}</ol>`
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Guestbook</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style id="style">${style(self.hue)}</style>
<main>
<header id="head">
<h1>Guestbook <small>version ${escaped(self.version)}</small></h1>
<dl class="who">
<div><dt>Replica that answered</dt><dd>${escaped(place)}</dd></div>
<div><dt>Its container</dt><dd>${escaped(self.container)}</dd></div>
<div><dt>You are, as it sees you</dt><dd>${escaped(client.address)}</dd></div>
</dl>
</header>
<form method="post" action="/"><input name="name" placeholder="Your name" aria-label="Your name" maxlength="40" autocomplete="name">
<input name="text" placeholder="Say something nice" aria-label="Your entry" maxlength="280" required><button>Sign</button></form>
<section id="book">
${trouble === undefined ? list : `<p class="trouble">The book cannot be opened: ${escaped(trouble)}</p>`}
</section>
</main>
<script>${script}</script></html>
`
}
